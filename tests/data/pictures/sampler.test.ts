// The order of pictures, which a seed determines.
import { describe, expect, test } from "bun:test";
import { Sampler } from "../../../data/pictures/sampler.ts";

describe("Sampler", () => {
  test("every epoch visits each picture once, in a new order; a seed always gives the same order", () => {
    const first = new Sampler(50, { seed: 9 }), again = new Sampler(50, { seed: 9 });
    const orders = [0, 1].map(() => Array.from({ length: 50 }, () => first.next().index));
    for (const order of orders) {
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    }
    expect(orders[0]).not.toEqual(orders[1]);
    expect(Array.from({ length: 50 }, () => again.next().index)).toEqual(orders[0]);
    const other = new Sampler(50, { seed: 10 });
    expect(Array.from({ length: 50 }, () => other.next().index)).not.toEqual(orders[0]);
  });

  test("a saved state continues exactly, within an epoch and across its end", () => {
    const straight = new Sampler(7, { seed: 3 });
    const visits = Array.from({ length: 30 }, () => straight.next());
    for (const at of [0, 3, 7, 13, 14]) {
      const before = new Sampler(7, { seed: 3 });
      for (let i = 0; i < at; i++) before.next();
      const after = new Sampler(7, { seed: 3 });
      after.restore(JSON.parse(JSON.stringify(before.state())));
      expect(Array.from({ length: 30 - at }, () => after.next())).toEqual(visits.slice(at));
    }
  });

  test("an order that begins at a later epoch is that of epoch 0, also after it was saved", () => {
    const straight = new Sampler(5, { seed: 3 }), later = new Sampler(5, { seed: 3 });
    later.restore({ ...later.state(), epoch: 3, firstEpoch: 3 });
    const visits = Array.from({ length: 12 }, (_, i) => {
      if (i === 7) later.restore(JSON.parse(JSON.stringify(later.state())));
      return later.next();
    });
    const expected = Array.from({ length: 12 }, () => straight.next());
    expect(visits).toEqual(expected.map((visit) => ({ ...visit, epoch: visit.epoch + 3 })));
    expect(() => later.restore({ ...later.state(), epoch: 2, position: 0 })).toThrow(
      "not a valid sampler state",
    );
  });

  test("keeps the order without shuffling, and refuses a state of another set or seed", () => {
    const sampler = new Sampler(3, { shuffle: false });
    expect([0, 1, 2, 3].map(() => sampler.next().index)).toEqual([0, 1, 2, 0]);
    const state = new Sampler(4, { seed: 1 }).state();
    expect(() => new Sampler(5, { seed: 1 }).restore(state)).toThrow(
      "saved with 4 pictures and there are 5 now",
    );
    expect(() => new Sampler(4, { seed: 2 }).restore(state)).toThrow("saved with seed 1, not 2");
    expect(() => new Sampler(0)).toThrow("at least 1");
  });
});
