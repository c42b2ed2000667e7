// Random calls of every kernel, for the fuzz of bounds (bounds.ts): sizes around the widths of vectors, panels, tiles and
// blocks, with padding, strides, broadcasting and empty operands.
import type { Slot } from "../../src/backends/buffer.ts";
import { type KernelFacts, kernels, type OperandName } from "../../src/backends/facts.ts";
import type { BinaryOp, Calls, ConvSpec, KernelName, UnaryOp } from "../../src/backends/kernels.ts";

/** A call without its operands, the lengths of those that decide others, and the rows that indices may name. */
interface Sizes<Call> {
  readonly call: Omit<Call, OperandName<Call>>;
  readonly lengths?: { readonly [N in OperandName<Call>]?: number };
  readonly rows?: number;
}

/** A call of which only the operands are missing. */
export interface Plan {
  readonly name: KernelName;
  /** The elements of each operand. Those without an entry are optional, and null. */
  readonly lengths: ReadonlyMap<string, number>;
  /** The operands whose length decides how much is computed, so that they may be shorter. */
  readonly free: ReadonlySet<string>;
  /** The operand of indices, and the number of rows that they choose from. */
  readonly indices: { readonly operand: string; readonly rows: number } | null;
  /** The call with these operands. */
  readonly call: (operands: ReadonlyMap<string, Slot>) => Calls[KernelName];
}

type Draw = () => number;
const below = (next: Draw, n: number): number => Math.floor(next() * n);
const pick = <T>(next: Draw, list: readonly T[]): T => list[below(next, list.length)];
const often = (next: Draw, part: number): boolean => next() < part;

/** A size from 1 to `most`: often small, or a multiple of a vector or a panel and its neighbours. Rarely 0. */
function size(next: Draw, most: number): number {
  if (often(next, 0.03)) return 0;
  const n = often(next, 0.5)
    ? 1 + below(next, Math.min(most, 9))
    : pick(next, [4, 6, 8, 16, 32, 48, 64, 128, 256]) * (1 + below(next, 3)) + below(next, 3) - 1;
  return n <= most ? Math.max(1, n) : 1 + below(next, most);
}
const count = (next: Draw, most: number): number => Math.max(1, size(next, most));

const unaryOps: readonly UnaryOp[] = [
  ...["abs", "sign", "exp", "log", "sqrt", "square", "relu", "leakyRelu"] as const,
  ...["sigmoid", "swish", "tanh", "softplus", "clamp", "affine"] as const,
];
const binaryOps: readonly BinaryOp[] = [
  ...["add", "sub", "mul", "div", "maximum", "minimum", "greater", "equal"] as const,
  ...["swishGrad", "reluGrad", "leakyReluGrad", "lerp"] as const,
];

/** The geometry of a convolution whose work is bounded. Its padding may be larger than filter and picture. */
function geometry(next: Draw, channels: () => readonly [number, number]): ConvSpec {
  for (;;) {
    const side = often(next, 0.2) ? 44 : 14, square = often(next, 0.7);
    const kh = often(next, 0.6) ? 3 + below(next, 2) : count(next, 6), kw = square ? kh : count(next, 6);
    const [inChannels, outChannels] = channels();
    const pad = () => often(next, 0.1) ? below(next, 30) : below(next, 4);
    const [padTop, padLeft] = [pad(), pad()];
    const upsample: 1 | 2 = often(next, 0.2) ? 2 : 1, stride = often(next, 0.6) ? 1 : 1 + below(next, 3);
    const spec = {
      ...{ batch: size(next, 3), height: size(next, side), width: size(next, side) },
      ...{ inChannels, outChannels, stride, padTop, padLeft, upsample },
    };
    const out = (n: number, pad: number, k: number) => {
      const n2 = Math.floor((n * upsample + pad + (often(next, 0.5) ? pad : below(next, 4)) - k) / stride) +
        1;
      return often(next, 0.1) ? size(next, 20) : n2; // the contract allows any size
    };
    const outHeight = out(spec.height, padTop, kh), outWidth = out(spec.width, padLeft, kw);
    const work = Math.max(spec.batch * outHeight * outWidth, spec.height * spec.width) * inChannels *
      outChannels;
    if (outHeight >= 0 && outWidth >= 0 && work * kh * kw <= 6e6) {
      return { ...spec, kernel: [kh, kw], outHeight, outWidth };
    }
  }
}

