// What the operations share: numpy's broadcasting (shapes are aligned at their last dimension, and sizes of 1 stretch), its
// gradient, which is a sum, and views. Nothing here is recorded for backward.
import { filled, materialize, type Tensor } from "../array.ts";
import type { Shape } from "../backends/buffer.ts";
import { sizeOf } from "../shape.ts";
import type { Walk } from "../backends/kernels.ts";
import { shown } from "../check.ts";

/** The common shape. @throws if a dimension differs and neither size is 1. */
export function broadcastShapes(name: string, a: Shape, b: Shape): number[] {
  const n = Math.max(a.length, b.length);
  return Array.from({ length: n }, (_, i) => {
    const x = a[i - n + a.length] ?? 1, y = b[i - n + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new Error(
        `${name}: shapes [${a}] and [${b}] do not broadcast (${x} against ${y} in dimension ${i})`,
      );
    }
    return x === 1 ? y : x;
  });
}

/** An axis as a number >= 0; a negative axis counts from the end. @throws if x has no such axis */
export function axisOf(name: string, x: Tensor, axis: number): number {
  const at = axis < 0 ? axis + x.ndim : axis;
  if (typeof axis !== "number" || x.shape[at] === undefined) {
    throw new Error(`${name}: axis ${shown(axis)} is not in shape [${x.shape}]`);
  }
  return at;
}

/** A view of x stretched to `shape` by strides of 0. */
export function stretch(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim;
  const strides = shape.map((size, i) => {
    const own = x.shape[i - lead];
    return own === undefined || (own === 1 && size !== 1) ? 0 : x.strides[i - lead];
  });
  return x.alias([...shape], strides);
}

/** Returns x if it is row-major without gaps, as kernels need it, otherwise a copy that belongs to the current scope. */
export function plain(x: Tensor): Tensor {
  return x.isPlain ? x : materialize(x);
}

/** Frees those copies that `plain` made, each beside the tensor that it was given. */
export function disposeCopies(
  copies: readonly (Tensor | null)[],
  originals: readonly (Tensor | null)[],
): void {
  copies.forEach((copy, i) => {
    if (copy !== originals[i]) copy?.dispose();
  });
}

/** Writes x into `out` with its corner at `starts`. */
export function copyInto(x: Tensor, out: Tensor, starts: readonly number[]): void {
  const offset = out.strides.reduce((sum, s, i) => sum + s * (starts[i] ?? 0), out.offset);
  const corner = out.alias(x.shape, out.strides, offset);
  x.backend.run("copy", {
    x: x.span,
    xStrides: x.strides,
    out: corner.span,
    outStrides: corner.strides,
    shape: x.shape,
  });
  corner.dispose();
}

/** The operands of a binary kernel, and how each is read for an output of [outer, inner] elements. */
export interface Plan {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly aWalk: Walk;
  readonly bWalk: Walk;
  readonly outer: number;
  readonly inner: number;
}

/**
 * Splits the output into rows in such a way that, along a row, each operand is either contiguous or one repeated number.
 * If no split does this, the operands are copied to the full shape.
 */
export function planBinary(a: Tensor, b: Tensor, shape: Shape): Plan {
  const x = plain(a), y = plain(b);
  for (let split = 0; split <= shape.length; split++) {
    const inner = sizeOf(shape.slice(split)), outer = sizeOf(shape.slice(0, split));
    const aWalk = walk(x.shape, shape, split, inner), bWalk = walk(y.shape, shape, split, inner);
    if (aWalk && bWalk && aWalk.inner + bWalk.inner > 0) return { a: x, b: y, aWalk, bWalk, outer, inner };
  }
  const full = (t: Tensor, original: Tensor) => {
    if (t.size === sizeOf(shape)) return t;
    const view = stretch(t, shape), copy = materialize(view);
    view.dispose();
    if (t !== original) t.dispose();
    return copy;
  };
  const line: Walk = { outer: 0, inner: 1 };
  return { a: full(x, a), b: full(y, b), aWalk: line, bWalk: line, outer: 1, inner: sizeOf(shape) };
}

/** How a plain operand is read if the output is split before dimension `split`; null if that split does not fit it. */
function walk(own: Shape, shape: Shape, split: number, inner: number): Walk | null {
  const padded = [...new Array<number>(shape.length - own.length).fill(1), ...own];
  const head = padded.slice(0, split), tail = padded.slice(split);
  const tailSize = sizeOf(tail), headSize = sizeOf(head);
  if (tailSize !== 1 && tailSize !== inner) return null;
  if (headSize !== 1 && headSize !== sizeOf(shape.slice(0, split))) return null;
  return { outer: headSize === 1 ? 0 : tailSize, inner: tailSize === inner ? 1 : 0 };
}

/** A view with its axes in another order, without history. */
export function turn(x: Tensor, order: readonly number[]): Tensor {
  return x.alias(order.map((i) => x.shape[i]), order.map((i) => x.strides[i]));
}

/** The sum over sorted axes, without recording it. */
export function runSum(x: Tensor, axes: readonly number[]): Tensor {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const shape = kept.map((i) => x.shape[i]);
  const inner = sizeOf(shape), count = sizeOf(axes.map((i) => x.shape[i]));
  if (count === 0) return filled(x, shape, 0); // the kernels expect something to add up
  const out = x.like(shape, "f32");
  if (axes.every((a, i) => a === i)) { // leading axes are summed without a transposed copy
    const from = plain(x);
    if (inner === 1) x.backend.run("sumRows", { x: from.slot, out: out.slot, rows: 1, columns: count });
    else x.backend.run("sumColumns", { x: from.slot, out: out.slot, rows: count, columns: inner });
    if (from !== x) from.dispose();
    return out;
  }
  const turned = turn(x, [...kept, ...axes]);
  const from = plain(turned);
  x.backend.run("sumRows", { x: from.slot, out: out.slot, rows: inner, columns: count });
  if (from !== turned) from.dispose();
  turned.dispose();
  return out;
}

/** Sums a gradient over the dimensions that broadcasting stretched, so that it has the operand's shape. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (`${g.shape}` === `${shape}`) return g;
  const lead = g.ndim - shape.length;
  const axes = g.shape.map((_, i) => i).filter((i) =>
    i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1)
  );
  const sum = axes.length > 0 ? runSum(g, axes) : plain(g);
  const out = sum.alias(shape);
  if (sum !== g) sum.dispose();
  return out;
}
