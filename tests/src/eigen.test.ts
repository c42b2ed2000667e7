// Eigenvalues and eigenvectors of symmetric matrices put the matrix together again.
import { describe, expect, test } from "bun:test";
import { eigenParts } from "../../src/eigen.ts";
import { finish } from "../../src/parts.ts";
import { doubleDraws } from "../support/numbers.ts";

describe("eigenvalues and eigenvectors", () => {
  for (const n of [1, 2, 3, 7, 40]) {
    test(`of a matrix of ${n} rows put it together again`, () => {
      const draws = doubleDraws("matrix", n * n), a = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) a[i * n + j] = a[j * n + i] = draws[i * n + j];
      }
      const { values, vectors } = finish(eigenParts(a, n, true));
      expect(finish(eigenParts(a, n, false)).vectors).toBe(null);
      const only = finish(eigenParts(a, n, false)).values;
      for (let i = 0; i < n; i++) {
        expect(Math.abs(values[i] - only[i])).toBeLessThan(1e-13);
        if (i > 0) expect(values[i]).toBeGreaterThanOrEqual(values[i - 1]);
        for (let j = 0; j < n; j++) {
          let together = 0, product = 0;
          for (let k = 0; k < n; k++) {
            together += values[k] * vectors![k * n + i] * vectors![k * n + j];
            product += vectors![i * n + k] * vectors![j * n + k];
          }
          expect(Math.abs(together - a[i * n + j])).toBeLessThan(1e-12);
          expect(Math.abs(product - (i === j ? 1 : 0))).toBeLessThan(1e-13);
        }
      }
    });
  }

  test("of a diagonal matrix, of one with equal values, and of what is not finite", () => {
    const diagonal = Float64Array.of(3, 0, 0, 0, -1, 0, 0, 0, 3);
    expect([...finish(eigenParts(diagonal, 3, true)).values]).toEqual([-1, 3, 3]);
    expect([...finish(eigenParts(new Float64Array(4), 2, true)).values]).toEqual([0, 0]);
    expect(() => finish(eigenParts(Float64Array.of(1, NaN, NaN, 1), 2, false))).toThrow("not finite");
  });
});