/** The enlarged picture's own size, which has a way of its own, comes up often enough. */
function conv(next: Draw): { spec: ConvSpec } {
  const spec = geometry(next, () => [size(next, 200), size(next, 200)]);
  if (!often(next, 0.15)) return { spec };
  const { height, width } = spec, padTop = 1, padLeft = 1, stride = 1, upsample = 2;
  const sides = { outHeight: 2 * height, outWidth: 2 * width };
  return { spec: { ...spec, ...sides, kernel: [3, 3], padTop, padLeft, stride, upsample } };
}

function grouped(next: Draw): { spec: Calls["groupedConv2d"]["spec"] } {
  const groups = count(next, 40);
  const { upsample: _, ...spec } = geometry(next, () => [
    groups * (often(next, 0.5) ? 1 : size(next, 12)),
    groups * (often(next, 0.5) ? 1 : size(next, 12)),
  ]);
  return { spec: { ...spec, groups } };
}

function norm(next: Draw): { spec: Calls["groupNorm"]["spec"] } {
  const groups = count(next, 40), channels = groups * count(next, 20);
  const pixels = count(next, Math.ceil(60_000 / channels));
  return { spec: { batch: size(next, 3), pixels, channels, groups, eps: 1e-6, swish: often(next, 0.5) } };
}

function pool(next: Draw): { spec: Calls["avgPool2d"]["spec"] } {
  const [size0, stride] = [count(next, 5), count(next, 4)], padding = below(next, 3);
  const [height, width] = [size(next, 20), size(next, 20)];
  const out = (n: number) => Math.max(0, Math.floor((n + 2 * padding - size0) / stride) + 1 + below(next, 2));
  const counted = often(next, 0.5) ? padding : 0;
  const sides = { height, width, outHeight: out(height), outWidth: out(width), size: size0, stride };
  return { spec: { batch: size(next, 3), channels: size(next, 70), ...sides, padding, counted } };
}

function maxPool(next: Draw): { spec: Calls["maxPool2d"]["spec"] } {
  const { padding: _, counted: __, ...spec } = pool(next).spec;
  return { spec };
}

const grid = (next: Draw) => {
  const columns = often(next, 0.1) ? 8000 + below(next, 20_000) : size(next, 900);
  return { rows: size(next, Math.ceil(60_000 / Math.max(1, columns))), columns };
};
const filledRows = (next: Draw) => {
  const { rows, columns } = grid(next);
  return { rows, columns: Math.max(1, columns) };
};
const features = (next: Draw) => ({ pixels: size(next, 300), channels: size(next, 200) });
const line = (next: Draw) => often(next, 0.3) ? 16_384 * below(next, 3) + below(next, 9) : size(next, 900);

function lookup(next: Draw) {
  const columns = size(next, 70), rows = count(next, 60), indices = size(next, 100);
  const table = rows * columns + below(next, Math.min(3, columns)); // not always whole rows
  return { call: { columns }, lengths: { table, indices }, rows };
}

