// The GPU backend: hands every operation to its kernels. Nothing waits here but `read`; the rest is recorded (gpu.ts).
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
  Values,
  View,
  Walk,
} from "../backend.ts";
import { findAdapter } from "./adapter.ts";
import { conv2d, conv2dInputGrad } from "./conv.ts";
import { adam, binary, copy, fill, gather, scatterAdd, unary } from "./elementwise.ts";
import { Gpu } from "./gpu.ts";
import { matmul } from "./matmul.ts";
import { nearestCode } from "./nearest.ts";
import { groupNorm, groupNormApply, groupNormGrad, groupNormStats } from "./norm.ts";
import { reduceRows, softmax, softmaxGrad, sumColumns } from "./reduce.ts";
import { lpipsDistance, lpipsDistanceGrad, maxPool2d, maxPool2dGrad } from "./vision.ts";
import { conv2dWeightGrad } from "./weight_gradient.ts";

export class WebGpuBackend implements Backend {
  readonly gpu: Gpu;

  readonly name = "webgpu";

  private constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** @throws NoAdapterError if there is no GPU to compute on (adapter.ts). */
  static async open(): Promise<WebGpuBackend> {
    return new WebGpuBackend(await Gpu.open(findAdapter));
  }

  get description(): string {
    const { name, source, isSoftware } = this.gpu.report;
    const warning = isSoftware ? "; it computes on the CPU, slower than the device cpu" : "";
    return `${name}, by ${source}${warning}`;
  }

  get exact(): boolean {
    return this.gpu.exact;
  }
  set exact(on: boolean) {
    this.gpu.exact = on;
  }

  get hasF16(): boolean {
    return this.gpu.hasF16;
  }

  alloc(bytes: number, dtype?: DType): Buffer {
    return this.gpu.alloc(bytes, dtype);
  }

  free(buffer: Buffer): void {
    this.gpu.free(buffer);
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.gpu.reserved };
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    this.gpu.write(buffer, values, offset);
  }

  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values> {
    return this.gpu.read(buffer, dtype, offset, length);
  }

  pause(): Promise<void> {
    return this.gpu.pause();
  }

  fill(out: Buffer, length: number, value: number): void {
    fill(this.gpu, out, length, value);
  }

  unary(op: UnaryOp, x: Buffer, out: Buffer, length: number, p0 = 0, p1 = 0): void {
    unary(this.gpu, op, x, out, length, p0, p1);
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
    binary(this.gpu, op, [a, aWalk], [b, bWalk], out, outer, inner, p0);
  }

  copy(x: View, out: View, shape: Shape): void {
    copy(this.gpu, x, out, shape);
  }

  reduceRows(op: "sum" | "max", x: Buffer, out: Buffer, rows: number, columns: number): void {
    reduceRows(this.gpu, op, x, out, rows, columns);
  }

  sumColumns(x: Buffer, out: Buffer, rows: number, columns: number): void {
    sumColumns(this.gpu, x, out, rows, columns);
  }

  gather(indices: Buffer, table: Buffer, out: Buffer, count: number, columns: number): void {
    gather(this.gpu, indices, table, out, count, columns);
  }

  scatterAdd(indices: Buffer, rows: Buffer, table: Buffer, count: number, columns: number): void {
    scatterAdd(this.gpu, indices, rows, table, count, columns);
  }

  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void {
    matmul(this.gpu, a, b, out, m, k, n, transposeB);
  }

  conv2d(
    x: Buffer,
    w: Buffer,
    bias: Buffer | null,
    residual: Buffer | null,
    out: Buffer,
    spec: ConvSpec,
  ): void {
    conv2d(this.gpu, x, w, bias, residual, out, spec);
  }

  conv2dInputGrad(g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void {
    conv2dInputGrad(this.gpu, g, w, out, spec);
  }

  conv2dWeightGrad(x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
    conv2dWeightGrad(this.gpu, x, g, out, spec);
  }

  softmax(x: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    softmax(this.gpu, x, out, rows, columns, scale);
  }

  softmaxGrad(y: Buffer, g: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    softmaxGrad(this.gpu, y, g, out, rows, columns, scale);
  }

  nearestCode(
    z: Buffer,
    codebook: Buffer,
    out: Buffer,
    count: number,
    codes: number,
    channels: number,
  ): void {
    nearestCode(this.gpu, z, codebook, out, count, codes, channels);
  }

  groupNorm(x: Buffer, weight: Buffer, bias: Buffer, out: Buffer, stats: Buffer, spec: NormSpec): void {
    groupNorm(this.gpu, x, weight, bias, out, stats, spec);
  }

  groupNormStats(x: Buffer, stats: Buffer, spec: NormSpec): void {
    groupNormStats(this.gpu, x, stats, spec);
  }

  groupNormApply(x: Buffer, weight: Buffer, bias: Buffer, stats: Buffer, out: Buffer, spec: NormSpec): void {
    groupNormApply(this.gpu, x, weight, bias, stats, out, spec);
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
    groupNormGrad(this.gpu, x, weight, bias, stats, g, out, spec);
  }

  maxPool2d(x: Buffer, out: Buffer, spec: PoolSpec): void {
    maxPool2d(this.gpu, x, out, spec);
  }

  maxPool2dGrad(x: Buffer, g: Buffer, out: Buffer, spec: PoolSpec): void {
    maxPool2dGrad(this.gpu, x, g, out, spec);
  }

  lpipsDistance(a: Buffer, b: Buffer, weight: Buffer, out: Buffer, pixels: number, channels: number): void {
    lpipsDistance(this.gpu, a, b, weight, out, pixels, channels);
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
    lpipsDistanceGrad(this.gpu, a, b, weight, g, out, pixels, channels);
  }

  adamStep(
    param: Buffer,
    grad: Buffer,
    expAvg: Buffer,
    expAvgSq: Buffer,
    length: number,
    spec: AdamSpec,
  ): void {
    adam(this.gpu, param, grad, expAvg, expAvgSq, length, spec);
  }
}
