// Adam (Kingma & Ba 2015) in torch's order of operations: three kernels, because a gpu.js kernel has one output.
import type { Place } from "../compile.ts";

/** m = m + (1 - beta1) (g - m) */
export function adamFirst(this: Place<object>, m: Float32Array, g: Float32Array, beta1: number): number {
  return m[this.thread.x] + (1 - beta1) * (g[this.thread.x] - m[this.thread.x]);
}

/** v = beta2 v + (1 - beta2) g^2 */
export function adamSecond(this: Place<object>, v: Float32Array, g: Float32Array, beta2: number): number {
  return beta2 * v[this.thread.x] + (1 - beta2) * g[this.thread.x] * g[this.thread.x];
}

/** p = decay p - rate m / (sqrt(v) correction + eps), with rate = lr / (1 - beta1^t) and correction = 1 / sqrt(1 - beta2^t) */
export function adamParam(
  this: Place<object>,
  p: Float32Array,
  m: Float32Array,
  v: Float32Array,
  rate: number,
  correction: number,
  eps: number,
  decay: number,
): number {
  return decay * p[this.thread.x] -
    rate * m[this.thread.x] / (Math.sqrt(v[this.thread.x]) * correction + eps);
}
