// Small tensors, and tests that must not leave tensors behind.
import { test } from "bun:test";
import { asyncScope, type Shape, type Tensor, tensor } from "../../src/index.ts";
import { sizeOf } from "../../src/shape.ts";
import { expectNoLeak } from "./expectations.ts";

/** Runs a test body in a scope of its own and expects nothing to be left behind. */
export function scoped(name: string, fn: () => Promise<void>): void {
  test(name, () => expectNoLeak(() => asyncScope(fn)));
}

/** A tensor of the numbers 0, 1, 2 ... */
export function counting(shape: Shape): Tensor {
  return tensor(Float32Array.from({ length: sizeOf(shape) }, (_, i) => i), shape);
}

/** The values of a tensor. */
export async function list(x: Tensor): Promise<number[]> {
  return Array.from(await x.data());
}
