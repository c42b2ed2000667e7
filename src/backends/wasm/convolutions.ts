// Matrix products and convolutions: which blocks a launch is cut into, and the packing of weights around it.
import type { ConvSpec, View } from "../backend.ts";
import { CONV, CONV_SCRATCH, TABLE_PIXELS } from "./conv.ts";
import { at, ceil, type Machine, SCRATCH_BYTES, type Work } from "./machine.ts";
import { PANEL, PIXELS } from "./micro.ts";
import { sumColumns } from "./sums.ts";
import { DEPTH, TILE_CHANNELS, TILE_ROWS, WEIGHT_SCRATCH } from "./weightgrad.ts";
import { filterBytes, OUT, patchBytes, winogradScratch } from "./winograd.ts";
import { winogradGradScratch, winogradSums } from "./winograd_grad.ts";

/** Input bytes a convolution tile copies to scratch: with the weights' panel it stays in the second-level cache. */
const INPUT_BLOCK = 400 * 1024;
/** Tiles of a weight gradient at least, for the threads to share. */
const WEIGHT_TILES = 32;

/** Patches of a Winograd tile at most, and the scratch they may fill: beyond it the second-level cache overflows. */
const WINOGRAD_PATCHES = 96;
const WINOGRAD_SCRATCH = 1000 * 1024;
/** The same for the weight gradient: enough patches to make loading and storing the sums cheap. */
const WINOGRAD_GRAD_PATCHES = 32;
/** Bytes of the weight gradient's sums, of which every part of the patches has its own. */
const WINOGRAD_SUMS = 96 * 2 ** 20;

/** Convolutions on a machine; buffers are addresses, and 0 stands for none. */
export class Convolutions {
  /** Leaves Winograd's way alone: every product is one that the definition has. */
  exact = Boolean(Number(globalThis.process?.env.TESSERA_EXACT ?? 0));

  constructor(readonly machine: Machine) {}

