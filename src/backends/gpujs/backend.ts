// The reference backend: every operation by its definition, one plain function for one output element (kernels/). It is
// slow, and meant to be read, and to be what the others are compared with.
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
import { Compiler } from "./compile.ts";
import { adamFirst, adamParam, adamSecond } from "./kernels/adam.ts";
import { conv2d, conv2dInputGrad, conv2dWeightGrad, type ConvSizes } from "./kernels/conv.ts";
import { binary, binaryOps, sigmoid, swishDerivative, unary, unaryOps } from "./kernels/elementwise.ts";
import { matmul } from "./kernels/linalg.ts";
import {
  normApply,
  normBeforeSwish,
  normGroupMeans,
  normInputGrad,
  type NormSizes,
  normStats,
  normWeightGrad,
} from "./kernels/norm.ts";
import {
  dotRow,
  gather,
  maxRow,
  softmax,
  softmaxGrad,
  softmaxSum,
  sumColumn,
  sumRow,
} from "./kernels/reduce.ts";
import { lpipsDistance, lpipsDistanceGrad, maxPool2d, maxPool2dGrad, nearestCode } from "./kernels/vision.ts";
import { floats, GpuJsBuffer, ints } from "./memory.ts";

export class GpuJsBackend implements Backend {
  readonly name = "gpujs";
  readonly description = "gpu.js on the CPU, the reference";
  readonly hasF16 = false;
  readonly #compiler = new Compiler();
  #reservedBytes = 0;

  // Memory

  alloc(bytes: number): Buffer {
    const buffer = new GpuJsBuffer(bytes);
    this.#reservedBytes += bytes;
    return buffer;
  }

