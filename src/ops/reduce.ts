// Sums, means, maxima and softmax over chosen axes.
import { record } from "../autograd.ts";
import { empty, type Shape, sizeOf, Tensor } from "../tensor.ts";
import { plain, stretch } from "./broadcast.ts";
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

function runSum(x: Tensor, axes: readonly number[]): Tensor {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const shape = kept.map((i) => x.shape[i]);
  const out = empty(shape, "f32", x.backend);
  const inner = sizeOf(shape), count = sizeOf(axes.map((i) => x.shape[i]));
  if (axes.every((a, i) => a === i)) { // leading axes: no need to move anything
    const from = plain(x);
    if (inner === 1) x.backend.reduceRows("sum", from.buffer, out.buffer, 1, count);
    else x.backend.sumColumns(from.buffer, out.buffer, count, inner);
    if (from !== x) from.dispose();
    return out;
  }
  const turned = turn(x, [...kept, ...axes]);
  const from = plain(turned);
  x.backend.reduceRows("sum", from.buffer, out.buffer, inner, count);
  if (from !== turned) from.dispose();
  turned.dispose();
  return out;
}

/** A view with its axes in another order, without history. */
function turn(x: Tensor, order: readonly number[]): Tensor {
  const shape = order.map((i) => x.shape[i]), strides = order.map((i) => x.strides[i]);
  return new Tensor(x.storage.retain(), shape, x.dtype, strides, x.offset);
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

/** Sums a gradient over the dimensions that broadcasting had stretched. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (`${g.shape}` === `${shape}`) return g;
  const lead = g.ndim - shape.length;
  const axes = g.shape.map((_, i) => i).filter((i) =>
    i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1)
  );
  return reshape(axes.length > 0 ? runSum(g, axes) : g, shape);
}

/** exp(scale x) / sum exp(scale x) over the last axis. */
export function softmax(x: Tensor, scale = 1): Tensor {
  const columns = x.shape[x.ndim - 1], rows = x.size / columns;
  const from = plain(x);
  const out = empty(x.shape, "f32", x.backend);
  x.backend.softmax(from.buffer, out.buffer, rows, columns, scale);
  if (from !== x) from.dispose();
  return record("softmax", out, [x], [out], (g, [y]) => {
    const gx = empty(x.shape, "f32", x.backend);
    x.backend.softmaxGrad(y.buffer, plain(g).buffer, gx.buffer, rows, columns, scale);
    return [gx];
  });
}
