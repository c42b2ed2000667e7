// The reference backend. Every kernel is computed by its definition: a plain function (kernels/) computes one element of the
// output. This is slow, but easy to read, and the other backends are compared with it.
import type { Backend } from "../backend.ts";
import { checkAccess, checkCall } from "../bounds.ts";
import { type Buffer, type DType, retire, type Slot, type TypedArray, type Values } from "../buffer.ts";
import { type Calls, type ConvSpec, type KernelName, type KernelTable, type NormSpec } from "../kernels.ts";
import { Compiler } from "./compile.ts";
import { adamFirst, adamParam, adamSecond } from "./kernels/adam.ts";
import { gather, nearestCode } from "./kernels/codebook.ts";
import {
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  groupedConv2d,
  groupedConv2dInputGrad,
  groupedConv2dWeightGrad,
} from "./kernels/conv.ts";
import { binary, binaryOps, sigmoid, swishDerivative, unary, unaryOps } from "./kernels/elementwise.ts";
import { lpipsDistance, lpipsDistanceGrad } from "./kernels/lpips.ts";
import { matmul } from "./kernels/matmul.ts";
import {
  normApply,
  normBeforeSwish,
  normGroupMeans,
  normInputGrad,
  type NormSizes,
  normStats,
  normWeightGrad,
} from "./kernels/norm.ts";
import { avgPool2d, avgPool2dGrad, covered, maxPool2d, maxPool2dGrad } from "./kernels/pool.ts";
import {
  argmaxRow,
  dotRow,
  maxRow,
  softmax,
  softmaxGrad,
  softmaxSum,
  sumColumn,
  sumRow,
} from "./kernels/reduce.ts";
import { floats, GpuJsBuffer, ints, whole } from "./memory.ts";

