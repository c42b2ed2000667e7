// Matrix products and convolutions: which blocks a launch is cut into, and the packing of weights around it.
import type { ConvSpec, View } from "../../backend.ts";
import { CONV_SCRATCH, TABLE_PIXELS } from "../kernels/conv.ts";
import { type ConvArguments, convArguments } from "../kernels/conv_arguments.ts";
import { at, ceil, type Machine, SCRATCH_BYTES } from "../machine.ts";
import { PANEL } from "../kernels/micro_kernel.ts";
import { sumColumns } from "./reduction.ts";
import { DEPTH, TILE_CHANNELS, TILE_ROWS, WEIGHT_SCRATCH } from "../kernels/weight_gradient.ts";
import { takesEnlarged, takesForward, takesWeightGrad, Winograd } from "./winograd.ts";

/** Input bytes a convolution tile copies to scratch: with the weights' panel it stays in the second-level cache. */
const INPUT_BLOCK = 400 * 1024;
/** Tiles of a weight gradient at least, for the threads to share. */
const WEIGHT_TILES = 32;

/** Convolutions on a machine; buffers are addresses, and 0 stands for none. */
export class Convolutions {
  readonly machine: Machine;

  /** Leaves Winograd's way alone: every product is one that the definition has. */
  exact = Boolean(Number(globalThis.process?.env.TESSERA_EXACT ?? 0));

  readonly #winograd: Winograd;

