// The arguments of the convolution kernels.
import type { ConvSpec } from "../../kernels.ts";
import { argument } from "../threads.ts";

/** The index of each argument of the convolution kernels. */
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
  outPixel: 17, // the distances in bytes between output pixels, rows and images
  outRow: 18,
  outImage: 19,
  blockHeight: 20,
  blockWidth: 21,
  blocksDown: 22,
  blocksAcross: 23,
  blockPanels: 24,
  panelBlocks: 25,
  direct: 26, // 1: there is no border and no enlargement, so the input is read in place
  batch: 27,
  rowBlocks: 28,
  splits: 29,
  patchArea: 30,
  filters: 31, // not packed, with the byte strides of output and input
  outStride: 32,
  inStride: 33,
  flipped: 34, // 1: rotated by 180 degrees
  patchStep: 35, // Winograd: the outputs of a patch along one side,
  patchStride: 36, // and bytes from one transformed patch to the next
  transformed: 37, // Winograd on small maps: the transformed patches of the input
  gradients: 38, // and of the output's gradient
  chunk: 39, // the bytes of a pixel that are read at a time
} as const;

/** The code by which a kernel reads an argument. */
export const arg = (name: keyof typeof CONV) => argument(CONV[name]);

export type ConvArguments = Partial<Record<keyof typeof CONV, number>>;

/** The arguments of a launch: the geometry `s`, and `more` arguments by name, which may replace those of `s`. */
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
