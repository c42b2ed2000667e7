// The matrix product. A transposed matrix is read with its two strides exchanged.
import type { Place } from "../compile.ts";

/** How many products each sum has, and the strides of the rows and columns of b. */
interface Strides {
  readonly k: number;
  readonly bRow: number;
  readonly bColumn: number;
}

/** out[i, j] = sum over p of a[i, p] b[p, j] */
export function matmul(this: Place<Strides>, a: Float32Array, b: Float32Array): number {
  const { k, bRow, bColumn } = this.constants;
  const i = this.thread.y;
  const j = this.thread.x;
  let sum = 0;
  for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * bRow + j * bColumn];
  return sum;
}
