// The arguments of the convolution kernels.
import type { ConvSpec } from "../../kernels.ts";
import { argument } from "../threads.ts";

/** Which word each argument of the convolution kernels is. */
export const CONV = {
  x: 0,
  weights: 1, // packed; in the weight gradient: the gradient of the output
  out: 2,
  bias: 3,
  residual: 4,
  height: 5,
  width: 6,
  inChannels: 7,
  outHeight: 8,
  outWidth: 9,
  outChannels: 10,
  kernelHeight: 11,
  kernelWidth: 12,
  stride: 13,
  padTop: 14,
  padLeft: 15,
  upShift: 16, // 1: the input is enlarged by two
  outPixel: 17, // bytes from one output pixel, row and image to the next
  outRow: 18,
  outImage: 19,
  blockHeight: 20,
  blockWidth: 21,
  blocksDown: 22,
  blocksAcross: 23,
  blockPanels: 24,
  panelBlocks: 25,
  direct: 26, // 1: no border, no enlargement: read the input in place
  batch: 27,
  rowBlocks: 28,
  splits: 29,
  patchArea: 30,
  filters: 31, // not packed, with the byte strides of output and input
  outStride: 32,
  inStride: 33,
  flipped: 34, // 1: turned by half a turn
  patchStep: 35, // Winograd: outputs of a patch along one side,
  patchStride: 36, // and bytes from one transformed patch to the next
  transformed: 37, // Winograd on small maps: the input's patches
  gradients: 38, // those of the output's gradient
  chunk: 39, // bytes of a pixel taken at a time
} as const;

/** An argument, as the running kernel reads it. */
export const arg = (name: keyof typeof CONV) => argument(CONV[name]);

export type ConvArguments = Partial<Record<keyof typeof CONV, number>>;

/** The words of a launch: the geometry of `s`, and `more` by name, which may differ from it. */
export function convArguments(s: ConvSpec, more: ConvArguments): Int32Array {
  const values: ConvArguments = {
    height: s.height,
    width: s.width,
    inChannels: s.inChannels,
    outHeight: s.outHeight,
    outWidth: s.outWidth,
    outChannels: s.outChannels,
    kernelHeight: s.kernel[0],
    kernelWidth: s.kernel[1],
    stride: s.stride,
    padTop: s.padTop,
    padLeft: s.padLeft,
    upShift: s.upsample - 1,
    outPixel: s.outChannels * 4,
    outRow: s.outWidth * s.outChannels * 4,
    outImage: s.outHeight * s.outWidth * s.outChannels * 4,
    batch: s.batch,
    ...more,
  };
  const args = new Int32Array(Object.keys(CONV).length);
  for (const [name, value] of Object.entries(values)) args[CONV[name as keyof typeof CONV]] = value;
  return args;
}