/** Runs each kernel by one or several functions of kernels/. */
const runs: KernelTable<Compiler> = {
  fill: (_, { out, value }) => void floats(out).fill(value),

  // Elementwise and movement

  unary: (compiler, { op, x, out, p0, p1 }) =>
    compiler.run(unary, floats(out), [out.length], {}, [floats(x), p0, p1], { op: unaryOps[op], sigmoid }),

  binary: (compiler, { op, a, aWalk, b, bWalk, out, outer, inner, p0 }) => {
    const walks = {
      inner,
      aOuter: aWalk.outer,
      aInner: aWalk.inner,
      bOuter: bWalk.outer,
      bInner: bWalk.inner,
    };
    const functions = { op: binaryOps[op], swishDerivative, sigmoid };
    compiler.run(binary, floats(out), [outer * inner], walks, [floats(a), floats(b), p0], functions);
  },

  /** A loop, because a gpu.js kernel cannot choose where it writes, and its floats would lose bits of integers. */
  copy: (_, { x, xStrides, out, outStrides, shape }) => {
    const from = ints(x), to = ints(out);
    const walk = (axis: number, at: number, place: number) => {
      if (axis === shape.length) {
        to[place] = from[at];
        return;
      }
      for (let i = 0; i < shape[axis]; i++) {
        walk(axis + 1, at + i * xStrides[axis], place + i * outStrides[axis]);
      }
    };
    walk(0, 0, 0);
  },

  sumRows: (compiler, { x, out, rows, columns }) =>
    compiler.run(sumRow, floats(out), [rows], { columns }, [floats(x)]),

  sumColumns: (compiler, { x, out, rows, columns }) =>
    compiler.run(sumColumn, floats(out), [columns], { rows, columns }, [floats(x)]),

  gather: (compiler, { indices, table, out, columns }) => {
    const extent = [columns, indices.length];
    compiler.run(gather, floats(out), extent, { columns }, [ints(indices), floats(table)]);
  },

  /** table[indices[i], c] += rows[i, c]. A loop, because a gpu.js kernel cannot choose where it writes. */
  scatterAdd: (_, { indices, rows, table, columns }) => {
    const to = floats(table), from = floats(rows), index = ints(indices);
    for (let i = 0; i < index.length; i++) {
      for (let c = 0; c < columns; c++) to[index[i] * columns + c] += from[i * columns + c];
    }
  },

  // Linear algebra

  matmul: (compiler, { a, b, out, m, k, n, transposeB }) => {
    const [bRow, bColumn] = transposeB ? [1, k] : [n, 1];
    compiler.run(matmul, floats(out), [n, m], { k, bRow, bColumn }, [floats(a), floats(b)]);
  },

  conv2d: (compiler, { x, weight, bias, residual, out, spec }) => {
    const { batch, outHeight, outWidth, outChannels } = spec;
    const shifts = bias ? floats(bias) : new Float32Array(outChannels);
    const extent = [outChannels, outWidth, batch * outHeight];
    compiler.run(conv2d, floats(out), extent, sizesOf(spec), [floats(x), floats(weight), shifts]);
    if (residual) addTo(compiler, out, residual);
  },

  conv2dInputGrad: (compiler, { g, weight, out, spec }) => {
    const extent = [spec.inChannels, spec.width, spec.batch * spec.height];
    compiler.run(conv2dInputGrad, floats(out), extent, sizesOf(spec), [floats(g), floats(weight)]);
  },

  conv2dWeightGrad: (compiler, { x, g, out, spec }) => {
    const [height, width] = spec.kernel;
    const extent = [width, height, spec.outChannels * spec.inChannels];
    compiler.run(conv2dWeightGrad, floats(out), extent, sizesOf(spec), [floats(x), floats(g)]);
  },

  groupedConv2d: (compiler, { x, weight, bias, residual, out, spec }) => {
    const { batch, outHeight, outWidth, outChannels } = spec;
    const shifts = bias ? floats(bias) : new Float32Array(outChannels);
    const extent = [outChannels, outWidth, batch * outHeight];
    compiler.run(groupedConv2d, floats(out), extent, sizesOf(spec), [floats(x), floats(weight), shifts]);
    if (residual) addTo(compiler, out, residual);
  },

  groupedConv2dInputGrad: (compiler, { g, weight, out, spec }) => {
    const extent = [spec.inChannels, spec.width, spec.batch * spec.height];
    compiler.run(groupedConv2dInputGrad, floats(out), extent, sizesOf(spec), [floats(g), floats(weight)]);
  },

  groupedConv2dWeightGrad: (compiler, { x, g, out, spec }) => {
    const [height, width] = spec.kernel;
    const extent = [width, height, spec.outChannels * spec.inChannels / spec.groups];
    compiler.run(groupedConv2dWeightGrad, floats(out), extent, sizesOf(spec), [floats(x), floats(g)]);
  },

  softmax: (compiler, { x, out, rows, columns, scale }) => {
    const from = floats(x), maxima = new Float32Array(rows), sums = new Float32Array(rows);
    compiler.run(maxRow, maxima, [rows], { columns }, [from]);
    compiler.run(softmaxSum, sums, [rows], { columns }, [from, maxima, scale]);
    compiler.run(softmax, floats(out), [columns, rows], { columns }, [from, maxima, sums, scale]);
  },

  softmaxGrad: (compiler, { y, g, out, rows, columns, scale }) => {
    const [ys, gs] = [y, g].map(floats), dots = new Float32Array(rows);
    compiler.run(dotRow, dots, [rows], { columns }, [gs, ys]);
    compiler.run(softmaxGrad, floats(out), [columns, rows], { columns }, [ys, gs, dots, scale]);
  },

  argmax: (compiler, { x, out, rows, columns }) =>
    compiler.run(argmaxRow, ints(out), [rows], { columns }, [floats(x)]),

  /** The kernel returns the index as an f32, which is exact for up to 2^24 codes. */
  nearestCode: (compiler, { z, codebook, out, count, codes, channels }) =>
    compiler.run(nearestCode, ints(out), [count], { codes, channels }, [floats(z), floats(codebook)]),

  // Normalisation, pooling, distance

  groupNorm: (compiler, call) => {
    runs.groupNormStats(compiler, call);
    runs.groupNormApply(compiler, call);
  },

  groupNormStats: (compiler, { x, stats, spec }) => {
    const extent = [2, spec.groups, spec.batch];
    compiler.run(normStats, floats(stats), extent, normSizes(spec), [floats(x)]);
  },

  groupNormApply: (compiler, { x, weight, bias, stats, out, spec }) => {
    const extent = [spec.channels, spec.pixels, spec.batch];
    const args: Parameters<typeof normApply> = [floats(x), floats(weight), floats(bias), floats(stats)];
    compiler.run(normApply, floats(out), extent, normSizes(spec), args, { sigmoid });
  },

  groupNormGrad: (compiler, { x, weight, bias, stats, g, xGrad, weightGrad, biasGrad, spec }) => {
    const { batch, pixels, channels, groups } = spec;
    const sizes = normSizes(spec), extent = [channels, pixels, batch];
    const [xs, weights, saved] = [floats(x), floats(weight), floats(stats)];
    const dt = new Float32Array(batch * pixels * channels), means = new Float32Array(batch * groups * 2);
    compiler.run(normBeforeSwish, dt, extent, sizes, [xs, weights, floats(bias), saved, floats(g)], {
      swishDerivative,
      sigmoid,
    });
    compiler.run(normWeightGrad, floats(weightGrad), [channels], sizes, [xs, saved, dt]);
    const columns = { rows: batch * pixels, columns: channels };
    compiler.run(sumColumn, floats(biasGrad), [channels], columns, [dt]);
    compiler.run(normGroupMeans, means, [2, groups, batch], sizes, [xs, weights, saved, dt]);
    compiler.run(normInputGrad, floats(xGrad), extent, sizes, [xs, weights, saved, dt, means]);
  },

  maxPool2d: (compiler, { x, out, spec }) => {
    const extent = [spec.channels, spec.outWidth, spec.batch * spec.outHeight];
    compiler.run(maxPool2d, floats(out), extent, spec, [floats(x)]);
  },

  maxPool2dGrad: (compiler, { x, g, out, spec }) => {
    const extent = [spec.channels, spec.width, spec.batch * spec.height];
    compiler.run(maxPool2dGrad, floats(out), extent, spec, [floats(x), floats(g)]);
  },

  avgPool2d: (compiler, { x, out, spec }) => {
    const extent = [spec.channels, spec.outWidth, spec.batch * spec.outHeight];
    compiler.run(avgPool2d, floats(out), extent, spec, [floats(x)], { covered });
  },

  avgPool2dGrad: (compiler, { g, out, spec }) => {
    const extent = [spec.channels, spec.width, spec.batch * spec.height];
    compiler.run(avgPool2dGrad, floats(out), extent, spec, [floats(g)], { covered });
  },

  lpipsDistance: (compiler, { a, b, weight, out, pixels, channels }) => {
    const args: Parameters<typeof lpipsDistance> = [floats(a), floats(b), floats(weight)];
    compiler.run(lpipsDistance, floats(out), [pixels], { channels }, args);
  },

  lpipsDistanceGrad: (compiler, { a, b, weight, g, out, pixels, channels }) => {
    const args: Parameters<typeof lpipsDistanceGrad> = [floats(a), floats(b), floats(weight), floats(g)];
    compiler.run(lpipsDistanceGrad, floats(out), [channels, pixels], { channels }, args);
  },

  // Training

  adam: (compiler, { param, grad, expAvg, expAvgSq, spec: { lr, beta1, beta2, eps, step, decay = 1 } }) => {
    const [p, g, m, v] = [param, grad, expAvg, expAvgSq].map(floats), extent = [param.length];
    const rate = lr / (1 - beta1 ** step), correction = 1 / Math.sqrt(1 - beta2 ** step);
    compiler.run(adamFirst, m, extent, {}, [m, g, beta1]);
    compiler.run(adamSecond, v, extent, {}, [v, g, beta2]);
    compiler.run(adamParam, p, extent, {}, [p, m, v, rate, correction, eps, decay]);
  },
};

