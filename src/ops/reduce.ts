// Sums, means and softmax over chosen axes.
import type { Tensor } from "../array.ts";
import { record } from "../tape.ts";
import { check, positive } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { sizeOf } from "../shape.ts";
import { axisOf, plain, runSum, stretch } from "./broadcast.ts";
import { affine } from "./elementwise.ts";
import { reshape } from "./shape.ts";

/** Axes as sorted non-negative numbers; undefined means all. */
function normalAxes(name: string, x: Tensor, axes: number | readonly number[] | undefined): number[] {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : [...axes];
  const found = list.map((axis) => axisOf(name, x, axis)).sort((a, b) => a - b);
  if (new Set(found).size < found.length) throw new Error(`${name}: the axes [${list}] name an axis twice`);
  return found;
}

/**
 * Sum over the axes (all by default). Numbers are added in a fixed order. Negative axes count from the end.
 * @param keepDims leaves sizes of 1 in place of the axes
 * @throws if an axis is not one of x's, or is named twice
 * @example Over the pixels of images
 * ```ts
 * import { ones, sum } from "@tessera/vqgan/core";
 *
 * const totals = sum(ones([2, 4, 4, 3]), [1, 2]); // [2, 3], all 16
 * ```
 */
export function sum(x: Tensor, axes?: number | readonly number[], keepDims: boolean = false): Tensor {
  checkFloats("sum", x);
  const list = normalAxes("sum", x, axes);
  const kept = x.shape.map((n, i) => (list.includes(i) ? 1 : n));
  const out = record("sum", runSum(x, list), [x], [], (g) => [stretch(reshape(g, kept), x.shape)]);
  if (!keepDims) return out;
  const wide = reshape(out, kept);
  out.dispose();
  return wide;
}

/**
 * Mean over the axes (all by default). Negative axes count from the end.
 * @param keepDims leaves sizes of 1 in place of the axes
 * @throws if an axis is not one of x's, or is named twice
 */
export function mean(x: Tensor, axes?: number | readonly number[], keepDims: boolean = false): Tensor {
  const total = sum(x, axes, keepDims);
  const out = affine(total, total.size / x.size, 0);
  total.dispose();
  return out;
}

/**
 * exp(scale x) / sum exp(scale x) over the last axis. For another axis, `permute` first.
 * @param scale a number above 0, such as 1 / sqrt(channels) in attention
 * @throws if the scale is not above 0, or x has no axis
 */
export function softmax(x: Tensor, scale: number = 1): Tensor {
  checkFloats("softmax", x);
  check("softmax", "the scale", scale, positive);
  if (x.ndim === 0) throw new Error("softmax: the tensor has no axis (shape [])");
  const columns = x.shape[x.ndim - 1], rows = sizeOf(x.shape.slice(0, -1));
  const from = plain(x);
  const out = x.like(x.shape, "f32");
  x.backend.run("softmax", { x: from.slot, out: out.slot, rows, columns, scale });
  if (from !== x) from.dispose();
  return record("softmax", out, [x], [out], (g, [y]) => {
    const gx = y.like(x.shape, "f32");
    x.backend.run("softmaxGrad", { y: y.slot, g: plain(g).slot, out: gx.slot, rows, columns, scale });
    return [gx];
  });
}

/**
 * The index of the largest value of each row, the last axis, as i32. If two are equally large, the lower index wins. No
 * gradient.
 * @throws if x has no axis or an empty one, or holds integers
 * @example The likeliest of three classes
 * ```ts
 * import { argmax, tensor } from "@tessera/vqgan/core";
 *
 * const best = argmax(tensor([0.1, 0.7, 0.2], [1, 3])); // [1], for the one row
 * ```
 */
export function argmax(x: Tensor): Tensor {
  checkFloats("argmax", x);
  const columns = x.shape[x.ndim - 1] ?? 0, rows = sizeOf(x.shape.slice(0, -1));
  if (columns === 0) throw new Error(`argmax: the rows of shape [${x.shape}] are empty`);
  const from = plain(x);
  const out = x.like(x.shape.slice(0, -1), "i32");
  x.backend.run("argmax", { x: from.slot, out: out.slot, rows, columns });
  if (from !== x) from.dispose();
  return out;
}
