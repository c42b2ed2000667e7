// The CPU backend: lays out the arguments of each kernel, cuts the work into tiles and runs them on all threads.
import type {
  AdamSpec,
  Backend,
  BinaryOp,
  Buffer,
  ConvSpec,
  DType,
  NormSpec,
  PoolSpec,
  Shape,
  TypedArray,
  UnaryOp,
  View,
  Walk,
} from "../backend.ts";
import { Allocator } from "./allocator.ts";
import { CONV, CONV_SCRATCH, PANEL, TABLE_PIXELS } from "./conv.ts";
import { CHUNK, MAX_RANK } from "./elementwise.ts";
import { emitKernels, MAX_PAGES } from "./module.ts";
import { NORM } from "./norm.ts";
import { ARGUMENTS, CONTROL_BYTES, startWorkers, threadCount } from "./pool.ts";
import { COLUMN_ROWS, ROW_CHUNK } from "./reduce.ts";
import { CODE_ROWS, LPIPS_PIXELS, POOL_CHANNELS } from "./vision.ts";
import { DEPTH, TILE_CHANNELS, TILE_ROWS, WEIGHT_SCRATCH } from "./weightgrad.ts";

const PAGE = 65536;
const SCRATCH_BYTES = 2 * 2 ** 20;
/** Input bytes a convolution tile copies to scratch: with the weights' panel it stays in the second-level cache. */
const INPUT_BLOCK = 400 * 1024;
/** Tiles of a weight gradient at least, for the threads to share. */
const WEIGHT_TILES = 32;
/** Channels times pixels of a normalisation tile. */
const NORM_CHUNK = 32768;

class WasmBuffer implements Buffer {
  constructor(readonly at: number, readonly bytes: number) {}
}

/** DEBUG=2 prints every kernel with its time. */
const debug = Number(globalThis.process?.env.DEBUG) >= 2;

type Run = (kernel: number, tiles: number, scratch: number) => void;

const ceil = (n: number, by: number): number => Math.ceil(n / by);

export class WasmBackend implements Backend {
  readonly name = "cpu";
  readonly threads: number;
  /** Whether multiply and add are fused (relaxed SIMD). */
  readonly relaxedSimd: boolean;
  readonly #memory: WebAssembly.Memory;
  readonly #allocator: Allocator;
  readonly #index: Map<string, number>;
  readonly #run: Run;
  readonly #alone: Run[];
  readonly #scratch: number;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;

