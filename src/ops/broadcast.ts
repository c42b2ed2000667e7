// numpy's broadcasting: shapes are aligned at their last dimension, and sizes of 1 stretch.
import type { Walk } from "../backends/backend.ts";
import { materialize, type Shape, sizeOf, Tensor } from "../tensor.ts";

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

/** A view of x stretched to `shape` by strides of 0. */
export function stretch(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim;
  const strides = shape.map((size, i) => {
    const own = x.shape[i - lead];
    return own === undefined || (own === 1 && size !== 1) ? 0 : x.strides[i - lead];
  });
  return new Tensor(x.storage.retain(), [...shape], x.dtype, strides, x.offset);
}

/** x itself if it lies in row-major order, else a copy in the current scope. */
export function plain(x: Tensor): Tensor {
  return x.isPlain ? x : materialize(x);
}

/** How two operands walk over an output of [outer, inner] elements. */
export interface Plan {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly aWalk: Walk;
  readonly bWalk: Walk;
  readonly outer: number;
  readonly inner: number;
}

/**
 * Splits the output into rows such that each operand is, along a row, either contiguous or one repeated number.
 * Operands for which no split exists are copied out.
 */
export function planBinary(a: Tensor, b: Tensor, shape: Shape): Plan {
  const x = plain(a), y = plain(b);
  for (let split = 0; split <= shape.length; split++) {
    const inner = sizeOf(shape.slice(split)), outer = sizeOf(shape.slice(0, split));
    const aWalk = walk(x.shape, shape, split, inner), bWalk = walk(y.shape, shape, split, inner);
    if (aWalk && bWalk && aWalk.inner + bWalk.inner > 0) return { a: x, b: y, aWalk, bWalk, outer, inner };
  }
  const full = (t: Tensor) => (t.size === sizeOf(shape) ? t : materialize(stretch(t, shape)));
  const line: Walk = { outer: 0, inner: 1 };
  return { a: full(x), b: full(y), aWalk: line, bWalk: line, outer: 1, inner: sizeOf(shape) };
}

/** The walk of a plain operand over the output split before dimension `split`, if there is one. */
function walk(own: Shape, shape: Shape, split: number, inner: number): Walk | null {
  const padded = [...new Array<number>(shape.length - own.length).fill(1), ...own];
  const head = padded.slice(0, split), tail = padded.slice(split);
  const tailSize = sizeOf(tail), headSize = sizeOf(head);
  if (tailSize !== 1 && tailSize !== inner) return null;
  if (headSize !== 1 && headSize !== sizeOf(shape.slice(0, split))) return null;
  return { outer: headSize === 1 ? 0 : tailSize, inner: tailSize === inner ? 1 : 0 };
}
