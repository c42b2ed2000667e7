// Nearest code, max pooling and the LPIPS distance, with their gradients.
import type { PoolSpec } from "../../backend.ts";
import type { Place } from "../compile.ts";

/** out[n] = argmin over k of |z[n] - codebook[k]|^2; strictly nearer wins, so that the lowest index wins ties */
export function nearestCode(
  this: Place<{ codes: number; channels: number }>,
  z: Float32Array,
  codebook: Float32Array,
): number {
  const { codes, channels } = this.constants;
  let nearest = 0;
  let least = Infinity;
  for (let k = 0; k < codes; k++) {
    let distance = 0;
    for (let c = 0; c < channels; c++) {
      const difference = z[this.thread.x * channels + c] - codebook[k * channels + c];
      distance += difference * difference;
    }
    if (distance < least) {
      least = distance;
      nearest = k;
    }
  }
  return nearest;
}

/** out[b, oy, ox, c] = max over r, s < size of x[b, oy stride + r, ox stride + s, c], where that is inside */
export function maxPool2d(this: Place<PoolSpec>, x: Float32Array): number {
  const { height, width, channels, outHeight, size, stride } = this.constants;
  const c = this.thread.x;
  const ox = this.thread.y;
  const oy = this.thread.z % outHeight;
  const b = Math.floor(this.thread.z / outHeight);
  let max = -Infinity;
  for (let r = 0; r < size; r++) {
    for (let s = 0; s < size; s++) {
      const y = oy * stride + r;
      const column = ox * stride + s;
      if (y < height && column < width) {
        max = Math.max(max, x[((b * height + y) * width + column) * channels + c]);
      }
    }
  }
  return max;
}

/** dx[b, y, x, c] = sum of g over the windows in which this pixel is the first maximum in raster order */
export function maxPool2dGrad(this: Place<PoolSpec>, x: Float32Array, g: Float32Array): number {
  const { height, width, channels, outHeight, outWidth, size, stride } = this.constants;
  const c = this.thread.x;
  const ownX = this.thread.y;
  const ownY = this.thread.z % height;
  const b = Math.floor(this.thread.z / height);
  const own = x[((b * height + ownY) * width + ownX) * channels + c];
  let sum = 0;
  for (let r = 0; r < size; r++) {
    for (let s = 0; s < size; s++) {
      // the window in which this pixel is at (r, s)
      const oy = (ownY - r) / stride;
      const ox = (ownX - s) / stride;
      const isWindow = oy === Math.floor(oy) && ox === Math.floor(ox);
      if (isWindow && oy >= 0 && oy < outHeight && ox >= 0 && ox < outWidth) {
        let wins = 1;
        for (let i = 0; i < size; i++) {
          for (let j = 0; j < size; j++) {
            const y = ownY - r + i;
            const column = ownX - s + j;
            if (y < height && column < width) {
              const other = x[((b * height + y) * width + column) * channels + c];
              const isEarlier = i < r || (i === r && j < s);
              if (!(other <= own) || (isEarlier && other === own)) wins = 0;
            }
          }
        }
        sum += wins * g[((b * outHeight + oy) * outWidth + ox) * channels + c];
      }
    }
  }
  return sum;
}

interface Channels {
  readonly channels: number;
}

/** out[p] = sum over c of weight[c] (a[p, c] / |a| - b[p, c] / |b|)^2, lengths plus 1e-10 (Zhang et al. 2018) */
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