  constructor() {
    this.threads = threadCount();
    const scratchEnd = CONTROL_BYTES + this.threads * SCRATCH_BYTES;
    this.#memory = new WebAssembly.Memory({
      initial: ceil(scratchEnd, PAGE) + 1,
      maximum: MAX_PAGES,
      shared: true,
    });
    // One page beyond the last block stays unused: vector loads may run over a buffer's end.
    this.#allocator = new Allocator(scratchEnd, (bytes) => this.#grow(bytes + PAGE));
    const { bytes, index, relaxed } = emitKernels();
    this.relaxedSimd = relaxed;
    this.#index = index;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: this.#memory },
    });
    this.#run = instance.exports.run as Run;
    this.#alone = [...index.keys()].map((name) => instance.exports[name] as Run);
    this.#scratch = CONTROL_BYTES;
    this.#ints = new Int32Array(this.#memory.buffer, ARGUMENTS, 64);
    this.#floats = new Float32Array(this.#memory.buffer, ARGUMENTS, 64);
    const others = Array.from(
      { length: this.threads - 1 },
      (_, i) => CONTROL_BYTES + (i + 1) * SCRATCH_BYTES,
    );
    startWorkers(bytes, this.#memory, others);
  }

  #grow(bytes: number): boolean {
    const have = this.#memory.buffer.byteLength;
    if (bytes <= have) return true;
    if (bytes > MAX_PAGES * PAGE) return false;
    // by at least 1/8, so that growing stays rare
    const want = Math.min(MAX_PAGES, ceil(Math.max(bytes, have * 1.125), PAGE));
    try {
      this.#memory.grow(want - have / PAGE);
      return true;
    } catch {
      return false;
    }
  }

  alloc(bytes: number): Buffer {
    return new WasmBuffer(this.#allocator.alloc(bytes), bytes);
  }

  free(buffer: Buffer): void {
    this.#allocator.free(at(buffer), buffer.bytes);
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#allocator.reserved };
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    const dtype = values instanceof Int32Array ? "i32" : "f32";
    this.#look(dtype, at(buffer) + offset * 4, values.length).set(values);
  }

  read(buffer: Buffer, dtype: DType, offset: number, length: number): Promise<TypedArray> {
    // slice() of a view on shared memory is a copy in memory of its own
    return Promise.resolve(this.#look(dtype, at(buffer) + offset * 4, length).slice());
  }

  /** A window on the memory; its buffer is another object after every growth. */
  #look(dtype: DType, address: number, length: number): TypedArray {
    const { buffer } = this.#memory;
    return dtype === "i32"
      ? new Int32Array(buffer, address, length)
      : new Float32Array(buffer, address, length);
  }

  /** Runs `body` with a temporary buffer. */
  #with<T>(bytes: number, body: (address: number) => T): T {
    const address = this.#allocator.alloc(bytes);
    try {
      return body(address);
    } finally {
      this.#allocator.free(address, bytes);
    }
  }

  /** Runs a kernel on its tiles; arguments are words, except those whose place is in `floats`. */
  #launch(kernel: string, tiles: number, args: ArrayLike<number>, floats: readonly number[] = []): void {
    if (tiles <= 0) return;
    const index = this.#index.get(kernel);
    if (index === undefined) throw new Error(`cpu: no kernel ${kernel}`);
    for (let i = 0; i < args.length; i++) this.#ints[i] = args[i];
    for (const i of floats) this.#floats[i] = args[i];
    const start = debug ? performance.now() : 0;
    if (tiles === 1) this.#alone[index](0, this.#scratch, 0);
    else this.#run(index, tiles, this.#scratch);
    if (debug) console.error(`cpu ${kernel} ${tiles} tiles ${(performance.now() - start).toFixed(3)} ms`);
  }

  fill(out: Buffer, length: number, value: number): void {
    this.#launch("fill", ceil(length, CHUNK), [at(out), length, value], [2]);
  }

  unary(op: UnaryOp, x: Buffer, out: Buffer, length: number, p0 = 0, p1 = 0): void {
    this.#launch(`unary.${op}`, ceil(length, CHUNK), [at(x), at(out), length, p0, p1], [3, 4]);
  }

  binary(
    op: BinaryOp,
    a: Buffer,
    aWalk: Walk,
    b: Buffer,
    bWalk: Walk,
    out: Buffer,
    outer: number,
    inner: number,
    p0 = 0,
  ): void {
    // with one element a row, stride 0 and 1 are the same
    const aInner = inner === 1 && bWalk.inner === 0 ? 1 : aWalk.inner;
    const rows = Math.max(1, Math.floor(CHUNK / Math.max(1, inner)));
    const chunks = Math.max(1, ceil(inner, CHUNK));
    this.#launch(
      `binary.${op}.${aInner}${bWalk.inner}`,
      ceil(outer, rows) * chunks,
      [at(a), at(b), at(out), outer, inner, aWalk.outer, bWalk.outer, rows, chunks, p0],
      [9],
    );
  }

  copy(x: View, out: View, shape: Shape): void {
    const [sizes, from, to] = collapse(shape, x.strides, out.strides);
    if (sizes.length > MAX_RANK) {
      throw new Error(`copy: shape [${shape}] has more than ${MAX_RANK} dimensions`);
    }
    const rows = sizes.slice(0, -1).reduce((a, b) => a * b, 1);
    const columns = sizes.at(-1)!;
    if (rows * columns === 0) return;
    const rowsPerTile = Math.max(1, Math.floor(CHUNK / columns));
    const pad = (
      list: number[],
      value: number,
    ) => [...new Array<number>(MAX_RANK - list.length).fill(value), ...list];
    this.#launch("copy", ceil(rows, rowsPerTile), [
      at(x.buffer) + x.offset * 4,
      at(out.buffer) + out.offset * 4,
      rows,
      rowsPerTile,
      ...pad(sizes, 1),
      ...pad(from.map((s) => s * 4), 0),
      ...pad(to.map((s) => s * 4), 0),
    ]);
  }

  reduceRows(op: "sum" | "max", x: Buffer, out: Buffer, rows: number, columns: number): void {
    this.#reduceRows(op, at(x), at(out), rows, columns);
  }

  #reduceRows(op: "sum" | "max", x: number, out: number, rows: number, columns: number): void {
    const chunks = ceil(columns, ROW_CHUNK);
    const rowsPerTile = Math.max(1, Math.floor(CHUNK / Math.max(1, Math.min(columns, ROW_CHUNK))));
    const pass = (to: number) =>
      this.#launch(`rows.${op}`, ceil(rows * chunks, rowsPerTile), [
        x,
        to,
        rows,
        columns,
        chunks,
        rowsPerTile,
      ]);
    if (chunks === 1) return pass(out);
    this.#with(rows * chunks * 4, (partial) => {
      pass(partial);
      this.#reduceRows(op, partial, out, rows, chunks);
    });
  }

  sumColumns(x: Buffer, out: Buffer, rows: number, columns: number): void {
    this.#sumColumns(at(x), at(out), rows, columns);
  }

  #sumColumns(x: number, out: number, rows: number, columns: number): void {
    const blocks = ceil(rows, COLUMN_ROWS);
    const pass = (to: number) => this.#launch("columns.sum", blocks, [x, to, rows, columns]);
    if (blocks === 1) return pass(out);
    this.#with(blocks * columns * 4, (partial) => {
      pass(partial);
      this.#sumColumns(partial, out, blocks, columns);
    });
  }

  gather(indices: Buffer, table: Buffer, out: Buffer, count: number, columns: number): void {
    this.#launch("gather", count, [at(indices), at(table), at(out), count, columns]);
  }

  scatterAdd(indices: Buffer, rows: Buffer, table: Buffer, count: number, columns: number): void {
    this.#launch("scatterAdd", 1, [at(indices), at(rows), at(table), count, columns]);
  }

  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void {
    const [outStride, inStride] = transposeB ? [4 * k, 4] : [4, 4 * n];
    this.#packed(at(b.buffer) + b.offset * 4, 1, 1, k, n, [outStride, inStride, 0, 0], (weights) => {
      const at_ = (view: View) => at(view.buffer) + view.offset * 4;
      this.#conv(weights, at_(a), 0, 0, at_(out), {
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
  #packed(
    from: number,
    height: number,
    width: number,
    inputs: number,
    outputs: number,
    strides: readonly number[],
    body: (weights: number) => void,
  ): void {
    const panels = ceil(outputs, PANEL);
    this.#with(panels * PANEL * height * width * inputs * 4, (weights) => {
      this.#launch("pack", panels, [from, weights, height, width, inputs, outputs, ...strides]);
      body(weights);
    });
  }

  conv2d(
    x: Buffer,
    w: Buffer,
    bias: Buffer | null,
    residual: Buffer | null,
    out: Buffer,
    spec: ConvSpec,
  ): void {
    const [kh, kw] = spec.kernel;
    const strides = [spec.inChannels * kh * kw * 4, kh * kw * 4, kw * 4, 4];
    this.#packed(at(w), kh, kw, spec.inChannels, spec.outChannels, strides, (weights) => {
      this.#conv(weights, at(x), bias ? at(bias) : 0, residual ? at(residual) : 0, at(out), spec);
    });
  }

  /** The input gradient is a convolution of the output gradient with the filters turned round. */
  conv2dInputGrad(g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void {
    const [kh, kw] = spec.kernel;
    const taps = kh * kw * 4;
    const last = at(w) + taps - 4;
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
    this.#packed(last, kh, kw, spec.outChannels, spec.inChannels, strides, (weights) => {
      if (up === 1) return this.#conv(weights, at(g), 0, 0, at(out), full, spec.stride);
      const size = full.batch * full.outHeight * full.outWidth * full.outChannels * 4;
      this.#with(size, (large) => {
        this.#conv(weights, at(g), 0, 0, large, full, spec.stride);
        this.#launch("sumQuads", spec.batch * spec.height, [large, at(out), spec.width, spec.inChannels]);
      });
    });
  }

  #convArguments(x: number, weights: number, out: number, s: ConvSpec, dilate = 1): Int32Array {
    const args = new Int32Array(28);
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
    const panelBlocks = Math.max(1, Math.min(panels, ceil(8 * this.threads, blocks)));
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
    this.#launch("conv", blocks * ceil(panels, blockPanels), args);
  }

  conv2dWeightGrad(x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
    const args = this.#convArguments(at(x), at(g), at(out), spec);
    const [kh, kw] = spec.kernel;
    let blockWidth = Math.min(DEPTH, spec.outWidth);
    const bytes = () => ((blockWidth - 1) * spec.stride + kw) * spec.inChannels * 4;
    while (bytes() > SCRATCH_BYTES - WEIGHT_SCRATCH - PAGE && blockWidth > 1) {
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
    if (splits === 1) return this.#launch("convWeightGrad", tiles, args);
    const size = spec.outChannels * spec.inChannels * kh * kw;
    this.#with(splits * size * 4, (partial) => {
      set("out", partial);
      this.#launch("convWeightGrad", tiles * splits, args);
      this.#sumColumns(partial, at(out), splits, size);
    });
  }

  softmax(x: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    this.#launch("softmax", rows, [at(x), at(out), columns, scale], [3]);
  }

  softmaxGrad(y: Buffer, g: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    this.#launch("softmaxGrad", rows, [at(y), at(out), columns, scale, at(g)], [3]);
  }

  nearestCode(
    z: Buffer,
    codebook: Buffer,
    out: Buffer,
    count: number,
    codes: number,
    channels: number,
  ): void {
    const panels = ceil(codes, PANEL);
    this.#packed(at(codebook), 1, 1, channels, codes, [channels * 4, 4, 0, 0], (packed) => {
      this.#with(panels * PANEL * 4, (norms) => {
        const args = [at(z), packed, norms, at(out), count, channels, codes];
        this.#launch("codeNorms", panels, args);
        this.#launch("nearestCode", ceil(count, CODE_ROWS), args);
      });
    });
  }

  /** Arguments of the normalisation kernels; `partial` holds per-chunk, per-channel pairs. */
  #norm(
    spec: NormSpec,
    values: Partial<Record<keyof typeof NORM, number>>,
    kernels: readonly string[],
  ): void {
    const stride = ceil(spec.channels, 4) * 4;
    const chunkPixels = Math.min(spec.pixels, Math.max(16, Math.floor(NORM_CHUNK / spec.channels)));
    const chunks = ceil(spec.pixels, chunkPixels);
    this.#with(spec.batch * chunks * 2 * stride * 4, (partial) => {
      const args = new Float64Array(17);
      const all = {
        ...values,
        partial,
        pixels: spec.pixels,
        channels: spec.channels,
        groups: spec.groups,
        chunkPixels,
        chunks,
        stride,
        swish: spec.swish ? 1 : 0,
        eps: spec.eps,
      };
      for (const [name, value] of Object.entries(all)) args[NORM[name as keyof typeof NORM]] = value;
      for (const kernel of kernels) {
        const finish = kernel === "norm.finish" || kernel === "norm.gradFinish";
        this.#launch(kernel, spec.batch * (finish ? spec.groups : chunks), args, [NORM.eps]);
      }
    });
  }

  groupNorm(x: Buffer, weight: Buffer, bias: Buffer, out: Buffer, stats: Buffer, spec: NormSpec): void {
    const values = { x: at(x), weight: at(weight), bias: at(bias), out: at(out), stats: at(stats) };
    this.#norm(spec, values, ["norm.chunk", "norm.finish", "norm.apply"]);
  }

  groupNormApply(x: Buffer, weight: Buffer, bias: Buffer, stats: Buffer, out: Buffer, spec: NormSpec): void {
    const values = { x: at(x), weight: at(weight), bias: at(bias), out: at(out), stats: at(stats) };
    this.#norm(spec, values, ["norm.apply"]);
  }

  groupNormGrad(
    x: Buffer,
    weight: Buffer,
    bias: Buffer,
    stats: Buffer,
    g: Buffer,
    out: { x: Buffer; weight: Buffer; bias: Buffer },
    spec: NormSpec,
  ): void {
    const stride = ceil(spec.channels, 4) * 4;
    this.#with(spec.batch * 2 * (stride + spec.groups) * 4 + 2 * stride * 4, (sums) => {
      const means = sums + spec.batch * 2 * stride * 4;
      const totals = means + spec.batch * spec.groups * 2 * 4;
      const values = {
        x: at(x),
        weight: at(weight),
        bias: at(bias),
        out: at(out.x),
        stats: at(stats),
        g: at(g),
        sums,
        means,
      };
      this.#norm(spec, values, ["norm.gradChunk", "norm.gradFinish", "norm.gradInput"]);
      this.#sumColumns(sums, totals, spec.batch, 2 * stride);
      const float = (from: number, to: Buffer) =>
        this.#look("f32", at(to), spec.channels).set(this.#look("f32", from, spec.channels));
      float(totals, out.bias);
      float(totals + stride * 4, out.weight);
    });
  }

  maxPool2d(x: Buffer, out: Buffer, spec: PoolSpec): void {
    this.#pool("maxPool", at(x), at(out), 0, spec);
  }

  maxPool2dGrad(x: Buffer, g: Buffer, out: Buffer, spec: PoolSpec): void {
    this.fill(out, spec.batch * spec.height * spec.width * spec.channels, 0);
    this.#pool("maxPoolGrad", at(x), at(out), at(g), spec);
  }

  #pool(kernel: string, x: number, out: number, g: number, s: PoolSpec): void {
    const blocks = ceil(s.channels, POOL_CHANNELS);
    const sizes = [s.batch, s.height, s.width, s.channels, s.outHeight, s.outWidth, s.size, s.stride];
    this.#launch(kernel, s.batch * blocks, [x, out, g, ...sizes, blocks]);
  }

  lpipsDistance(a: Buffer, b: Buffer, weight: Buffer, out: Buffer, pixels: number, channels: number): void {
    this.#launch("lpips", ceil(pixels, LPIPS_PIXELS), [at(a), at(b), at(weight), at(out), pixels, channels]);
  }

  lpipsDistanceGrad(
    a: Buffer,
    b: Buffer,
    weight: Buffer,
    g: Buffer,
    out: Buffer,
    pixels: number,
    channels: number,
  ): void {
    const args = [at(a), at(b), at(weight), at(out), pixels, channels, at(g)];
    this.#launch("lpipsGrad", ceil(pixels, LPIPS_PIXELS), args);
  }

  adamStep(param: Buffer, grad: Buffer, expAvg: Buffer, expAvgSq: Buffer, length: number, s: AdamSpec): void {
    const rate = s.lr / (1 - s.beta1 ** s.step);
    const correction = 1 / Math.sqrt(1 - s.beta2 ** s.step);
    const scalars = [1 - s.beta1, s.beta2, 1 - s.beta2, rate, correction, s.eps];
    this.#launch(
      "adam",
      ceil(length, CHUNK),
      [at(param), at(grad), at(expAvg), at(expAvgSq), length, ...scalars],
      [5, 6, 7, 8, 9, 10],
    );
  }
}

/** The address of a buffer. */
function at(buffer: Buffer): number {
  if (buffer instanceof WasmBuffer) return buffer.at;
  throw new Error("cpu: the tensor lives on another device");
}

/** Joins neighbouring dimensions that lie evenly in both tensors, so that inner loops are long. */
function collapse(shape: Shape, a: readonly number[], b: readonly number[]): [number[], number[], number[]] {
  const sizes: number[] = [], from: number[] = [], to: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && from[last] === shape[i] * a[i] && to[last] === shape[i] * b[i]) {
      sizes[last] *= shape[i];
      from[last] = a[i];
      to[last] = b[i];
    } else {
      sizes.push(shape[i]);
      from.push(a[i]);
      to.push(b[i]);
    }
  }
  return sizes.length === 0 ? [[shape.includes(0) ? 0 : 1], [1], [1]] : [sizes, from, to];
}
