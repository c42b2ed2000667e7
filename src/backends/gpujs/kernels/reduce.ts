// Sums, maxima, softmax and rows taken by index. A row is the last axis.
import type { Place } from "../compile.ts";

interface Columns {
  readonly columns: number;
}

/** out[r] = sum over c of x[r, c] */
export function sumRow(this: Place<Columns>, x: Float32Array): number {
  let sum = 0;
  for (let c = 0; c < this.constants.columns; c++) sum += x[this.thread.x * this.constants.columns + c];
  return sum;
}

/** out[r] = max over c of x[r, c] */
export function maxRow(this: Place<Columns>, x: Float32Array): number {
  let max = -Infinity;
  for (let c = 0; c < this.constants.columns; c++) {
    max = Math.max(max, x[this.thread.x * this.constants.columns + c]);
  }
  return max;
}

/** out[c] = sum over r of x[r, c] */
export function sumColumn(this: Place<{ rows: number; columns: number }>, x: Float32Array): number {
  let sum = 0;
  for (let r = 0; r < this.constants.rows; r++) sum += x[r * this.constants.columns + this.thread.x];
  return sum;
}

/** y[r, c] = e^(scale (x[r, c] - max)) / sum over j of e^(scale (x[r, j] - max)); the row's maximum keeps e^ finite */
export function softmax(this: Place<Columns>, x: Float32Array, scale: number): number {
  const { columns } = this.constants;
  const row = this.thread.y * columns;
  let max = -Infinity;
  for (let j = 0; j < columns; j++) max = Math.max(max, x[row + j]);
  let sum = 0;
  for (let j = 0; j < columns; j++) sum += Math.exp(scale * (x[row + j] - max));
  return Math.exp(scale * (x[row + this.thread.x] - max)) / sum;
}

/** dx[r, c] = scale y[r, c] (g[r, c] - sum over j of g[r, j] y[r, j]) */
export function softmaxGrad(this: Place<Columns>, y: Float32Array, g: Float32Array, scale: number): number {
  const { columns } = this.constants;
  const row = this.thread.y * columns;
  let dot = 0;
  for (let j = 0; j < columns; j++) dot += g[row + j] * y[row + j];
  return scale * y[row + this.thread.x] * (g[row + this.thread.x] - dot);
}

/** out[i, c] = table[indices[i], c] */
export function gather(this: Place<Columns>, indices: Int32Array, table: Float32Array): number {
  return table[indices[this.thread.y] * this.constants.columns + this.thread.x];
}
