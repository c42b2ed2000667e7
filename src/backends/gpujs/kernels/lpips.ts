// The distance of the perceptual loss LPIPS, and its gradient.
import type { Place } from "../compile.ts";

interface Channels {
  readonly channels: number;
}

/** out[p] = sum over c of weight[c] (a[p, c] / |a| - b[p, c] / |b|)^2 (Zhang et al. 2018); 1e-10 is added to the lengths */
export function lpipsDistance(
  this: Place<Channels>,
  a: Float32Array,
  b: Float32Array,
  weight: Float32Array,
): number {
  const { channels } = this.constants;
  const pixel = this.thread.x * channels;
  let squaresA = 0;
  let squaresB = 0;
  for (let c = 0; c < channels; c++) {
    squaresA += a[pixel + c] * a[pixel + c];
    squaresB += b[pixel + c] * b[pixel + c];
  }
  const lengthA = Math.sqrt(squaresA) + 1e-10;
  const lengthB = Math.sqrt(squaresB) + 1e-10;
  let sum = 0;
  for (let c = 0; c < channels; c++) {
    const difference = a[pixel + c] / lengthA - b[pixel + c] / lengthB;
    sum += weight[c] * difference * difference;
  }
  return sum;
}

/**
 * With q[c] = 2 weight[c] (a[p, c] / |a| - b[p, c] / |b|): da[p, c] = g[p] (q[c] - a[p, c] (q.a) / |a|^2) / |a|,
 * and 0 where |a| is 0
 */
export function lpipsDistanceGrad(
  this: Place<Channels>,
  a: Float32Array,
  b: Float32Array,
  weight: Float32Array,
  g: Float32Array,
): number {
  const { channels } = this.constants;
  const own = this.thread.x;
  const pixel = this.thread.y * channels;
  let squaresA = 0;
  let squaresB = 0;
  for (let c = 0; c < channels; c++) {
    squaresA += a[pixel + c] * a[pixel + c];
    squaresB += b[pixel + c] * b[pixel + c];
  }
  if (squaresA === 0) return 0;
  const lengthA = Math.sqrt(squaresA) + 1e-10;
  const lengthB = Math.sqrt(squaresB) + 1e-10;
  let dot = 0;
  let ownQ = 0;
  for (let c = 0; c < channels; c++) {
    const q = 2 * weight[c] * (a[pixel + c] / lengthA - b[pixel + c] / lengthB);
    dot += q * a[pixel + c];
    if (c === own) ownQ = q;
  }
  return g[this.thread.y] * (ownQ - a[pixel + own] * dot / (Math.sqrt(squaresA) * lengthA)) / lengthA;
}
