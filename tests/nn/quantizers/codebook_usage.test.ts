// Measuring how many codes are used, and how evenly.
import { expect, test } from "bun:test";
import { CodebookUsage } from "../../../nn/quantizers/codebook_usage.ts";

test("codebook usage and perplexity", () => {
  const usage = new CodebookUsage(8);
  usage.add(new Int32Array([0, 0, 1, 1]));
  usage.add(new Int32Array([2, 2, 3, 3]));
  const { used, usage: fraction, perplexity, total } = usage.summary();
  expect([used, fraction, total]).toEqual([4, 0.5, 8]);
  expect(perplexity).toBeCloseTo(4, 10);
  expect(() => usage.add(new Int32Array([8]))).toThrow("index 8 is outside the codebook of 8 codes");
  expect(new CodebookUsage(8).summary().perplexity).toBe(0);
});
