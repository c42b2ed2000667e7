// Launches matrix products and convolutions: it chooses the algorithm, cuts the work into blocks, and packs the weights.
import type { Slot } from "../../buffer.ts";
import type { Calls, ConvSpec } from "../../kernels.ts";
import { CONV_SCRATCH, TABLE_PIXELS } from "../kernels/conv.ts";
import { convArguments } from "../kernels/conv_arguments.ts";
import { PANEL } from "../kernels/micro_kernel.ts";
import { DEPTH, TILE_CHANNELS, TILE_ROWS, WEIGHT_SCRATCH } from "../kernels/weight_gradient.ts";
import { at, ceil, type Machine, SCRATCH_BYTES } from "../machine.ts";
import { packed } from "./pack.ts";
import { columnSums } from "./reduction.ts";
import {
  type Operands,
  takesEnlarged,
  takesForward,
  takesWeightGrad,
  winograd,
  winogradEnlarged,
  winogradWeightGrad,
} from "./winograd.ts";

/** The most bytes of input that a tile copies to scratch memory. With a panel of weights they fit the second-level cache. */
const INPUT_BLOCK = 400 * 1024;
/** The least number of tiles of a weight gradient, so that the threads can share the work. */
const WEIGHT_TILES = 32;

/** The address of an optional operand, or 0. */
export const atOptional = (slot: Slot | null): number => slot ? at(slot) : 0;

/** A matrix product is a 1x1 convolution of a picture with one row. */
export function matmul(machine: Machine, { a, b, out, m, k, n, transposeB }: Calls["matmul"]): void {
  const [outStride, inStride] = transposeB ? [4 * k, 4] : [4, 4 * n];
  const spec: ConvSpec = {
    batch: 1,
    height: 1,
    width: m,
    inChannels: k,
    outHeight: 1,
    outWidth: m,
    outChannels: n,
    kernel: [1, 1],
    stride: 1,
    padTop: 0,
    padLeft: 0,
    upsample: 1,
  };
  packed(machine, at(b), [1, 1, k, n], [outStride, inStride, 0, 0], (weights) => {
    convolve(machine, weights, spec, { x: at(a), out: at(out) });
  });
}

export function conv2d(machine: Machine, { x, weight, bias, residual, out, spec }: Calls["conv2d"]): void {
  const operands = { x: at(x), out: at(out), bias: atOptional(bias), residual: atOptional(residual) };
  forward(machine, at(weight), spec, operands);
}

/** out = conv(x) + bias + residual, with the weights at address `from`. */
export function forward(machine: Machine, from: number, spec: ConvSpec, operands: Operands): void {
  const [height, width] = spec.kernel;
  const taps = height * width * 4;
  const outStride = spec.inChannels * taps;
  if (!machine.exact && takesEnlarged(spec)) return winogradEnlarged(machine, from, spec, operands);
  if (!machine.exact && takesForward(spec)) {
    const filters = { at: from, outStride, inStride: taps, flipped: false };
    return winograd(machine, filters, spec, operands);
  }
  const sizes = [height, width, spec.inChannels, spec.outChannels] as const;
  packed(machine, from, sizes, [outStride, taps, width * 4, 4], (weights) => {
    convolve(machine, weights, spec, operands);
  });
}

export function conv2dInputGrad(machine: Machine, { g, weight, out, spec }: Calls["conv2dInputGrad"]): void {
  const { upsample, height, width, ...rest } = spec;
  if (upsample === 1) return inputGrad(machine, at(g), at(weight), at(out), spec);
  const large: ConvSpec = { ...rest, upsample: 1, height: height * upsample, width: width * upsample };
  machine.with(large.batch * large.height * large.width * large.inChannels * 4, (enlarged) => {
    inputGrad(machine, at(g), at(weight), enlarged, large);
    machine.launch("sumQuads", spec.batch * height, [enlarged, at(out), width, spec.inChannels]);
  });
}

/**
 * The input gradient is a convolution of the output's gradient with the filters rotated by 180 degrees. With a stride s it
 * consists of s x s convolutions, one for each place (y mod s, x mod s) of the input, each with every s-th tap.
 */
export function inputGrad(machine: Machine, g: number, weight: number, out: number, s: ConvSpec): void {
  const [kh, kw] = s.kernel;
  const tap = 4, taps = kh * kw * tap, inStride = s.inChannels * taps;
  const pixel = s.inChannels * 4;
  if (Math.min(kh, kw) < s.stride) {
    machine.look("f32", out, s.batch * s.height * s.width * s.inChannels).fill(0); // some places are reached by no tap
  }
  for (let y = 0; y < Math.min(s.stride, s.height); y++) {
    for (let x = 0; x < Math.min(s.stride, s.width); x++) {
      const [down, across] = [phase(y, s.padTop, kh, s.stride), phase(x, s.padLeft, kw, s.stride)];
      const full: ConvSpec = {
        batch: s.batch,
        height: s.outHeight,
        width: s.outWidth,
        inChannels: s.outChannels,
        outHeight: ceil(s.height - y, s.stride),
        outWidth: ceil(s.width - x, s.stride),
        outChannels: s.inChannels,
        kernel: [down.taps, across.taps],
        stride: 1,
        padTop: down.pad,
        padLeft: across.pad,
        upsample: 1,
      };
      if (full.outHeight * full.outWidth * down.taps * across.taps === 0) continue;
      if (s.stride === 1 && !machine.exact && takesForward(full)) {
        const filters = { at: weight, outStride: taps, inStride, flipped: true };
        return winograd(machine, filters, full, { x: g, out });
      }
      const from = weight + (down.last * kw + across.last) * tap;
      const strides = [taps, inStride, -s.stride * kw * tap, -s.stride * tap] as const;
      packed(machine, from, [...full.kernel, s.outChannels, s.inChannels], strides, (weights) => {
        convolve(machine, weights, full, {
          x: g,
          out: out + (y * s.width + x) * pixel,
          outPixel: s.stride * pixel,
          outRow: s.stride * pixel * s.width,
          outImage: pixel * s.width * s.height,
        });
      });
    }
  }
}

