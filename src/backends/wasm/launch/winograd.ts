// Decides which convolutions are computed by Winograd's algorithm, and cuts them into tiles.
import type { ConvSpec } from "../../kernels.ts";
import { type ConvArguments, convArguments } from "../kernels/conv_arguments.ts";
import { PANEL, PIXELS } from "../kernels/micro_kernel.ts";
import { TILE_CHANNELS } from "../kernels/weight_gradient.ts";
import { filterBytes, patchBytes, winogradScratch } from "../kernels/winograd.ts";
import { winogradGradScratch, winogradSums } from "../kernels/winograd_weight_gradient.ts";
import {
  GRAD_PATCHES,
  INPUT_PATCHES,
  SMALL_IN,
  SMALL_OUT,
  smallScratch,
  transformedBytes,
} from "../kernels/winograd_small.ts";
import { outputs, patchStride, type Taps } from "../kernels/winograd_transforms.ts";
import { ceil, type Machine, SCRATCH_BYTES } from "../machine.ts";

/** The most patches of a tile, and the most scratch memory for them. More would overflow the second-level cache. */
const PATCHES = 96;
const SCRATCH = 1000 * 1024;
/** The most patches of a block of the weight gradient: enough to make loading and storing the sums cheap. */
const GRAD_BLOCK = 32;
/** The most bytes for the sums of the weight gradient. Every part of the patches has sums of its own. */
const SUMS = 96 * 2 ** 20;
/** The most patches of a small map. On small maps, storing transformed filters would cost more than using them. */
const SMALL = 72;
/** The values (patches times channels) that are read together on a small map. */
const SMALL_CHUNK = 4096;

/** With more than a thousand channels, a tile of six patches would overflow the second-level cache. */
function takes({ kernel: [height, width], stride, inChannels }: ConvSpec): boolean {
  return height === width && (height === 3 || height === 4) && stride === 1 && inChannels > 0 &&
    inChannels % 4 === 0 && inChannels <= 1000;
}
/** Whether it is a convolution of an enlarged picture whose output has the size of the enlarged picture. */
export const takesEnlarged = (s: ConvSpec): boolean =>
  s.upsample === 2 && s.kernel[0] === 3 && s.padTop === 1 && s.padLeft === 1 &&
  s.outHeight === 2 * s.height &&
  s.outWidth === 2 * s.width && takesForward(s);
/** With few output channels the transforms cost more than they save. */
export const takesForward = (s: ConvSpec): boolean => takes(s) && s.outChannels >= 8;
export const takesWeightGrad = takes;

/** Filters in memory, with the byte strides of outputs and inputs. `flipped` filters are rotated by 180 degrees. */
export interface Filters {
  readonly at: number;
  readonly outStride: number;
  readonly inStride: number;
  readonly flipped: boolean;
}

/** The addresses of the operands, and the byte strides of the output if it has gaps between pixels. */
export type Operands = ConvArguments & { readonly x: number; readonly out: number };

/** out = conv(x) + bias + residual. */
export function winograd(machine: Machine, filters: Filters, s: ConvSpec, operands: Operands): void {
  const { at, outStride, inStride, flipped } = filters;
  const common = {
    ...operands,
    ...patchGrid(s),
    filters: at,
    outStride,
    inStride,
    flipped: flipped ? 1 : 0,
  };
  const patches = patchCount(s);
  if (patches <= SMALL) return small(machine, s, common);
  const taps = s.kernel[0];
  const panels = ceil(s.outChannels, PANEL);
  machine.with(panels * filterBytes(s.inChannels), (weights) => {
    let blockWidth = Math.min(PATCHES, ceil(patches, PIXELS) * PIXELS);
    while (winogradScratch(blockWidth, s.inChannels) > SCRATCH && blockWidth > PIXELS) blockWidth -= PIXELS;
    const blocks = ceil(patches, blockWidth);
    const blockPanels = ceil(panels, Math.max(1, Math.min(panels, ceil(4 * machine.threads, blocks))));
    const panelBlocks = ceil(panels, blockPanels);
    const args = convArguments(s, { ...common, weights, blockWidth, blockPanels, panelBlocks });
    machine.launch(`winogradFilters${taps}`, panels, args);
    machine.launch(`winograd${taps}`, blocks * panelBlocks, args);
  });
}

function small(machine: Machine, s: ConvSpec, common: ConvArguments): void {
  const patches = patchCount(s);
  const blockWidth = ceil(patches, PIXELS) * PIXELS;
  const panels = ceil(s.outChannels, PANEL);
  const chunk = Math.min(s.inChannels, Math.max(32, Math.floor(SMALL_CHUNK / blockWidth / 4) * 4));
  let blockPanels = ceil(panels, 4 * machine.threads);
  while (blockPanels > 1 && smallScratch(chunk, blockPanels, blockWidth) > SCRATCH) blockPanels--;
  machine.with(transformedBytes(blockWidth, s.inChannels), (transformed) => {
    const args = convArguments(s, { ...common, transformed, blockWidth, blockPanels, chunk: chunk * 4 });
    machine.launch("winogradInputs", ceil(patches, INPUT_PATCHES), args);
    machine.launch(`winogradSmall${s.kernel[0]}`, ceil(panels, blockPanels), args);
  });
}

