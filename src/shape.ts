// Computing with shapes and strides, for tensors in memory and in files. Strides are counted in elements.
import type { Shape } from "./backends/buffer.ts";
import { isList, shown } from "./check.ts";

/** The number of elements of a shape. @throws if a size is not a whole number >= 0 */
export function sizeOf(shape: Shape): number {
  if (!isList(shape)) {
    throw new TypeError(`the shape is ${shown(shape)}, expected a list such as [2, 3]`);
  }
  let size = 1;
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new Error(`shape [${shape}] has a size that is not a whole number`);
    }
    size *= n;
  }
  return size;
}

/** Row-major strides. As in torch, an axis of size 0 counts as one of size 1. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(1, shape[i]);
  }
  return strides;
}

/** Whether the elements lie in row-major order without gaps. */
export function isRowMajor(shape: Shape, strides: readonly number[]): boolean {
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= Math.max(1, shape[i]);
  }
  return true;
}

/** How many elements of memory a tensor spans, from its first to its last, including those that its strides skip. */
export function reachOf(shape: Shape, strides: readonly number[]): number {
  let reach = 1;
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 0) return 0;
    reach += (shape[i] - 1) * strides[i];
  }
  return reach;
}
