// The CPU backend: lays out the arguments of each kernel, cuts the work into tiles and runs them on all threads.
import {
  type AdamSpec,
  type Backend,
  type BinaryOp,
  type Buffer,
  checkIndices,
  type ConvSpec,
  type DType,
  type NormSpec,
  type PoolSpec,
  type Shape,
  type TypedArray,
  type UnaryOp,
  type Values,
  type View,
  type Walk,
} from "../backend.ts";
import { Convolutions } from "./launch/convolution.ts";
import { CHUNK, MAX_RANK } from "./kernels/elementwise.ts";
import { at, ceil, Machine, WasmBuffer } from "./machine.ts";
import { PANEL } from "./kernels/micro_kernel.ts";
import { NORM } from "./kernels/norm.ts";
import { reduceRows, sumColumns } from "./launch/reduction.ts";
import { CODE_ROWS, LPIPS_PIXELS, POOL_CHANNELS } from "./kernels/vision.ts";
import { WIDE } from "./wide.ts";

/** Channels times pixels of a normalisation tile. */
const NORM_CHUNK = 32768;

export class WasmBackend implements Backend {
  readonly name = "cpu";
  readonly hasF16 = false;
  readonly #machine = new Machine();
  readonly #convolutions = new Convolutions(this.#machine);
  /** Those that are alive. */
  readonly #buffers = new Set<WasmBuffer>();

  get description(): string {
    return `CPU, ${this.threads} ${this.threads === 1 ? "thread" : "threads"}`;
  }

  /** How many threads compute. */
  get threads(): number {
    return this.#machine.threads;
  }

  /** Whether multiply and add are fused (relaxed SIMD). */
  get relaxedSimd(): boolean {
    return this.#machine.relaxedSimd;
  }

  /** Whether vectors have 256 bits (wide.ts). */
  readonly wide = WIDE;

  get exact(): boolean {
    return this.#convolutions.exact;
  }
  set exact(on: boolean) {
    this.#convolutions.exact = on;
  }