/** The taps along a side that reach the input places `at` mod stride: their number, the last one, and the padding. */
function phase(
  at: number,
  pad: number,
  size: number,
  stride: number,
): { taps: number; last: number; pad: number } {
  const first = (at + pad) % stride;
  const taps = Math.max(0, ceil(size - first, stride));
  return { taps, last: first + stride * (taps - 1), pad: taps - 1 - (at + pad - first) / stride };
}

/** A convolution by its definition, with packed weights. */
function convolve(machine: Machine, weights: number, s: ConvSpec, operands: Operands): void {
  const span = (n: number, k: number) => (n - 1) * s.stride + k;
  // square blocks have the least border to copy
  let blockHeight = Math.min(64, s.outHeight);
  let blockWidth = Math.min(s.outHeight === 1 ? 4080 : 64, s.outWidth);
  const bytes = () => span(blockHeight, s.kernel[0]) * span(blockWidth, s.kernel[1]) * s.inChannels * 4;
  while (
    (bytes() > INPUT_BLOCK || blockHeight * blockWidth > TABLE_PIXELS - 8) && blockHeight * blockWidth > 1
  ) {
    if (blockHeight >= blockWidth) blockHeight = ceil(blockHeight, 2);
    else blockWidth = ceil(blockWidth, 2);
  }
  const direct = s.padTop === 0 && s.padLeft === 0 && s.upsample === 1 &&
    span(s.outHeight, s.kernel[0]) <= s.height && span(s.outWidth, s.kernel[1]) <= s.width;
  if (!direct) checkScratch(bytes() + CONV_SCRATCH, s);
  const blocksDown = ceil(s.outHeight, blockHeight), blocksAcross = ceil(s.outWidth, blockWidth);
  const blocks = s.batch * blocksDown * blocksAcross;
  const panels = ceil(s.outChannels, PANEL);
  // if there are few blocks, the channels are cut as well, so that every thread has several tiles
  const blockPanels = ceil(panels, Math.max(1, Math.min(panels, ceil(8 * machine.threads, blocks))));
  const panelBlocks = ceil(panels, blockPanels);
  const args = convArguments(s, {
    ...operands,
    weights,
    blockHeight,
    blockWidth,
    blocksDown,
    blocksAcross,
    blockPanels,
    panelBlocks,
    direct: direct ? 1 : 0,
  });
  machine.launch("conv", blocks * panelBlocks, args);
}

/** @throws if a filter reads more at a time than the scratch memory of a thread holds */
function checkScratch(bytes: number, { kernel, inChannels }: ConvSpec): void {
  if (bytes <= SCRATCH_BYTES) return;
  throw new Error(
    `conv2d: a filter of ${kernel} x ${inChannels} channels is larger than the scratch memory`,
  );
}

export function conv2dWeightGrad(machine: Machine, { x, g, out, spec }: Calls["conv2dWeightGrad"]): void {
  weightGrad(machine, at(x), at(g), at(out), spec);
}

export function weightGrad(machine: Machine, x: number, g: number, out: number, spec: ConvSpec): void {
  if (!machine.exact && takesWeightGrad(spec)) {
    return winogradWeightGrad(machine, spec, { x, weights: g, out });
  }
  const [kh, kw] = spec.kernel;
  let blockWidth = Math.min(DEPTH, spec.outWidth);
  const bytes = () => ((blockWidth - 1) * spec.stride + kw) * spec.inChannels * 4;
  while (bytes() > SCRATCH_BYTES - WEIGHT_SCRATCH && blockWidth > 1) {
    blockWidth = ceil(blockWidth, 2);
  }
  checkScratch(bytes() + WEIGHT_SCRATCH, spec);
  const rowBlocks = ceil(kw * spec.inChannels, TILE_ROWS);
  const panelBlocks = ceil(spec.outChannels, TILE_CHANNELS);
  const blockHeight = Math.max(1, Math.min(spec.outHeight, Math.floor(DEPTH / blockWidth)));
  const blocksDown = ceil(spec.outHeight, blockHeight);
  // if there are few tiles, the pixels are split as well, by the shapes alone, so that sums are the same on any machine
  const tiles = kh * rowBlocks * panelBlocks;
  const splits = Math.max(1, Math.min(ceil(WEIGHT_TILES, tiles), spec.batch * blocksDown));
  const more = { blockWidth, blockHeight, blocksDown, rowBlocks, panelBlocks, splits };
  const launch = (to: number) => {
    const args = convArguments(spec, { x, weights: g, out: to, ...more });
    machine.launch("convWeightGrad", tiles * splits, args);
  };
  if (splits === 1) return launch(out);
  const size = spec.outChannels * spec.inChannels * kh * kw;
  machine.with(splits * size * 4, (partial) => {
    launch(partial);
    columnSums(machine, partial, out, splits, size);
  });
}