/** out += more */
function addTo(compiler: Compiler, out: Slot, more: Slot): void {
  const line = { outer: 0, inner: 1 } as const;
  const sum = { op: "add", a: out, aWalk: line, b: more, bWalk: line, out } as const;
  runs.binary(compiler, { ...sum, outer: 1, inner: out.length, p0: 0 });
}

const sizesOf = <Spec extends Pick<ConvSpec, "kernel">>(
  { kernel: [kernelHeight, kernelWidth], ...rest }: Spec,
) => ({
  ...rest,
  kernelHeight,
  kernelWidth,
});

const normSizes = (spec: NormSpec): NormSizes => ({ ...spec, swish: Number(spec.swish) });

export class GpuJsBackend implements Backend {
  readonly name = "gpujs";
  readonly description = "gpu.js on the CPU, the reference";
  readonly hasF16 = false;
  readonly #compiler: Compiler;

  private constructor(compiler: Compiler) {
    this.#compiler = compiler;
  }

  /** @throws if the package gpu.js is not installed */
  static async open(): Promise<GpuJsBackend> {
    return new GpuJsBackend(await Compiler.open());
  }
  #reservedBytes = 0;

  alloc(bytes: number): Buffer {
    const buffer = new GpuJsBuffer(bytes);
    this.#reservedBytes += bytes;
    return buffer;
  }

  /** The garbage collector frees the memory. */
  free(buffer: Buffer): void {
    retire(buffer);
    this.#reservedBytes -= buffer.bytes;
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    checkAccess("write", buffer, offset, values.length);
    const { ints, floats } = whole(buffer);
    (values instanceof Int32Array ? ints : floats).set(values, offset);
  }

  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values> {
    return Promise.resolve(this.peek(buffer, dtype, offset, length));
  }

  peek(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Values {
    checkAccess("read", buffer, offset, length);
    const { ints, floats } = whole(buffer);
    return (dtype === "i32" ? ints : floats).slice(offset, offset + length) as Values;
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#reservedBytes };
  }

  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  run<K extends KernelName>(name: K, call: Calls[K]): void {
    checkCall(this, name, call);
    runs[name](this.#compiler, call);
  }
}