  constructor(machine: Machine) {
    this.machine = machine;
    this.#winograd = new Winograd(machine);
  }

  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void {
    const [outStride, inStride] = transposeB ? [4 * k, 4] : [4, 4 * n];
    this.packed(address(b), 1, 1, k, n, [outStride, inStride, 0, 0], (weights) => {
      this.#conv(weights, address(a), 0, 0, address(out), {
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
      });
    });
  }

  /** Packs weights [outputs, inputs, height, width] with the given byte strides, for the length of `body`. */
  packed(
    from: number,
    height: number,
    width: number,
    inputs: number,
    outputs: number,
    strides: readonly number[],
    body: (weights: number) => void,
  ): void {
    const panels = ceil(outputs, PANEL);
    this.machine.with(panels * PANEL * height * width * inputs * 4, (weights) => {
      this.machine.launch("pack", panels, [from, weights, height, width, inputs, outputs, ...strides]);
      body(weights);
    });
  }

  forward(x: number, w: number, bias: number, residual: number, out: number, spec: ConvSpec): void {
    const [kh, kw] = spec.kernel;
    const taps = kh * kw * 4;
    const outStride = spec.inChannels * taps;
    if (!this.exact && takesEnlarged(spec)) {
      return this.#winograd.forwardEnlarged(w, x, bias, residual, out, spec);
    }
    if (!this.exact && takesForward(spec)) {
      return this.#winograd.forward(
        { at: w, outStride, inStride: taps, flipped: false },
        x,
        bias,
        residual,
        out,
        spec,
      );
    }
    this.packed(w, kh, kw, spec.inChannels, spec.outChannels, [outStride, taps, kw * 4, 4], (weights) => {
      this.#conv(weights, x, bias, residual, out, spec);
    });
  }

  inputGrad(g: number, w: number, out: number, spec: ConvSpec): void {
    const { upsample, height, width, ...rest } = spec;
    if (upsample === 1) return this.#inputGrad(g, w, out, spec);
    const large: ConvSpec = { ...rest, upsample: 1, height: height * upsample, width: width * upsample };
    this.machine.with(large.batch * large.height * large.width * large.inChannels * 4, (enlarged) => {
      this.#inputGrad(g, w, enlarged, large);
      this.machine.launch("sumQuads", spec.batch * height, [enlarged, out, width, spec.inChannels]);
    });
  }

  /**
   * The input gradient is a convolution of the output gradient with the filters turned round. With a stride s there are
   * s x s of them, one for each place (y mod s, x mod s) of the input, with every s-th tap.
   */
  #inputGrad(g: number, w: number, out: number, s: ConvSpec): void {
    const [kh, kw] = s.kernel;
    const tap = 4, taps = kh * kw * tap, inStride = s.inChannels * taps;
    const pixel = s.inChannels * 4;
    if (Math.min(kh, kw) < s.stride) {
      this.machine.look("f32", out, s.batch * s.height * s.width * s.inChannels).fill(0); // some places have no tap
    }
    for (let y = 0; y < s.stride; y++) {
      for (let x = 0; x < s.stride; x++) {
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
        const to = out + (y * s.width + x) * pixel;
        if (s.stride === 1 && !this.exact && takesForward(full)) {
          return this.#winograd.forward(
            { at: w, outStride: taps, inStride, flipped: true },
            g,
            0,
            0,
            to,
            full,
          );
        }
        const from = w + (down.last * kw + across.last) * tap;
        const strides = [taps, inStride, -s.stride * kw * tap, -s.stride * tap];
        this.packed(from, ...full.kernel, s.outChannels, s.inChannels, strides, (weights) => {
          const outPixel = s.stride * pixel,
            outRow = outPixel * s.width,
            outImage = pixel * s.width * s.height;
          this.#conv(weights, g, 0, 0, to, full, { outPixel, outRow, outImage });
        });
      }
    }
  }

  #conv(
    weights: number,
    x: number,
    bias: number,
    residual: number,
    out: number,
    s: ConvSpec,
    place: ConvArguments = {},
  ): void {
    const span = (n: number, k: number) => (n - 1) * s.stride + k;
    // square blocks: of all shapes they copy the least border
    let [blockHeight, blockWidth] = [
      Math.min(64, s.outHeight),
      Math.min(s.outHeight === 1 ? 4080 : 64, s.outWidth),
    ];
    const bytes = () => span(blockHeight, s.kernel[0]) * span(blockWidth, s.kernel[1]) * s.inChannels * 4;
    while (
      (bytes() > INPUT_BLOCK || blockHeight * blockWidth > TABLE_PIXELS - 8) && blockHeight * blockWidth > 1
    ) {
      if (blockHeight >= blockWidth) blockHeight = ceil(blockHeight, 2);
      else blockWidth = ceil(blockWidth, 2);
    }
    if (bytes() > SCRATCH_BYTES - CONV_SCRATCH) {
      throw new Error(
        `conv2d: a filter of ${s.kernel} x ${s.inChannels} channels is larger than the scratch memory`,
      );
    }
    const blocksDown = ceil(s.outHeight, blockHeight), blocksAcross = ceil(s.outWidth, blockWidth);
    const blocks = s.batch * blocksDown * blocksAcross;
    const panels = ceil(s.outChannels, PANEL);
    // few blocks: cut the channels too, so that every thread has several tiles
    const panelBlocks = Math.max(1, Math.min(panels, ceil(8 * this.machine.threads, blocks)));
    const blockPanels = ceil(panels, panelBlocks);
    const direct = s.padTop === 0 && s.padLeft === 0 && s.upsample === 1 &&
      span(s.outHeight, s.kernel[0]) <= s.height && span(s.outWidth, s.kernel[1]) <= s.width;
    const args = convArguments(x, weights, out, s, {
      bias,
      residual,
      ...place,
      blockHeight,
      blockWidth,
      blocksDown,
      blocksAcross,
      blockPanels,
      panelBlocks: ceil(panels, blockPanels),
      direct: direct ? 1 : 0,
    });
    this.machine.launch("conv", blocks * ceil(panels, blockPanels), args);
  }

  weightGrad(x: number, g: number, out: number, spec: ConvSpec): void {
    if (!this.exact && takesWeightGrad(spec)) return this.#winograd.weightGrad(x, g, out, spec);
    const [kh, kw] = spec.kernel;
    let blockWidth = Math.min(DEPTH, spec.outWidth);
    const bytes = () => ((blockWidth - 1) * spec.stride + kw) * spec.inChannels * 4;
    while (bytes() > SCRATCH_BYTES - WEIGHT_SCRATCH - 64 && blockWidth > 1) {
      blockWidth = ceil(blockWidth, 2);
    }
    const rowBlocks = ceil(kw * spec.inChannels, TILE_ROWS);
    const panelBlocks = ceil(spec.outChannels, TILE_CHANNELS);
    const blockHeight = Math.max(1, Math.min(spec.outHeight, Math.floor(DEPTH / blockWidth)));
    const blocksDown = ceil(spec.outHeight, blockHeight);
    // few tiles: split the pixels too. By shapes alone, so that the order of additions is the same on any machine.
    const tiles = kh * rowBlocks * panelBlocks;
    const splits = Math.max(1, Math.min(ceil(WEIGHT_TILES, tiles), spec.batch * blocksDown));
    const more = { blockWidth, blockHeight, blocksDown, rowBlocks, panelBlocks, splits };
    const launch = (to: number) =>
      this.machine.launch("convWeightGrad", tiles * splits, convArguments(x, g, to, spec, more));
    if (splits === 1) return launch(out);
    const size = spec.outChannels * spec.inChannels * kh * kw;
    this.machine.with(splits * size * 4, (partial) => {
      launch(partial);
      sumColumns(this.machine, partial, out, splits, size);
    });
  }
}

/** Of the taps k of a side of `size`, those that reach input place `at` mod stride: how many, the last, the padding. */
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

/** The address of a view's first element. */
function address(view: View): number {
  return at(view.buffer) + view.offset * 4;
}
