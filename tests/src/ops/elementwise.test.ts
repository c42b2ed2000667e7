// Elementwise operations at the limits of f32.
import { expect } from "bun:test";
import * as t from "../../../src/index.ts";
import { scoped } from "../../support/tensors.ts";

scoped("exp, log and softplus at their limits", async () => {
  const x = t.tensor([-Infinity, -100, -20, 0, 100, Infinity, NaN], [7]);
  const found = await Promise.all([x.exp(), x.log(), x.softplus()].map((y) => y.floats()));
  const log1p = (e: number) => Math.fround(Math.log1p(e));
  expect([...found[0]]).toEqual([0, 0, expect.closeTo(Math.exp(-20), 14), 1, Infinity, Infinity, NaN]);
  expect([...found[1]]).toEqual([NaN, NaN, NaN, -Infinity, expect.closeTo(Math.log(100), 5), Infinity, NaN]);
  expect(found[2][0]).toBeLessThan(1.3e-38); // e^-87.3, the smallest value of the exp inside it
  expect(found[2][1]).toBeLessThan(1.3e-38);
  for (const [i, value] of [[2, log1p(Math.exp(-20))], [3, log1p(1)], [4, 100], [5, Infinity]]) {
    if (Number.isFinite(value)) expect(Math.abs(found[2][i] / value - 1)).toBeLessThan(3e-7);
    else expect(found[2][i]).toBe(value);
  }
  expect(found[2][6]).toBeNaN();
});
