// Sums, means and softmax over chosen axes.
import type { Tensor } from "../array.ts";
import { record } from "../autograd.ts";
import { plain, runSum, stretch } from "./broadcast.ts";
import { affine } from "./elementwise.ts";
import { reshape } from "./shape.ts";

/** Axes as sorted non-negative numbers; undefined means all. */
function normalAxes(name: string, x: Tensor, axes: number | readonly number[] | undefined): number[] {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : [...axes];
  return list.map((axis) => {
    const a = axis < 0 ? axis + x.ndim : axis;
    if (a < 0 || a >= x.ndim) throw new Error(`${name}: axis ${axis} is not in shape [${x.shape}]`);
    return a;
  }).sort((a, b) => a - b);
}

/**
 * Sum over the axes (all by default), in a fixed order of additions.
 * @example x.sum([1, 2]) // [B, H, W, C] to [B, C]
 */
export function sum(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
  const list = normalAxes("sum", x, axes);
  const kept = x.shape.map((n, i) => (list.includes(i) ? 1 : n));
  const out = record("sum", runSum(x, list), [x], [], (g) => [stretch(reshape(g, kept), x.shape)]);
  return keepDims ? reshape(out, kept) : out;
}

/** Mean over the axes (all by default). */
export function mean(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
  const total = sum(x, axes, keepDims);
  return affine(total, total.size / x.size, 0);
}

/** exp(scale x) / sum exp(scale x) over the last axis. */
export function softmax(x: Tensor, scale = 1): Tensor {
  const columns = x.shape[x.ndim - 1], rows = x.size / columns;
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