/** Each of the output's four places (y mod 2, x mod 2) is a 2x2 convolution of the picture before it is enlarged. */
export function winogradEnlarged(machine: Machine, weight: number, s: ConvSpec, operands: Operands): void {
  const filter = 4 * 4, pixel = s.outChannels * 4;
  const placeBytes = s.outChannels * s.inChannels * filter;
  machine.with(4 * placeBytes, (filters) => {
    machine.launch("upFilters", s.outChannels, [weight, filters, s.inChannels, s.outChannels]);
    for (const [place, [y, x]] of [[0, 0], [0, 1], [1, 0], [1, 1]].entries()) {
      const to = (y * s.outWidth + x) * pixel;
      const shape = {
        at: filters + place * placeBytes,
        outStride: s.inChannels * filter,
        inStride: filter,
        flipped: false,
      };
      const part: ConvSpec = {
        ...s,
        kernel: [2, 2],
        outHeight: s.height,
        outWidth: s.width,
        padTop: 1 - y,
        padLeft: 1 - x,
        upsample: 1,
      };
      winograd(machine, shape, part, {
        ...operands,
        out: operands.out + to,
        residual: operands.residual && operands.residual + to,
        outPixel: 2 * pixel,
        outRow: 2 * s.outWidth * pixel,
        outImage: s.outHeight * s.outWidth * pixel,
      });
    }
  });
}

/** The gradient of the weights. As in the kernels, the argument `weights` is the gradient of the output. */
export function winogradWeightGrad(
  machine: Machine,
  s: ConvSpec,
  operands: Operands & { readonly weights: number },
): void {
  const taps = s.kernel[0];
  const patches = patchCount(s);
  const panelBlocks = ceil(s.outChannels, TILE_CHANNELS);
  const common = { ...operands, ...patchGrid(s), panelBlocks };
  if (patches <= SMALL) return smallWeightGrad(machine, s, common);
  let blockWidth = Math.min(GRAD_BLOCK, patches);
  while (winogradGradScratch(blockWidth, s.inChannels) > SCRATCH_BYTES && blockWidth > 4) blockWidth -= 4;
  const bytes = panelBlocks * winogradSums(s.inChannels);
  // the shapes alone decide, so that sums are the same on any machine; with fewer than four blocks a part is not worth it
  const splits = Math.max(
    1,
    Math.min(ceil(patches, 4 * blockWidth), ceil(16, panelBlocks), Math.floor(SUMS / bytes)),
  );
  const patchArea = patchBytes(Math.max(s.inChannels, TILE_CHANNELS));
  machine.with(splits * bytes, (sums) => {
    const more = { ...common, blockWidth, splits, patchArea };
    machine.launch(`winogradGrad${taps}`, splits * panelBlocks, convArguments(s, { ...more, out: sums }));
    const back = convArguments(s, { ...more, x: sums });
    machine.launch(`winogradWayBack${taps}`, ceil(s.inChannels, PIXELS) * panelBlocks, back);
  });
}

function smallWeightGrad(
  machine: Machine,
  s: ConvSpec,
  common: ConvArguments & { readonly panelBlocks: number },
): void {
  const taps = s.kernel[0];
  const patches = patchCount(s);
  const bytes = transformedBytes(patches, s.inChannels);
  machine.with(bytes + common.panelBlocks * transformedBytes(patches, TILE_CHANNELS), (transformed) => {
    const args = convArguments(s, {
      ...common,
      transformed,
      gradients: transformed + bytes,
      blockWidth: patches,
    });
    machine.launch("winogradInputs", ceil(patches, INPUT_PATCHES), args);
    machine.launch(`winogradGrads${taps}`, ceil(patches, GRAD_PATCHES) * common.panelBlocks, args);
    const tiles = ceil(s.inChannels, SMALL_IN) * ceil(s.outChannels, SMALL_OUT);
    machine.launch(`winogradGradSmall${taps}`, tiles, args);
  });
}

/** The grid of patches that covers the outputs. */
function patchGrid(s: ConvSpec) {
  const patchStep = outputs(s.kernel[0] as Taps);
  return {
    patchStep,
    patchStride: patchStride(s.inChannels),
    blocksDown: ceil(s.outHeight, patchStep),
    blocksAcross: ceil(s.outWidth, patchStep),
  };
}

function patchCount(s: ConvSpec): number {
  const { blocksDown, blocksAcross } = patchGrid(s);
  return s.batch * blocksDown * blocksAcross;
}