  alloc(bytes: number): Buffer {
    const { allocator } = this.#machine;
    // no kernel runs now, so that buffers are all there is in memory, and nobody holds an address
    allocator.makeRoom(bytes, this.#buffers, (to, from, size) => {
      this.#machine.look("i32", to, (from - to + size) / 4).copyWithin(0, (from - to) / 4);
    });
    const buffer = new WasmBuffer(allocator.alloc(bytes), bytes);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: Buffer): void {
    this.#machine.allocator.free(at(buffer), buffer.bytes);
    this.#buffers.delete(buffer as WasmBuffer);
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#machine.allocator.reserved };
  }

  /** What was asked is done. */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    const dtype = values instanceof Int32Array ? "i32" : "f32";
    this.#machine.look(dtype, at(buffer) + offset * 4, values.length).set(values);
  }

  read(buffer: Buffer, dtype: DType, offset: number, length: number): Promise<Values> {
    // slice() of a view on shared memory is a copy in memory of its own
    return Promise.resolve(this.#machine.look(dtype, at(buffer) + offset * 4, length).slice());
  }

  fill(out: Buffer, length: number, value: number): void {
    this.#machine.look("f32", at(out), length).fill(value);
  }

  unary(op: UnaryOp, x: Buffer, out: Buffer, length: number, p0 = 0, p1 = 0): void {
    this.#machine.launch(`unary.${op}`, ceil(length, CHUNK), [at(x), at(out), length, p0, p1], [3, 4]);
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
    this.#machine.launch(
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
    this.#machine.launch("copy", ceil(rows, rowsPerTile), [
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
    reduceRows(this.#machine, op, at(x), at(out), rows, columns);
  }

  sumColumns(x: Buffer, out: Buffer, rows: number, columns: number): void {
    sumColumns(this.#machine, at(x), at(out), rows, columns);
  }

  /** All tensors share one memory: a row that the table has not would be read from another, or added to it. */
  #checkIndices(indices: Buffer, count: number, rows: number): void {
    checkIndices(this.#machine.look("i32", at(indices), count), rows);
  }

  gather(indices: Buffer, table: Buffer, out: Buffer, count: number, columns: number): void {
    this.#checkIndices(indices, count, table.bytes / 4 / columns);
    this.#machine.launch("gather", count, [at(indices), at(table), at(out), count, columns]);
  }

  scatterAdd(indices: Buffer, rows: Buffer, table: Buffer, count: number, columns: number): void {
    this.#checkIndices(indices, count, table.bytes / 4 / columns);
    this.#machine.launch("scatterAdd", 1, [at(indices), at(rows), at(table), count, columns]);
  }

  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void {
    this.#convolutions.matmul(a, b, out, m, k, n, transposeB);
  }

  conv2d(
    x: Buffer,
    w: Buffer,
    bias: Buffer | null,
    residual: Buffer | null,
    out: Buffer,
    spec: ConvSpec,
  ): void {
    const optional = (buffer: Buffer | null) => (buffer ? at(buffer) : 0);
    this.#convolutions.forward(at(x), at(w), optional(bias), optional(residual), at(out), spec);
  }

  conv2dInputGrad(g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void {
    this.#convolutions.inputGrad(at(g), at(w), at(out), spec);
  }

  conv2dWeightGrad(x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
    this.#convolutions.weightGrad(at(x), at(g), at(out), spec);
  }

  softmax(x: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    this.#machine.launch("softmax", rows, [at(x), at(out), columns, scale], [3]);
  }

  softmaxGrad(y: Buffer, g: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    this.#machine.launch("softmaxGrad", rows, [at(y), at(out), columns, scale, at(g)], [3]);
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
    this.#convolutions.packed(at(codebook), 1, 1, channels, codes, [channels * 4, 4, 0, 0], (packed) => {
      this.#machine.with(panels * PANEL * 4, (norms) => {
        const args = [at(z), packed, norms, at(out), count, channels, codes];
        this.#machine.launch("codeNorms", panels, args);
        this.#machine.launch("nearestCode", ceil(count, CODE_ROWS), args);
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
    this.#machine.with(spec.batch * chunks * 2 * stride * 4, (partial) => {
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
        this.#machine.launch(kernel, spec.batch * (finish ? spec.groups : chunks), args, [NORM.eps]);
      }
    });
  }

  groupNorm(x: Buffer, weight: Buffer, bias: Buffer, out: Buffer, stats: Buffer, spec: NormSpec): void {
    const values = { x: at(x), weight: at(weight), bias: at(bias), out: at(out), stats: at(stats) };
    this.#norm(spec, values, ["norm.chunk", "norm.finish", "norm.apply"]);
  }

  groupNormStats(x: Buffer, stats: Buffer, spec: NormSpec): void {
    this.#norm(spec, { x: at(x), stats: at(stats) }, ["norm.chunk", "norm.finish"]);
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
    this.#machine.with(spec.batch * 2 * (stride + spec.groups) * 4 + 2 * stride * 4, (sums) => {
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
      sumColumns(this.#machine, sums, totals, spec.batch, 2 * stride);
      const float = (from: number, to: Buffer) =>
        this.#machine.look("f32", at(to), spec.channels).set(this.#machine.look("f32", from, spec.channels));
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
    this.#machine.launch(kernel, s.batch * blocks, [x, out, g, ...sizes, blocks]);
  }

  lpipsDistance(a: Buffer, b: Buffer, weight: Buffer, out: Buffer, pixels: number, channels: number): void {
    this.#machine.launch("lpips", ceil(pixels, LPIPS_PIXELS), [
      at(a),
      at(b),
      at(weight),
      at(out),
      pixels,
      channels,
    ]);
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
    this.#machine.launch("lpipsGrad", ceil(pixels, LPIPS_PIXELS), args);
  }

  adamStep(param: Buffer, grad: Buffer, expAvg: Buffer, expAvgSq: Buffer, length: number, s: AdamSpec): void {
    const rate = s.lr / (1 - s.beta1 ** s.step);
    const correction = 1 / Math.sqrt(1 - s.beta2 ** s.step);
    const scalars = [1 - s.beta1, s.beta2, 1 - s.beta2, rate, correction, s.eps];
    this.#machine.launch(
      "adam",
      ceil(length, CHUNK),
      [at(param), at(grad), at(expAvg), at(expAvgSq), length, ...scalars],
      [5, 6, 7, 8, 9, 10],
    );
  }
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
