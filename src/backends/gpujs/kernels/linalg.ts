// The matrix product, on views: a transposed matrix is one whose strides are exchanged.
import type { Place } from "../compile.ts";

/** How far apart rows and columns lie, and how many products each sum has. */
interface Strides {
  readonly k: number;
  readonly aRow: number;
  readonly aColumn: number;
  readonly bRow: number;
  readonly bColumn: number;
}

/** out[i, j] = sum over p of a[i, p] b[p, j] */
export function matmul(
  this: Place<Strides>,
  a: Float32Array,
  aStart: number,
  b: Float32Array,
  bStart: number,
): number {
  const { k, aRow, aColumn, bRow, bColumn } = this.constants;
  const i = this.thread.y;
  const j = this.thread.x;
  let sum = 0;
  for (let p = 0; p < k; p++) sum += a[aStart + i * aRow + p * aColumn] * b[bStart + p * bRow + j * bColumn];
  return sum;
}
