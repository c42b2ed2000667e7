// The order of pictures, which a seed determines.
import { describe, expect, test } from "bun:test";
import { jointState, Sampler, type SamplerState, type Share } from "../../../data/pictures/sampler.ts";

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

  /** Lets every rank of `size` take steps of `accumulate` batches. @returns the visits in the order of one process, and the state */
  function together(size: number, accumulate: number, steps: number, from?: SamplerState) {
    const block = 3, share = (rank: number): Share => ({ rank, size, block });
    const samplers = Array.from(
      { length: size },
      (_, rank) => new Sampler(37, { seed: 4, share: share(rank) }),
    );
    if (from) { for (const sampler of samplers) sampler.restore(from); }
    const visits = Array.from(
      { length: steps * accumulate },
      () => samplers.flatMap((sampler) => Array.from({ length: block }, () => sampler.next())),
    ).flat();
    return { samplers, visits, state: jointState(samplers.map((sampler) => sampler.state()), block) };
  }

  test("several processes deal out the visits of one, and go on in another number", () => {
    const alone = new Sampler(37, { seed: 4 });
    const wanted = Array.from({ length: 11 * 12 }, () => alone.next());
    for (const size of [1, 2, 4]) {
      const { visits, state } = together(size, 4 / size, 11);
      expect(visits).toEqual(wanted);
      expect(state).toEqual(alone.state());
    }
    const { state } = together(4, 1, 5);
    expect([...together(4, 1, 5).visits, ...together(2, 2, 6, state).visits]).toEqual(wanted);
  });

  test("processes that skipped pictures go on where each was, and in another number lose none", () => {
    const { samplers } = together(2, 1, 4);
    samplers[1].next(); // in place of a picture that it could not read
    const states = samplers.map((sampler) => sampler.state()), joint = jointState(states, 3);
    expect(joint.ranks).toEqual([24, 28]);
    const again = [0, 1].map((rank) => {
      const sampler = new Sampler(37, { seed: 4, share: { rank, size: 2, block: 3 } });
      sampler.restore(JSON.parse(JSON.stringify(joint)));
      return sampler;
    });
    for (const [rank, sampler] of again.entries()) expect(sampler.next()).toEqual(samplers[rank].next());
    const alone = new Sampler(37, { seed: 4 });
    alone.restore(joint);
    expect(alone.next()).toMatchObject({ epoch: 0, position: 24 });
  });

  test("each picture belongs to one process, also if there are fewer pictures than processes", () => {
    const own = Array.from({ length: 5 }, (_, rank) => {
      const sampler = new Sampler(3, { shuffle: false, share: { rank, size: 5, block: 1 } });
      return sampler.epoch === 0 ? sampler.next().index : null;
    });
    expect(own).toEqual([0, 1, 2, null, null]);
  });
});
