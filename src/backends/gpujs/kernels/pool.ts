// Max and average pooling and their gradients.
import type { AvgPoolSpec, PoolSpec } from "../../kernels.ts";
import type { Place } from "../compile.ts";

/** out[b, oy, ox, c] = max over r, s < size of x[b, oy stride + r, ox stride + s, c]; pixels outside x are left out */
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

/** How many of the `size` places from `start` on are within a side of `length` that is longer by `border` at both ends. */
export const covered = (start: number, size: number, length: number, border: number): number =>
  Math.min(start + size, length + border) - Math.max(start, -border);

/**
 * out[b, oy, ox, c] = (sum over r, s < size of x[b, top + r, left + s, c]) / (covered(top) covered(left)) with
 * top = oy stride - padding and left = ox stride - padding; pixels outside x are left out
 */
export function avgPool2d(this: Place<AvgPoolSpec>, x: Float32Array): number {
  const { height, width, channels, outHeight, size, stride, padding, counted } = this.constants;
  const c = this.thread.x;
  const ox = this.thread.y;
  const oy = this.thread.z % outHeight;
  const b = Math.floor(this.thread.z / outHeight);
  const top = oy * stride - padding;
  const left = ox * stride - padding;
  let sum = 0;
  for (let r = 0; r < size; r++) {
    for (let s = 0; s < size; s++) {
      const y = top + r;
      const column = left + s;
      if (y >= 0 && y < height && column >= 0 && column < width) {
        sum += x[((b * height + y) * width + column) * channels + c];
      }
    }
  }
  return sum / (covered(top, size, height, counted) * covered(left, size, width, counted));
}

/** dx[b, y, x, c] = sum of g / (covered(top) covered(left)) over the windows that contain this pixel */
export function avgPool2dGrad(this: Place<AvgPoolSpec>, g: Float32Array): number {
  const { height, width, channels, outHeight, outWidth, size, stride, padding, counted } = this.constants;
  const c = this.thread.x;
  const ownX = this.thread.y;
  const ownY = this.thread.z % height;
  const b = Math.floor(this.thread.z / height);
  let sum = 0;
  for (let r = 0; r < size; r++) {
    for (let s = 0; s < size; s++) {
      // the window in which this pixel is at (r, s)
      const top = ownY - r;
      const left = ownX - s;
      const oy = (top + padding) / stride;
      const ox = (left + padding) / stride;
      const isWindow = oy === Math.floor(oy) && ox === Math.floor(ox);
      if (isWindow && oy >= 0 && oy < outHeight && ox >= 0 && ox < outWidth) {
        const divisor = covered(top, size, height, counted) * covered(left, size, width, counted);
        sum += g[((b * outHeight + oy) * outWidth + ox) * channels + c] / divisor;
      }
    }
  }
  return sum;
}
