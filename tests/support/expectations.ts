// Expectations of many tests: numbers are close, and nothing is left behind.
import { expect } from "bun:test";
import { memory } from "../../src/index.ts";
import { maxError } from "./numbers.ts";

/** Expects every value within `tolerance` of its counterpart. */
export function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  expect(maxError(actual, wanted)).toBeLessThanOrEqual(tolerance);
}

/** Expects `fn` to leave no tensor and no byte behind. */
export async function expectNoLeak(fn: () => Promise<void>): Promise<void> {
  const before = memory();
  await fn();
  const after = memory();
  expect(after.liveTensors - before.liveTensors).toBe(0);
  expect(after.liveBytes - before.liveBytes).toBe(0);
}
