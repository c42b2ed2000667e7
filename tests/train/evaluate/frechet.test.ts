// Fréchet distances against scipy and pytorch-fid (tests/fixtures/evaluate/make.py).
import { describe, expect, test } from "bun:test";
import { finish } from "../../../src/parts.ts";
import { frechetParts, Moments } from "../../../train/evaluate/frechet.ts";
import { golden } from "../../support/goldens.ts";
import { doubleDraws } from "../../support/numbers.ts";

interface Case {
  readonly counts: [number, number];
  readonly size: number;
  readonly shift: number;
  readonly distance: number;
  readonly pytorch_fid: number | null;
}

/** The moments of drawn features. @param order in which they are added */
function momentsOf(
  name: string,
  count: number,
  size: number,
  value: (u: number) => number,
  order = 1,
): Moments {
  const all = doubleDraws(name, count * size).map(value), moments = new Moments(size);
  for (let i = 0; i < count; i++) {
    const row = (i * order) % count;
    moments.add(all.subarray(row * size, (row + 1) * size));
  }
  return moments;
}

describe("the Fréchet distance", () => {
  for (const { counts: [a, b], size, shift, distance, pytorch_fid } of golden<Case[]>("evaluate/frechet")) {
    // an eigenvalue of 0 comes out as about 1e-17, and its root as 3e-9
    test(`of ${a} and ${b} features of ${size} numbers`, () => {
      const x = momentsOf(`a${size}`, a, size, (u) => u + shift);
      const y = momentsOf(`b${size}`, b, size, (u) => 0.7 * u * u + shift);
      for (const found of [finish(frechetParts(x, y)), finish(frechetParts(y, x))]) {
        expect(Math.abs(found - distance)).toBeLessThan(3e-8);
        if (pytorch_fid !== null) expect(Math.abs(found - pytorch_fid)).toBeLessThan(3e-8);
      }
      expect(Math.abs(finish(frechetParts(x, x)))).toBeLessThan(1e-7);
    });
  }

  test("does not depend on the order, nor on whether features are kept or summed", () => {
    const x = momentsOf("a", 21, 5, (u) => u), y = momentsOf("b", 22, 5, (u) => u);
    const again = momentsOf("a", 21, 5, (u) => u, 4);
    expect(Math.abs(finish(frechetParts(x, y)) - finish(frechetParts(again, y)))).toBeLessThan(1e-12);
    expect("rows" in momentsOf("a", 5, 5, (u) => u).spread()).toBe(true);
    expect("covariance" in x.spread()).toBe(true);
  });

  test("of too few features is not a number, and sizes must agree", () => {
    const one = momentsOf("a", 1, 4, (u) => u), two = momentsOf("a", 2, 4, (u) => u);
    expect(finish(frechetParts(one, two))).toBe(NaN);
    expect(() => finish(frechetParts(two, momentsOf("a", 2, 5, (u) => u)))).toThrow(
      "frechet: features of 4 and 5 numbers",
    );
    expect(() => one.add([1, 2])).toThrow("Moments: a feature of 2 numbers, expected 4");
  });
});
