// Random numbers: streams can be saved and split, and have the right distributions.
import { describe, expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { list, scoped } from "../support/tensors.ts";

describe("random numbers", () => {
  scoped("the same seed gives the same numbers, another seed others", async () => {
    const draw = (seed: number) => list(new t.Random(seed).normal([50]));
    expect(await draw(23)).toEqual(await draw(23));
    expect(await draw(23)).not.toEqual(await draw(24));
    // the upper half of a seed matters as well
    expect(await draw(2 ** 40)).not.toEqual(await draw(0));
  });

  test("Philox 4x32-10 as published", () => {
    // the published values of Random123 for key 0 and counter 0
    const random = new t.Random(0);
    const words = [0, 1, 2, 3].map(() => random.bits().toString(16));
    expect(words).toEqual(["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]);
  });

  test("a stream is forked by a name, and not by a number, which would always give the same one", () => {
    const fork = (name: unknown) => new t.Random(1).fork(name as string);
    expect(fork("1").bits()).not.toBe(fork("2").bits());
    expect(() => fork(1)).toThrow("Random.fork: the name is 1, expected a string");
  });

  for (const used of [0, 1, 2, 3, 4, 5, 1001]) {
    test(`a state saved after ${used} numbers resumes the stream`, () => {
      const random = new t.Random(7);
      for (let i = 0; i < used; i++) random.bits();
      const resumed = t.Random.from(JSON.parse(JSON.stringify(random.state())));
      for (let i = 0; i < 9; i++) expect(resumed.bits()).toBe(random.bits());
      expect(resumed.state()).toEqual(random.state());
    });
  }

  test("a fork has its own stream and does not move this one", () => {
    const random = new t.Random(5), untouched = new t.Random(5);
    const a = random.fork("a"), again = random.fork("a"), b = random.fork("b");
    expect(random.bits()).toBe(untouched.bits());
    const first = a.next();
    expect(again.next()).toBe(first);
    expect(b.next()).not.toBe(first);
  });

  scoped("uniform and normal have the moments they should", async () => {
    const n = 20_000, random = new t.Random(11);
    const mean = (v: Float32Array) => v.reduce((a, b) => a + b, 0) / n;
    const uniform = await random.uniform([n], -1, 3).floats();
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...uniform)).toBeLessThan(3);
    // four standard errors: 4 / sqrt(12) / sqrt(n)
    expect(Math.abs(mean(uniform) - 1)).toBeLessThan(4 * 1.1547 / Math.sqrt(n));
    const counts = new Array<number>(10).fill(0);
    for (const u of uniform) counts[Math.floor((u + 1) / 0.4)]++;
    const chiSquare = counts.reduce((sum, c) => sum + (c - n / 10) ** 2 / (n / 10), 0);
    expect(chiSquare).toBeLessThan(27.9); // 9 degrees of freedom, one in a thousand

    const normal = await random.normal([n], 2, 0.5).floats();
    expect(Math.abs(mean(normal) - 2)).toBeLessThan(4 * 0.5 / Math.sqrt(n));
    expect(Math.abs(mean(normal.map((x) => (x - 2) ** 2)) / 0.25 - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(mean(normal.map((x) => ((x - 2) / 0.5) ** 4)) / 3 - 1)).toBeLessThan(0.1);
    const within = normal.filter((x) => Math.abs(x - 2) < 0.5).length / n;
    expect(Math.abs(within - 0.6827)).toBeLessThan(0.014);
  });

  test("shuffle returns permutations, all equally likely", () => {
    const random = new t.Random(3);
    expect([...random.shuffle(1000)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    );
    const seen = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle(3).join();
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(120); // four standard deviations
  });
});