  /** The garbage collector does the rest. */
  free(buffer: Buffer): void {
    this.#reservedBytes -= buffer.bytes;
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#reservedBytes };
  }

  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    (values instanceof Int32Array ? ints(buffer) : floats(buffer)).set(values, offset);
  }

  read(buffer: Buffer, dtype: DType, offset: number, length: number): Promise<Values> {
    const all = dtype === "i32" ? ints(buffer) : floats(buffer);
    return Promise.resolve(all.slice(offset, offset + length) as Values);
  }

  fill(out: Buffer, length: number, value: number): void {
    floats(out).fill(value, 0, length);
  }

  // Elementwise and movement

  unary(op: UnaryOp, x: Buffer, out: Buffer, length: number, p0 = 0, p1 = 0): void {
    this.#compiler.run(unary, floats(out), [length], {}, [floats(x), p0, p1], { op: unaryOps[op], sigmoid });
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
    const walks = {
      inner,
      aOuter: aWalk.outer,
      aInner: aWalk.inner,
      bOuter: bWalk.outer,
      bInner: bWalk.inner,
    };
    const functions = { op: binaryOps[op], swishDerivative, sigmoid };
    this.#compiler.run(binary, floats(out), [outer * inner], walks, [floats(a), floats(b), p0], functions);
  }

  /** A loop: a kernel cannot choose where it writes, and integers must keep bits that no float has. */
  copy(x: View, out: View, shape: Shape): void {
    const from = ints(x.buffer), to = ints(out.buffer);
    const walk = (axis: number, at: number, place: number) => {
      if (axis === shape.length) {
        to[place] = from[at];
        return;
      }
      for (let i = 0; i < shape[axis]; i++) {
        walk(axis + 1, at + i * x.strides[axis], place + i * out.strides[axis]);
      }
    };
    walk(0, x.offset, out.offset);
  }

  reduceRows(op: "sum" | "max", x: Buffer, out: Buffer, rows: number, columns: number): void {
    this.#compiler.run(op === "sum" ? sumRow : maxRow, floats(out), [rows], { columns }, [floats(x)]);
  }

  sumColumns(x: Buffer, out: Buffer, rows: number, columns: number): void {
    this.#compiler.run(sumColumn, floats(out), [columns], { rows, columns }, [floats(x)]);
  }

  gather(indices: Buffer, table: Buffer, out: Buffer, count: number, columns: number): void {
    checkIndices(ints(indices).subarray(0, count), table.bytes / 4 / columns);
    this.#compiler.run(gather, floats(out), [columns, count], { columns }, [ints(indices), floats(table)]);
  }

  /** table[indices[i], c] += rows[i, c]. A loop: a kernel cannot choose where it writes. */
  scatterAdd(indices: Buffer, rows: Buffer, table: Buffer, count: number, columns: number): void {
    const to = floats(table), from = floats(rows), index = ints(indices);
    checkIndices(index.subarray(0, count), table.bytes / 4 / columns);
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < columns; c++) to[index[i] * columns + c] += from[i * columns + c];
    }
  }

  // Linear algebra

  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void {
    const [aRow, aColumn] = a.strides.slice(-2);
    const [bFirst, bSecond] = b.strides.slice(-2);
    const [bRow, bColumn] = transposeB ? [bSecond, bFirst] : [bFirst, bSecond];
    const to = floats(out.buffer).subarray(out.offset, out.offset + m * n);
    const args: [Float32Array, number, Float32Array, number] = [
      floats(a.buffer),
      a.offset,
      floats(b.buffer),
      b.offset,
    ];
    this.#compiler.run(matmul, to, [n, m], { k, aRow, aColumn, bRow, bColumn }, args);
  }

  conv2d(
    x: Buffer,
    w: Buffer,
    bias: Buffer | null,
    residual: Buffer | null,
    out: Buffer,
    spec: ConvSpec,
  ): void {
    const { batch, outHeight, outWidth, outChannels } = spec;
    const shifts = bias ? floats(bias) : new Float32Array(outChannels);
    const extent = [outChannels, outWidth, batch * outHeight];
    this.#compiler.run(conv2d, floats(out), extent, sizesOf(spec), [floats(x), floats(w), shifts]);
    if (!residual) return;
    const line: Walk = { outer: 0, inner: 1 };
    this.binary("add", out, line, residual, line, out, 1, batch * outHeight * outWidth * outChannels);
  }

  conv2dInputGrad(g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void {
    const extent = [spec.inChannels, spec.width, spec.batch * spec.height];
    this.#compiler.run(conv2dInputGrad, floats(out), extent, sizesOf(spec), [floats(g), floats(w)]);
  }

  conv2dWeightGrad(x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
    const [height, width] = spec.kernel;
    const extent = [width, height, spec.outChannels * spec.inChannels];
    this.#compiler.run(conv2dWeightGrad, floats(out), extent, sizesOf(spec), [floats(x), floats(g)]);
  }

  softmax(x: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    const from = floats(x), maxima = new Float32Array(rows), sums = new Float32Array(rows);
    this.#compiler.run(maxRow, maxima, [rows], { columns }, [from]);
    this.#compiler.run(softmaxSum, sums, [rows], { columns }, [from, maxima, scale]);
    this.#compiler.run(softmax, floats(out), [columns, rows], { columns }, [from, maxima, sums, scale]);
  }

  softmaxGrad(y: Buffer, g: Buffer, out: Buffer, rows: number, columns: number, scale: number): void {
    const [ys, gs] = [y, g].map(floats), dots = new Float32Array(rows);
    this.#compiler.run(dotRow, dots, [rows], { columns }, [gs, ys]);
    this.#compiler.run(softmaxGrad, floats(out), [columns, rows], { columns }, [ys, gs, dots, scale]);
  }

  nearestCode(
    z: Buffer,
    codebook: Buffer,
    out: Buffer,
    count: number,
    codes: number,
    channels: number,
  ): void {
    // answers are f32, which is exact up to 2^24 codes
    this.#compiler.run(nearestCode, ints(out), [count], { codes, channels }, [floats(z), floats(codebook)]);
  }

  // Normalisation, pooling, distance

  groupNorm(x: Buffer, weight: Buffer, bias: Buffer, out: Buffer, stats: Buffer, spec: NormSpec): void {
    this.groupNormStats(x, stats, spec);
    this.groupNormApply(x, weight, bias, stats, out, spec);
  }

  groupNormStats(x: Buffer, stats: Buffer, spec: NormSpec): void {
    const sizes = { ...spec, swish: Number(spec.swish) };
    this.#compiler.run(normStats, floats(stats), [2, spec.groups, spec.batch], sizes, [floats(x)]);
  }

  groupNormApply(x: Buffer, weight: Buffer, bias: Buffer, stats: Buffer, out: Buffer, spec: NormSpec): void {
    const sizes = { ...spec, swish: Number(spec.swish) };
    const extent = [spec.channels, spec.pixels, spec.batch];
    const args: Parameters<typeof normApply> = [floats(x), floats(weight), floats(bias), floats(stats)];
    this.#compiler.run(normApply, floats(out), extent, sizes, args, { sigmoid });
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
    const { batch, pixels, channels, groups } = spec;
    const sizes: NormSizes = { ...spec, swish: Number(spec.swish) };
    const extent = [channels, pixels, batch];
    const [xs, weights, saved] = [floats(x), floats(weight), floats(stats)];
    const dt = new Float32Array(batch * pixels * channels), means = new Float32Array(batch * groups * 2);
    this.#compiler.run(normBeforeSwish, dt, extent, sizes, [xs, weights, floats(bias), saved, floats(g)], {
      swishDerivative,
      sigmoid,
    });
    this.#compiler.run(normWeightGrad, floats(out.weight), [channels], sizes, [xs, saved, dt]);
    this.#compiler.run(sumColumn, floats(out.bias), [channels], { rows: batch * pixels, columns: channels }, [
      dt,
    ]);
    this.#compiler.run(normGroupMeans, means, [2, groups, batch], sizes, [xs, weights, saved, dt]);
    this.#compiler.run(normInputGrad, floats(out.x), extent, sizes, [xs, weights, saved, dt, means]);
  }

  maxPool2d(x: Buffer, out: Buffer, spec: PoolSpec): void {
    const extent = [spec.channels, spec.outWidth, spec.batch * spec.outHeight];
    this.#compiler.run(maxPool2d, floats(out), extent, spec, [floats(x)]);
  }

  maxPool2dGrad(x: Buffer, g: Buffer, out: Buffer, spec: PoolSpec): void {
    const extent = [spec.channels, spec.width, spec.batch * spec.height];
    this.#compiler.run(maxPool2dGrad, floats(out), extent, spec, [floats(x), floats(g)]);
  }

  lpipsDistance(a: Buffer, b: Buffer, weight: Buffer, out: Buffer, pixels: number, channels: number): void {
    const args: Parameters<typeof lpipsDistance> = [floats(a), floats(b), floats(weight)];
    this.#compiler.run(lpipsDistance, floats(out), [pixels], { channels }, args);
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
    const args: Parameters<typeof lpipsDistanceGrad> = [floats(a), floats(b), floats(weight), floats(g)];
    this.#compiler.run(lpipsDistanceGrad, floats(out), [channels, pixels], { channels }, args);
  }

  // Training

  adamStep(param: Buffer, grad: Buffer, expAvg: Buffer, expAvgSq: Buffer, length: number, s: AdamSpec): void {
    const [p, g, m, v] = [param, grad, expAvg, expAvgSq].map(floats);
    const rate = s.lr / (1 - s.beta1 ** s.step), correction = 1 / Math.sqrt(1 - s.beta2 ** s.step);
    this.#compiler.run(adamFirst, m, [length], {}, [m, g, s.beta1]);
    this.#compiler.run(adamSecond, v, [length], {}, [v, g, s.beta2]);
    this.#compiler.run(adamParam, p, [length], {}, [p, m, v, rate, correction, s.eps]);
  }
}

function sizesOf({ kernel: [kernelHeight, kernelWidth], ...rest }: ConvSpec): ConvSizes {
  return { ...rest, kernelHeight, kernelWidth };
}