const generators: { readonly [K in KernelName]: (next: Draw) => Sizes<Calls[K]> } = {
  fill: (next) => ({ call: { value: 2 }, lengths: { out: line(next) } }),
  unary: (next) => ({
    call: { op: pick(next, unaryOps), p0: 0.25, p1: 0.75 },
    lengths: { out: line(next) },
  }),
  binary: (next) => {
    const inner = often(next, 0.2) ? 16_384 + below(next, 20) : size(next, 300);
    const outer = size(next, Math.ceil(50_000 / Math.max(1, inner)));
    const full = { outer: inner, inner: 1 } as const;
    const other = pick(
      next,
      [full, { outer: 0, inner: 1 }, { outer: 1, inner: 0 }, { outer: 0, inner: 0 }] as const,
    );
    const gaps = { outer: inner + below(next, 9), inner: 1 } as const;
    const [aWalk, bWalk] = often(next, 0.5) ? [full, other] : [other, gaps];
    const walks = aWalk.inner + bWalk.inner > 0 ? { aWalk, bWalk } : { aWalk: full, bWalk };
    return { call: { op: pick(next, binaryOps), ...walks, outer, inner, p0: 0.1 } };
  },
  copy: (next) => {
    const shape = Array.from({ length: 1 + below(next, 5) }, () => size(next, 9));
    const strides = () => {
      const rest = shape.map((_, i) => i), out = new Array<number>(shape.length);
      const order = shape.map(() => rest.splice(below(next, rest.length), 1)[0]);
      let step = 1 + below(next, 2);
      for (const i of order) {
        out[i] = step;
        step = step * Math.max(1, shape[i]) + below(next, 2);
      }
      return out;
    };
    const repeated = strides().map((s) => often(next, 0.2) ? 0 : s);
    return { call: { shape, xStrides: repeated, outStrides: strides() } };
  },
  sumRows: (next) => ({ call: filledRows(next) }),
  sumColumns: (next) => {
    const { rows, columns } = grid(next), [n, m] = often(next, 0.5) ? [rows, columns] : [columns, rows];
    return { call: { rows: Math.max(1, n), columns: m } };
  },
  gather: lookup,
  scatterAdd: lookup,
  matmul: (next) => ({
    call: { m: size(next, 70), k: size(next, 150), n: size(next, 150), transposeB: often(next, 0.5) },
  }),
  conv2d: (next) => ({ call: conv(next) }),
  conv2dInputGrad: (next) => ({ call: conv(next) }),
  conv2dWeightGrad: (next) => ({ call: conv(next) }),
  groupedConv2d: (next) => ({ call: grouped(next) }),
  groupedConv2dInputGrad: (next) => ({ call: grouped(next) }),
  groupedConv2dWeightGrad: (next) => ({ call: grouped(next) }),
  argmax: (next) => ({ call: filledRows(next) }),
  softmax: (next) => ({ call: { ...grid(next), scale: 0.5 } }),
  softmaxGrad: (next) => ({ call: { ...grid(next), scale: 0.5 } }),
  nearestCode: (next) => ({
    call: { count: size(next, 120), codes: count(next, 100), channels: size(next, 70) },
  }),
  groupNorm: (next) => ({ call: norm(next) }),
  groupNormStats: (next) => ({ call: norm(next) }),
  groupNormApply: (next) => ({ call: norm(next) }),
  groupNormGrad: (next) => ({ call: norm(next) }),
  maxPool2d: (next) => ({ call: maxPool(next) }),
  maxPool2dGrad: (next) => ({ call: maxPool(next) }),
  avgPool2d: (next) => ({ call: pool(next) }),
  avgPool2dGrad: (next) => ({ call: pool(next) }),
  lpipsDistance: (next) => ({ call: features(next) }),
  lpipsDistanceGrad: (next) => ({ call: features(next) }),
  adam: (next) => ({
    call: { spec: { lr: 0.1, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: 2 } },
    lengths: { param: line(next) },
  }),
};

/** A random call of a kernel. Operands have exactly the elements that the contract says the kernel touches. */
export function randomCall<K extends KernelName>(name: K, next: Draw): Plan {
  type Name = OperandName<Calls[K]>;
  const { operands, indices }: KernelFacts<Calls[K]> = kernels[name];
  const { call, lengths: given, rows = 0 }: Sizes<Calls[K]> = generators[name](next);
  const names = Object.keys(operands) as Name[];
  const complete = (operand: (name: Name) => Slot | null) =>
    ({ ...call, ...Object.fromEntries(names.map((n) => [n, operand(n)])) }) as unknown as Calls[K];
  const known = complete((n) => ({ buffer: { bytes: 0 }, offset: 0, length: given?.[n] ?? 0, itemBytes: 4 }));
  const lengths = new Map<string, number>();
  for (const operand of names) {
    if (operands[operand].isOptional && often(next, 0.5)) continue;
    lengths.set(String(operand), given?.[operand] ?? operands[operand].extent(known));
  }
  return {
    name,
    lengths,
    free: new Set(Object.keys(given ?? {})),
    indices: indices ? { operand: String(indices.operand), rows } : null,
    call: (own) => complete((n) => own.get(String(n)) ?? null),
  };
}
