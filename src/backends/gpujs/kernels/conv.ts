// Convolution (really cross-correlation) and its two gradients. Images x are NHWC: [batch, height, width, channels]. Filters
// w are OIHW: [output channel, input channel, row, column]. Each function computes one element of its output. gpu.js calls
// it for all of them: `this.thread` says for which element, and `this.constants` holds the sizes (compile.ts).
//
// An output pixel (oy, ox) is a sum over the taps (r, s) of the filter. Tap (r, s) reads the pixel of the enlarged input in
// row oy stride - padTop + r and column ox stride - padLeft + s, or 0 outside the image. The formulas below write y(oy, r)
// and x(ox, s) for the row and the column of that pixel in the input as it is stored.
import type { ConvSpec, GroupedConvSpec } from "../../kernels.ts";
import type { Place } from "../compile.ts";

export interface ConvSizes extends Omit<ConvSpec, "kernel"> {
  readonly kernelHeight: number;
  readonly kernelWidth: number;
}

export type GroupedConvSizes = Omit<ConvSizes, "upsample"> & Pick<GroupedConvSpec, "groups">;

/** out[b, oy, ox, o] = bias[o] + sum over r, s, i of x[b, y(oy, r), x(ox, s), i] w[o, i, r, s] */
export function conv2d(this: Place<ConvSizes>, x: Float32Array, w: Float32Array, bias: Float32Array): number {
  const { height, width, inChannels, outHeight, kernelHeight, kernelWidth } = this.constants;
  const { stride, padTop, padLeft, upsample } = this.constants;
  const o = this.thread.x;
  const ox = this.thread.y;
  const oy = this.thread.z % outHeight;
  const b = Math.floor(this.thread.z / outHeight);
  let sum = bias[o];
  for (let r = 0; r < kernelHeight; r++) {
    for (let s = 0; s < kernelWidth; s++) {
      const y = Math.floor((oy * stride - padTop + r) / upsample);
      const column = Math.floor((ox * stride - padLeft + s) / upsample);
      if (y >= 0 && y < height && column >= 0 && column < width) {
        const pixel = ((b * height + y) * width + column) * inChannels;
        for (let i = 0; i < inChannels; i++) {
          sum += x[pixel + i] * w[((o * inChannels + i) * kernelHeight + r) * kernelWidth + s];
        }
      }
    }
  }
  return sum;
}

/**
 * dx[b, y, x, i] = sum of g[b, oy, ox, o] w[o, i, r, s] over all (oy, ox, r, s) that read this pixel, and over o.
 * Enlarging copies the pixel to the rows u and columns v. Tap (r, s) of output (oy, ox) reads row u if
 * oy stride = u + padTop - r, and likewise for columns.
 */
export function conv2dInputGrad(this: Place<ConvSizes>, g: Float32Array, w: Float32Array): number {
  const { height, inChannels, outHeight, outWidth, outChannels, kernelHeight, kernelWidth } = this.constants;
  const { stride, padTop, padLeft, upsample } = this.constants;
  const i = this.thread.x;
  const x = this.thread.y;
  const y = this.thread.z % height;
  const b = Math.floor(this.thread.z / height);
  let sum = 0;
  for (let u = y * upsample; u < y * upsample + upsample; u++) {
    for (let v = x * upsample; v < x * upsample + upsample; v++) {
      for (let r = 0; r < kernelHeight; r++) {
        for (let s = 0; s < kernelWidth; s++) {
          const oy = (u + padTop - r) / stride;
          const ox = (v + padLeft - s) / stride;
          const isRead = oy === Math.floor(oy) && ox === Math.floor(ox);
          if (isRead && oy >= 0 && oy < outHeight && ox >= 0 && ox < outWidth) {
            const pixel = ((b * outHeight + oy) * outWidth + ox) * outChannels;
            for (let o = 0; o < outChannels; o++) {
              sum += g[pixel + o] * w[((o * inChannels + i) * kernelHeight + r) * kernelWidth + s];
            }
          }
        }
      }
    }
  }
  return sum;
}

/** dw[o, i, r, s] = sum over b, oy, ox of x[b, y(oy, r), x(ox, s), i] g[b, oy, ox, o] */
export function conv2dWeightGrad(this: Place<ConvSizes>, x: Float32Array, g: Float32Array): number {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels } = this.constants;
  const { stride, padTop, padLeft, upsample } = this.constants;
  const s = this.thread.x;
  const r = this.thread.y;
  const i = this.thread.z % inChannels;
  const o = Math.floor(this.thread.z / inChannels);
  let sum = 0;
  for (let b = 0; b < batch; b++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const y = Math.floor((oy * stride - padTop + r) / upsample);
        const column = Math.floor((ox * stride - padLeft + s) / upsample);
        if (y >= 0 && y < height && column >= 0 && column < width) {
          sum += x[((b * height + y) * width + column) * inChannels + i] *
            g[((b * outHeight + oy) * outWidth + ox) * outChannels + o];
        }
      }
    }
  }
  return sum;
}

