// Intervals: their width is that of the theory, pictures without a number are left out, and a seed gives one result.
import { expect, test } from "bun:test";
import { Random } from "../../../src/index.ts";
import { bootstrap } from "../../../train/evaluate/bootstrap.ts";

const count = 400;
const random = new Random(1);
const values = Float64Array.from({ length: count }, () => 5 + 2 * random.gaussian());

test("an interval is 1.96 standard errors to each side", () => {
  const { a: { mean, low, high } } = bootstrap({ a: values }, count, 0);
  const exact = values.reduce((sum, v) => sum + v, 0) / count;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - exact) ** 2, 0) / (count - 1));
  const reach = 1.96 * deviation / Math.sqrt(count);
  expect(Math.abs(mean - exact)).toBeLessThan(1e-12);
  expect(Math.abs((high - low) / 2 / reach - 1)).toBeLessThan(0.1);
  expect(Math.abs((high + low) / 2 - mean)).toBeLessThan(0.15 * reach);
});

test("columns share their draws, so a constant between them stays constant", () => {
  const { a, b } = bootstrap({ a: values, b: values.map((v) => v + 3) }, count, 7);
  for (const end of ["mean", "low", "high"] as const) {
    expect(Math.abs(b[end] - a[end] - 3)).toBeLessThan(1e-12);
  }
});

test("what is not a number is left out, and a column without numbers has no interval", () => {
  const holes = Float64Array.from({ length: 10 }, (_, i) => i < 5 ? 2 : NaN);
  const { a, b } = bootstrap({ a: holes, b: holes.map(() => NaN) }, 10, 0);
  expect(a).toEqual({ mean: 2, low: 2, high: 2 });
  expect(b).toEqual({ mean: NaN, low: NaN, high: NaN });
});

test("one number has no interval, so that no difference of it counts as clear", () => {
  const one = Float64Array.of(NaN, 2, NaN);
  expect(bootstrap({ one }, 3, 0)).toEqual({ one: { mean: 2, low: NaN, high: NaN } });
});

test("a seed gives one result", () => {
  const once = bootstrap({ a: values }, count, 3);
  expect(bootstrap({ a: values }, count, 3)).toEqual(once);
  expect(bootstrap({ a: values }, count, 4)).not.toEqual(once);
});
