// The geometry of convolutions as products. A convolution of an enlarged image, or an input gradient with a stride, is
// divided into phases: the outputs at equal places modulo a period use the same small filter. Weights of taps that fall on
// the same pixel are added. So an enlarged image is never stored, and a 3x3 filter on it costs 4 taps instead of 9.
import type { ConvSpec } from "../../kernels.ts";
import type { Taps, Weights } from "./pack.ts";
import { ceil } from "./wgsl.ts";

/** The outputs start + period q, q < size, along one side. Tap t reads input q * step + first + t. */
export interface Phase extends Taps {
  readonly start: number;
  readonly period: number;
  readonly size: number;
  readonly step: number;
  readonly first: number;
}

/** One of the products that a convolution, or its input gradient, consists of. */
export interface Job extends Weights {
  readonly batch: number;
  /** The size of the image that is read, and of the one that is written. */
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  /** The outputs that this product computes. */
  readonly down: Phase;
  readonly across: Phase;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Output o takes weight k from input floor((o stride + k - pad) / upsample). */
function forwardPhases(
  outputs: number,
  kernel: number,
  stride: number,
  pad: number,
  upsample: number,
): Phase[] {
  const period = upsample / gcd(stride, upsample);
  return Array.from({ length: Math.min(period, outputs) }, (_, start) => {
    const corner = start * stride - pad;
    const first = Math.floor(corner / upsample);
    return {
      start,
      period,
      size: ceil(outputs - start, period),
      step: (period * stride) / upsample,
      first,
      count: Math.floor((corner + kernel - 1) / upsample) - first + 1,
      from: upsample * first - corner,
      slope: upsample,
      reach: upsample,
      kernel,
    };
  });
}

/** Input i contributes with weight k to each output (i upsample + j + pad - k) / stride, j < upsample, that is whole. */
function gradPhases(inputs: number, kernel: number, stride: number, pad: number, upsample: number): Phase[] {
  const period = stride / gcd(stride, upsample);
  return Array.from({ length: Math.min(period, inputs) }, (_, start) => {
    const corner = start * upsample + pad;
    const first = ceil(corner - kernel + 1, stride);
    return {
      start,
      period,
      size: ceil(inputs - start, period),
      step: (period * upsample) / stride,
      first,
      count: Math.max(0, Math.floor((corner + upsample - 1) / stride) - first + 1),
      from: corner - stride * first,
      slope: -stride,
      reach: upsample,
      kernel,
    };
  });
}

/** The products of a convolution. */
export function forwardJobs(spec: ConvSpec): Job[] {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, stride, upsample } = spec;
  const { kernel: [kh, kw], padTop, padLeft } = spec;
  const image = { batch, height, width, outHeight, outWidth, inputs: inChannels, outputs: outChannels };
  const strides = { outStride: inChannels * kh * kw, inStride: kh * kw };
  const acrosses = forwardPhases(outWidth, kw, stride, padLeft, upsample);
  return forwardPhases(outHeight, kh, stride, padTop, upsample)
    .flatMap((down) => acrosses.map((across) => ({ ...image, ...strides, down, across })));
}

/** The products of the input gradient, which read the gradient of the output. */
export function gradJobs(spec: ConvSpec): Job[] {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, stride, upsample } = spec;
  const { kernel: [kh, kw], padTop, padLeft } = spec;
  const image = { batch, height: outHeight, width: outWidth, outHeight: height, outWidth: width };
  const channels = { inputs: outChannels, outputs: inChannels };
  const strides = { outStride: kh * kw, inStride: inChannels * kh * kw };
  const acrosses = gradPhases(width, kw, stride, padLeft, upsample);
  return gradPhases(height, kh, stride, padTop, upsample)
    .flatMap((down) => acrosses.map((across) => ({ ...image, ...channels, ...strides, down, across })));
}

export const tapsOf = ({ down, across }: Job): number => down.count * across.count;

/**
 * Whether the taps of each pixel should first be copied one after another. The three channels of a picture do not fill a
 * vector, and would be loaded once for each tap. If the output has many channels, the memory for the copy matters little.
 */
export function isPatched(job: Job): boolean {
  const { inputs, outputs } = job, taps = tapsOf(job);
  return inputs < 4 && taps > 1 && outputs >= taps * inputs;
}

/** Whether each output depends on the input at the same place, and on no other. */
export function isSame({ height, width, down, across }: Job): boolean {
  return height === down.size && width === across.size &&
    [down, across].every(({ count, first, step, period }) =>
      count === 1 && first === 0 && step === 1 && period === 1
    );
}

/** Whether the outputs may be a strip of a large picture, for which results must be the same bits as for the whole picture. */
export function isStrip({ height, outHeight, down: { kernel, period, step } }: Job): boolean {
  return kernel === 3 && period === 1 && step === 1 && height !== outHeight;
}