/**
 * In groups: out[b, oy, ox, o] = bias[o] + sum over r, s and k < inChannels / groups of
 * x[b, y(oy, r), x(ox, s), first + k] w[o, k, r, s], where `first` is the first input of o's group.
 */
export function groupedConv2d(
  this: Place<GroupedConvSizes>,
  x: Float32Array,
  w: Float32Array,
  bias: Float32Array,
): number {
  const { height, width, inChannels, outHeight, outChannels, kernelHeight, kernelWidth } = this.constants;
  const { stride, padTop, padLeft, groups } = this.constants;
  const o = this.thread.x;
  const ox = this.thread.y;
  const oy = this.thread.z % outHeight;
  const b = Math.floor(this.thread.z / outHeight);
  const inputs = inChannels / groups;
  const outputs = outChannels / groups;
  const first = Math.floor(o / outputs) * inputs;
  let sum = bias[o];
  for (let r = 0; r < kernelHeight; r++) {
    for (let s = 0; s < kernelWidth; s++) {
      const y = oy * stride - padTop + r;
      const column = ox * stride - padLeft + s;
      if (y >= 0 && y < height && column >= 0 && column < width) {
        const pixel = ((b * height + y) * width + column) * inChannels + first;
        for (let k = 0; k < inputs; k++) {
          sum += x[pixel + k] * w[((o * inputs + k) * kernelHeight + r) * kernelWidth + s];
        }
      }
    }
  }
  return sum;
}

/**
 * In groups: dx[b, y, x, i] = sum of g[b, oy, ox, o] w[o, k, r, s] over all (oy, ox, r, s) that read this pixel, and over
 * the outputs o of i's group. k is the number of i among the inputs of its group.
 */
export function groupedConv2dInputGrad(
  this: Place<GroupedConvSizes>,
  g: Float32Array,
  w: Float32Array,
): number {
  const { height, inChannels, outHeight, outWidth, outChannels, kernelHeight, kernelWidth } = this.constants;
  const { stride, padTop, padLeft, groups } = this.constants;
  const i = this.thread.x;
  const x = this.thread.y;
  const y = this.thread.z % height;
  const b = Math.floor(this.thread.z / height);
  const inputs = inChannels / groups;
  const outputs = outChannels / groups;
  const first = Math.floor(i / inputs) * outputs;
  const k = i % inputs;
  let sum = 0;
  for (let r = 0; r < kernelHeight; r++) {
    for (let s = 0; s < kernelWidth; s++) {
      const oy = (y + padTop - r) / stride;
      const ox = (x + padLeft - s) / stride;
      const isRead = oy === Math.floor(oy) && ox === Math.floor(ox);
      if (isRead && oy >= 0 && oy < outHeight && ox >= 0 && ox < outWidth) {
        const pixel = ((b * outHeight + oy) * outWidth + ox) * outChannels;
        for (let o = first; o < first + outputs; o++) {
          sum += g[pixel + o] * w[((o * inputs + k) * kernelHeight + r) * kernelWidth + s];
        }
      }
    }
  }
  return sum;
}

/** In groups: dw[o, k, r, s] = sum over b, oy, ox of x[b, y(oy, r), x(ox, s), first + k] g[b, oy, ox, o] */
export function groupedConv2dWeightGrad(
  this: Place<GroupedConvSizes>,
  x: Float32Array,
  g: Float32Array,
): number {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels } = this.constants;
  const { stride, padTop, padLeft, groups } = this.constants;
  const s = this.thread.x;
  const r = this.thread.y;
  const inputs = inChannels / groups;
  const outputs = outChannels / groups;
  const o = Math.floor(this.thread.z / inputs);
  const i = Math.floor(o / outputs) * inputs + this.thread.z % inputs;
  let sum = 0;
  for (let b = 0; b < batch; b++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const y = oy * stride - padTop + r;
        const column = ox * stride - padLeft + s;
        if (y >= 0 && y < height && column >= 0 && column < width) {
          sum += x[((b * height + y) * width + column) * inChannels + i] *
            g[((b * outHeight + oy) * outWidth + ox) * outChannels + o];
        }
      }
    }
  }
  return sum;
}
