// Views and rearrangements. Reshape, permute, slice and expand share memory where they can.
import { filled, materialize, type Tensor } from "../array.ts";
import { record } from "../tape.ts";
import type { Shape } from "../backends/buffer.ts";
import { isList, isWhole, shown } from "../check.ts";
import { checkTensor } from "../operands.ts";
import { contiguousStrides, sizeOf } from "../shape.ts";
import { axisOf, broadcastShapes, copyInto, plain, stretch, sumTo, turn } from "./broadcast.ts";

/** Tells a list from separate numbers: functions take a list, methods take numbers. @throws if it is not a list of numbers */
function checkNumbers(name: string, list: readonly number[], example: string): void {
  if (isList(list) && list.every((n) => Number.isInteger(n))) return;
  throw new TypeError(`${name}: got ${shown(list)}, expected whole numbers, as in ${example}`);
}

/**
 * The same numbers in another shape; one size may be -1, which is computed from the others.
 * @throws if the number of elements differs
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor("reshape", x);
  checkNumbers("reshape", shape, "x.reshape(2, 3) or reshape(x, [2, 3])");
  const known = shape.reduce((a, n) => (n === -1 ? a : a * n), 1);
  const full = shape.map((n) => (n === -1 ? x.size / known : n));
  if (!full.every(isWhole) || sizeOf(full) !== x.size) {
    throw new Error(`reshape: shape [${shape}] does not fit the ${x.size} elements of shape [${x.shape}]`);
  }
  const base = inOrder(x) ? x : materialize(x);
  const out = base.alias(full);
  if (base !== x) base.dispose();
  return record("reshape", out, [x], [], (g) => [reshape(g, x.shape)]);
}

/** Whether x is row-major without gaps. It need not begin at the start of the storage. */
function inOrder(x: Tensor): boolean {
  const strides = contiguousStrides(x.shape);
  return x.shape.every((n, i) => n === 1 || x.strides[i] === strides[i]);
}

/**
 * Axes in another order: out.shape[i] = x.shape[order[i]].
 * @throws if `order` is not a permutation of the axes
 */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  checkTensor("permute", x);
  checkNumbers("permute", order, "x.permute(1, 0) or permute(x, [1, 0])");
  if (order.length !== x.ndim || x.shape.some((_, i) => !order.includes(i))) {
    throw new Error(`permute: [${order}] is not an order of the ${x.ndim} axes of shape [${x.shape}]`);
  }
  const inverse = order.map((_, i) => order.indexOf(i));
  return record("permute", turn(x, order), [x], [], (g) => [permute(g, inverse)]);
}

/**
 * The part from `starts` (inclusive) to `ends` (exclusive), one pair for each leading axis; the rest is whole.
 * @throws if a range goes beyond the shape, or there are more ranges than axes
 * @example Rows 8 to 15 of the first picture
 * ```ts
 * import { slice, zeros } from "@tessera/vqgan/core";
 *
 * const rows = slice(zeros([4, 32, 32, 3]), [0, 8], [1, 16]); // [1, 8, 32, 3]
 * ```
 */
export function slice(x: Tensor, starts: readonly number[], ends: readonly number[]): Tensor {
  checkTensor("slice", x);
  checkNumbers("slice", starts, "x.slice([0, 1], [2, 3])");
  checkNumbers("slice", ends, "x.slice([0, 1], [2, 3])");
  if (Math.max(starts.length, ends.length) > x.ndim) {
    throw new Error(`slice: [${starts}] to [${ends}] are more ranges than shape [${x.shape}] has axes`);
  }
  let offset = x.offset;
  const shape = x.shape.map((n, i) => {
    const start = starts[i] ?? 0, end = ends[i] ?? n;
    if (start < 0 || end > n || start > end) {
      throw new Error(`slice: ${start} to ${end} is not within size ${n} of axis ${i} (shape [${x.shape}])`);
    }
    offset += start * x.strides[i];
    return end - start;
  });
  const out = x.alias(shape, x.strides, offset);
  return record("slice", out, [x], [], (g) => {
    const gx = filled(g, x.shape, 0);
    copyInto(g, gx, starts);
    return [gx];
  });
}

/** x stretched to a larger shape by numpy's rules, without copying. @throws if it does not stretch */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor("expand", x);
  checkNumbers("expand", shape, "x.expand([4, 3])");
  const common = broadcastShapes("expand", x.shape, shape);
  if (`${common}` !== `${shape}`) {
    throw new Error(`expand: shape [${x.shape}] does not stretch to [${shape}]`);
  }
  return record("expand", stretch(x, shape), [x], [], (g) => [sumTo(plain(g), x.shape)]);
}

/**
 * Joins tensors along an axis; a negative axis counts from the end.
 * @throws if there are no tensors, their other sizes differ, or their dtypes differ
 */
export function concat(xs: readonly Tensor[], along: number): Tensor {
  if (!isList(xs) || xs.length === 0) {
    throw new TypeError(`concat: got ${shown(xs)}, expected a list of one tensor or more`);
  }
  for (const x of xs) checkTensor("concat", x);
  const [first] = xs;
  const axis = axisOf("concat", first, along);
  const shape = [...first.shape];
  shape[axis] = 0;
  for (const x of xs) {
    if (x.ndim !== first.ndim || x.shape.some((n, i) => i !== axis && n !== first.shape[i])) {
      throw new Error(`concat: shape [${x.shape}] does not fit [${first.shape}] along axis ${axis}`);
    }
    if (x.dtype !== first.dtype) {
      throw new Error(`concat: cannot join ${first.dtype} and ${x.dtype}; cast() one of them`);
    }
    shape[axis] += x.shape[axis];
  }
  const out = first.like(shape);
  const start = (i: number) => shape.map((_, d) => (d === axis ? begins[i] : 0));
  let total = 0;
  const begins = xs.map((x) => (total += x.shape[axis]) - x.shape[axis]);
  xs.forEach((x, i) => copyInto(x, out, start(i)));
  return record(
    "concat",
    out,
    xs,
    [],
    (g) => xs.map((x, i) => slice(g, start(i), start(i).map((s, d) => s + x.shape[d]))),
  );
}
