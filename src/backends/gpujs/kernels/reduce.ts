// Sums, maxima and softmax. A row is the last axis.
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

/** out[r] = argmax over c of x[r, c]; a later column must be strictly larger, so the lowest index wins ties */
export function argmaxRow(this: Place<Columns>, x: Float32Array): number {
  let highest = 0;
  for (let c = 1; c < this.constants.columns; c++) {
    const from = this.thread.x * this.constants.columns;
    if (x[from + c] > x[from + highest]) highest = c;
  }
  return highest;
}

/** out[c] = sum over r of x[r, c] */
export function sumColumn(this: Place<{ rows: number; columns: number }>, x: Float32Array): number {
  let sum = 0;
  for (let r = 0; r < this.constants.rows; r++) sum += x[r * this.constants.columns + this.thread.x];
  return sum;
}

/** sums[r] = sum over c of e^(scale (x[r, c] - max of the row)); the maximum keeps e^ finite */
export function softmaxSum(
  this: Place<Columns>,
  x: Float32Array,
  maxima: Float32Array,
  scale: number,
): number {
  const { columns } = this.constants;
  let sum = 0;
  for (let c = 0; c < columns; c++) {
    sum += Math.exp(scale * (x[this.thread.x * columns + c] - maxima[this.thread.x]));
  }
  return sum;
}

/** y[r, c] = e^(scale (x[r, c] - max of the row)) / sum */
export function softmax(
  this: Place<Columns>,
  x: Float32Array,
  maxima: Float32Array,
  sums: Float32Array,
  scale: number,
): number {
  const r = this.thread.y;
  return Math.exp(scale * (x[r * this.constants.columns + this.thread.x] - maxima[r])) / sums[r];
}

/** dots[r] = sum over c of a[r, c] b[r, c] */
export function dotRow(this: Place<Columns>, a: Float32Array, b: Float32Array): number {
  const { columns } = this.constants;
  let sum = 0;
  for (let c = 0; c < columns; c++) sum += a[this.thread.x * columns + c] * b[this.thread.x * columns + c];
  return sum;
}

/** dx[r, c] = scale y[r, c] (g[r, c] - dots[r]), where dots[r] = sum over c of g[r, c] y[r, c] */
export function softmaxGrad(
  this: Place<Columns>,
  y: Float32Array,
  g: Float32Array,
  dots: Float32Array,
  scale: number,
): number {
  const at = this.thread.y * this.constants.columns + this.thread.x;
  return scale * y[at] * (g[at] - dots[this.thread.y]);
}