  /** Whether Winograd's way is open for a convolution. Beyond a thousand channels a tile would not fit its scratch. */
  #isWinograd({ kernel: [height, width], stride, inChannels }: ConvSpec): boolean {
    return !this.exact && height === 3 && width === 3 && stride === 1 && inChannels % 4 === 0 &&
      winogradScratch(PIXELS, inChannels) <= WINOGRAD_SCRATCH;
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
    const strides = [spec.inChannels * kh * kw * 4, kh * kw * 4, kw * 4, 4];
    if (this.#isWinograd(spec) && spec.outChannels >= PANEL) {
      return this.#winograd(w, strides, x, bias, residual, out, spec);
    }
    this.packed(w, kh, kw, spec.inChannels, spec.outChannels, strides, (weights) => {
      this.#conv(weights, x, bias, residual, out, spec);
    });
  }

  /** `strides` are those of outputs, inputs, rows and columns of the filters at `w`, in bytes. */
  #winograd(
    w: number,
    strides: readonly number[],
    x: number,
    bias: number,
    residual: number,
    out: number,
    s: ConvSpec,
    dilate = 1,
  ): void {
    const { machine } = this;
    const panels = ceil(s.outChannels, PANEL);
    machine.with(panels * filterBytes(s.inChannels), (weights) => {
      machine.launch("winogradWeights", panels, [w, weights, 3, 3, s.inChannels, s.outChannels, ...strides]);
      const args = this.#convArguments(x, weights, out, s, dilate);
      const blocksDown = ceil(s.outHeight, OUT), blocksAcross = ceil(s.outWidth, OUT);
      const patches = s.batch * blocksDown * blocksAcross;
      let blockWidth = Math.min(WINOGRAD_PATCHES, ceil(patches, PIXELS) * PIXELS);
      while (winogradScratch(blockWidth, s.inChannels) > WINOGRAD_SCRATCH && blockWidth > PIXELS) {
        blockWidth -= PIXELS;
      }
      const blocks = ceil(patches, blockWidth);
      const panelBlocks = Math.max(1, Math.min(panels, ceil(4 * machine.threads, blocks)));
      const blockPanels = ceil(panels, panelBlocks);
      const set = (name: keyof typeof CONV, value: number) => args[CONV[name]] = value;
      set("bias", bias);
      set("residual", residual);
      set("blockWidth", blockWidth);
      set("blocksDown", blocksDown);
      set("blocksAcross", blocksAcross);
      set("blockPanels", blockPanels);
      set("panelBlocks", ceil(panels, blockPanels));
      machine.launch("winograd", blocks * ceil(panels, blockPanels), args, [], () => workOf(s));
    });
  }

  /** The input gradient is a convolution of the output gradient with the filters turned round. */
  inputGrad(g: number, w: number, out: number, spec: ConvSpec): void {
    const [kh, kw] = spec.kernel;
    const taps = kh * kw * 4;
    const last = w + taps - 4;
    const up = spec.upsample;
    const full: ConvSpec = {
      batch: spec.batch,
      height: spec.outHeight,
      width: spec.outWidth,
      inChannels: spec.outChannels,
      outHeight: spec.height * up,
      outWidth: spec.width * up,
      outChannels: spec.inChannels,
      kernel: spec.kernel,
      stride: 1,
      padTop: kh - 1 - spec.padTop,
      padLeft: kw - 1 - spec.padLeft,
      upsample: 1,
    };
    const strides = [taps, spec.inChannels * taps, -kw * 4, -4];
    const run = (to: number) => {
      if (this.#isWinograd(full) && full.outChannels >= PANEL) {
        return this.#winograd(last, strides, g, 0, 0, to, full, spec.stride);
      }
      this.packed(last, kh, kw, spec.outChannels, spec.inChannels, strides, (weights) => {
        this.#conv(weights, g, 0, 0, to, full, spec.stride);
      });
    };
    if (up === 1) return run(out);
    const size = full.batch * full.outHeight * full.outWidth * full.outChannels * 4;
    this.machine.with(size, (large) => {
      run(large);
      this.machine.launch("sumQuads", spec.batch * spec.height, [large, out, spec.width, spec.inChannels]);
    });
  }

  #convArguments(x: number, weights: number, out: number, s: ConvSpec, dilate = 1): Int32Array {
    const args = new Int32Array(29);
    const values: Partial<Record<keyof typeof CONV, number>> = {
      x,
      weights,
      out,
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
      dilate,
      batch: s.batch,
    };
    for (const [name, value] of Object.entries(values)) args[CONV[name as keyof typeof CONV]] = value;
    return args;
  }

  #conv(
    weights: number,
    x: number,
    bias: number,
    residual: number,
    out: number,
    s: ConvSpec,
    dilate = 1,
  ): void {
    const args = this.#convArguments(x, weights, out, s, dilate);
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
    const direct = s.padTop === 0 && s.padLeft === 0 && s.upsample === 1 && dilate === 1 &&
      span(s.outHeight, s.kernel[0]) <= s.height && span(s.outWidth, s.kernel[1]) <= s.width;
    const set = (name: keyof typeof CONV, value: number) => args[CONV[name]] = value;
    set("bias", bias);
    set("residual", residual);
    set("blockHeight", blockHeight);
    set("blockWidth", blockWidth);
    set("blocksDown", blocksDown);
    set("blocksAcross", blocksAcross);
    set("blockPanels", blockPanels);
    set("panelBlocks", ceil(panels, blockPanels));
    set("direct", direct ? 1 : 0);
    this.machine.launch("conv", blocks * ceil(panels, blockPanels), args, [], () => workOf(s));
  }

  weightGrad(x: number, g: number, out: number, spec: ConvSpec): void {
    if (this.#isWinograd(spec)) return this.#winogradGrad(x, g, out, spec);
    const args = this.#convArguments(x, g, out, spec);
    const [kh, kw] = spec.kernel;
    let blockWidth = Math.min(DEPTH, spec.outWidth);
    const bytes = () => ((blockWidth - 1) * spec.stride + kw) * spec.inChannels * 4;
    while (bytes() > SCRATCH_BYTES - WEIGHT_SCRATCH - 64 && blockWidth > 1) {
      blockWidth = ceil(blockWidth, 2);
    }
    const rowBlocks = ceil(kw * spec.inChannels, TILE_ROWS);
    const panelBlocks = ceil(spec.outChannels, TILE_CHANNELS);
    const set = (name: keyof typeof CONV, value: number) => args[CONV[name]] = value;
    const blockHeight = Math.max(1, Math.min(spec.outHeight, Math.floor(DEPTH / blockWidth)));
    const blocksDown = ceil(spec.outHeight, blockHeight);
    // few tiles: split the pixels too. By shapes alone, so that the order of additions is the same on any machine.
    const tiles = kh * rowBlocks * panelBlocks;
    const splits = Math.max(1, Math.min(ceil(WEIGHT_TILES, tiles), spec.batch * blocksDown));
    set("blockWidth", blockWidth);
    set("blockHeight", blockHeight);
    set("blocksDown", blocksDown);
    set("rowBlocks", rowBlocks);
    set("panelBlocks", panelBlocks);
    set("splits", splits);
    const work = () => workOf(spec);
    if (splits === 1) return this.machine.launch("convWeightGrad", tiles, args, [], work);
    const size = spec.outChannels * spec.inChannels * kh * kw;
    this.machine.with(splits * size * 4, (partial) => {
      set("out", partial);
      this.machine.launch("convWeightGrad", tiles * splits, args, [], work);
      sumColumns(this.machine, partial, out, splits, size);
    });
  }

  #winogradGrad(x: number, g: number, out: number, s: ConvSpec): void {
    const args = this.#convArguments(x, g, out, s);
    const blocksDown = ceil(s.outHeight, OUT), blocksAcross = ceil(s.outWidth, OUT);
    const patches = s.batch * blocksDown * blocksAcross;
    let blockWidth = Math.min(WINOGRAD_GRAD_PATCHES, patches);
    while (winogradGradScratch(blockWidth, s.inChannels) > SCRATCH_BYTES && blockWidth > 4) blockWidth -= 4;
    const panelBlocks = ceil(s.outChannels, TILE_CHANNELS);
    const bytes = panelBlocks * winogradSums(s.inChannels);
    // by shapes alone, so that the order of additions is the same on any machine; a part worth its sums has four blocks
    const splits = Math.max(
      1,
      Math.min(ceil(patches, 4 * blockWidth), ceil(16, panelBlocks), Math.floor(WINOGRAD_SUMS / bytes)),
    );
    const set = (name: keyof typeof CONV, value: number) => args[CONV[name]] = value;
    set("blockWidth", blockWidth);
    set("blocksDown", blocksDown);
    set("blocksAcross", blocksAcross);
    set("panelBlocks", panelBlocks);
    set("splits", splits);
    set("patchArea", patchBytes(Math.max(s.inChannels, TILE_CHANNELS)));
    this.machine.with(splits * bytes, (sums) => {
      set("out", sums);
      this.machine.launch("winogradGrad", splits * panelBlocks, args, [], () => workOf(s));
      set("x", sums);
      set("out", out);
      this.machine.launch("winogradFilters", ceil(s.inChannels, PIXELS) * panelBlocks, args);
    });
  }
}

/** Of a convolution or its gradients; a strided one's input gradient counts the zeros it multiplies. */
function workOf(s: ConvSpec): Work {
  const [height, width] = s.kernel;
  const outputs = s.batch * s.outHeight * s.outWidth * s.outChannels;
  const inputs = s.batch * s.height * s.width * s.inChannels;
  const filters = height * width * s.inChannels * s.outChannels;
  const batch = s.batch === 1 ? "" : `${s.batch} x `;
  return {
    what: `${height}x${width} ${s.inChannels}->${s.outChannels} to ${batch}${s.outHeight}x${s.outWidth}`,
    flop: 2 * height * width * s.inChannels * outputs,
    bytes: 4 * (inputs + outputs + filters),
  };
}

/** The address of a view's first element. */
function address(view: View): number {
  return at(view.buffer) + view.offset * 4;
}
