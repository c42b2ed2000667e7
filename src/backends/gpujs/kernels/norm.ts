// Group normalisation (Wu & He 2018) of x [batch, pixels, channels], followed by swish if it is asked for, and its gradient.
// A group consists of neighbouring channels of one sample. xhat = (x - mean) / sigma, t = weight xhat + bias, and the
// output is t or t sigmoid(t).
import type { Place } from "../compile.ts";
import { sigmoid, swishDerivative } from "./elementwise.ts";

export interface NormSizes {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
  readonly groups: number;
  readonly eps: number;
  /** 1 or 0. */
  readonly swish: number;
}

/** stats[b, group, 0] = mean; stats[b, group, 1] = 1 / sigma = 1 / sqrt(mean of (x - mean)^2 + eps) */
export function normStats(this: Place<NormSizes>, x: Float32Array): number {
  const { pixels, channels, groups, eps } = this.constants;
  const size = channels / groups;
  const first = this.thread.y * size;
  const start = this.thread.z * pixels * channels;
  let sum = 0;
  for (let p = 0; p < pixels; p++) {
    for (let c = first; c < first + size; c++) sum += x[start + p * channels + c];
  }
  const mean = sum / (pixels * size);
  if (this.thread.x === 0) return mean;
  let squares = 0;
  for (let p = 0; p < pixels; p++) {
    for (let c = first; c < first + size; c++) {
      const deviation = x[start + p * channels + c] - mean;
      squares += deviation * deviation;
    }
  }
  return 1 / Math.sqrt(squares / (pixels * size) + eps);
}

/** out = t, or t sigmoid(t) */
export function normApply(
  this: Place<NormSizes>,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  stats: Float32Array,
): number {
  const { pixels, channels, groups, swish } = this.constants;
  const c = this.thread.x;
  const group = this.thread.z * groups + Math.floor(c * groups / channels);
  const at = (this.thread.z * pixels + this.thread.y) * channels + c;
  const t = weight[c] * (x[at] - stats[group * 2]) * stats[group * 2 + 1] + bias[c];
  return swish === 1 ? t * sigmoid(t) : t;
}

/** dt = g, or g d(t sigmoid(t))/dt */
export function normBeforeSwish(
  this: Place<NormSizes>,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  stats: Float32Array,
  g: Float32Array,
): number {
  const { pixels, channels, groups, swish } = this.constants;
  const c = this.thread.x;
  const group = this.thread.z * groups + Math.floor(c * groups / channels);
  const at = (this.thread.z * pixels + this.thread.y) * channels + c;
  const t = weight[c] * (x[at] - stats[group * 2]) * stats[group * 2 + 1] + bias[c];
  return swish === 1 ? g[at] * swishDerivative(t) : g[at];
}

/** dweight[c] = sum over b, p of dt xhat. (dbias[c] is the sum of dt: sumColumn.) */
export function normWeightGrad(
  this: Place<NormSizes>,
  x: Float32Array,
  stats: Float32Array,
  dt: Float32Array,
): number {
  const { batch, pixels, channels, groups } = this.constants;
  const c = this.thread.x;
  let sum = 0;
  for (let b = 0; b < batch; b++) {
    const group = b * groups + Math.floor(c * groups / channels);
    for (let p = 0; p < pixels; p++) {
      const at = (b * pixels + p) * channels + c;
      sum += dt[at] * (x[at] - stats[group * 2]) * stats[group * 2 + 1];
    }
  }
  return sum;
}

/** means[b, group, 0] = mean over the group of weight dt; means[b, group, 1] = mean of weight dt xhat */
export function normGroupMeans(
  this: Place<NormSizes>,
  x: Float32Array,
  weight: Float32Array,
  stats: Float32Array,
  dt: Float32Array,
): number {
  const { pixels, channels, groups } = this.constants;
  const size = channels / groups;
  const first = this.thread.y * size;
  const group = this.thread.z * groups + this.thread.y;
  let sum = 0;
  for (let p = 0; p < pixels; p++) {
    for (let c = first; c < first + size; c++) {
      const at = (this.thread.z * pixels + p) * channels + c;
      const xhat = (x[at] - stats[group * 2]) * stats[group * 2 + 1];
      sum += weight[c] * dt[at] * (this.thread.x === 0 ? 1 : xhat);
    }
  }
  return sum / (pixels * size);
}

/** dx = (weight dt - mean(weight dt) - xhat mean(weight dt xhat)) / sigma, with means over the group */
export function normInputGrad(
  this: Place<NormSizes>,
  x: Float32Array,
  weight: Float32Array,
  stats: Float32Array,
  dt: Float32Array,
  means: Float32Array,
): number {
  const { pixels, channels, groups } = this.constants;
  const c = this.thread.x;
  const group = this.thread.z * groups + Math.floor(c * groups / channels);
  const at = (this.thread.z * pixels + this.thread.y) * channels + c;
  const inverse = stats[group * 2 + 1];
  const xhat = (x[at] - stats[group * 2]) * inverse;
  return (weight[c] * dt[at] - means[group * 2] - xhat * means[group * 2 + 1]) * inverse;
}
