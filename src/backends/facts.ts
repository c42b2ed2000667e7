// What can be said of a kernel's calls without running them, as data: how far each operand is read or written, which sizes
// are allowed, and how much is computed. The check of bounds (bounds.ts), the memory estimate, the profiler and the benchmarks
// use only this.
import type { Shape, Slot } from "./buffer.ts";
import type {
  AvgPoolSpec,
  Calls,
  ConvSpec,
  GroupedConvSpec,
  KernelName,
  NormSpec,
  PoolSpec,
  Walk,
} from "./kernels.ts";

/** The names of a call's operands. */
export type OperandName<Call> = { [N in keyof Call]: Slot extends Call[N] ? N : never }[keyof Call];

/** How a kernel uses an operand. */
export interface Operand<Call> {
  readonly isRead: boolean;
  readonly isWritten: boolean;
  /** Whether it may be null. */
  readonly isOptional: boolean;
  /** How many elements, from the operand's first one on, the kernel may touch. */
  readonly extent: (call: Call) => number;
}

/** An operand of indices, and the number of rows of the table that they choose from. */
export interface Indices<Call> {
  readonly operand: OperandName<Call>;
  readonly rows: (call: Call) => number;
}

/** What can be said of a call. */
export interface KernelFacts<Call> {
  /** All operands; the compiler names one that is missing. First the one whose length decides how far others are touched. */
  readonly operands: { readonly [N in OperandName<Call>]: Operand<Call> };
  /** Whether all sizes and strides are whole numbers that fit each other. Extents are computed only if they are. */
  readonly hasSizes: (call: Call) => boolean;
  /** Operands whose values choose places in memory. */
  readonly indices?: Indices<Call>;
  /** The number of operations by the definition; a multiply-add counts as two. A rough count where there are no products. */
  readonly flops: (call: Call) => number;
}

type Extent<Call> = (call: Call) => number;
const reads = <Call>(extent: Extent<Call>): Operand<Call> => ({
  isRead: true,
  isWritten: false,
  isOptional: false,
  extent,
});
const writes = <Call>(extent: Extent<Call>): Operand<Call> => ({
  ...reads(extent),
  isRead: false,
  isWritten: true,
});
const updates = <Call>(extent: Extent<Call>): Operand<Call> => ({ ...reads(extent), isWritten: true });
const mayRead = <Call>(extent: Extent<Call>): Operand<Call> => ({ ...reads(extent), isOptional: true });

/** Whether it is a whole number from 0 to 2^32 - 1: no memory that kernels can address has more elements. */
export const isSize = (n: number): boolean => n >>> 0 === n;
/** The same without 0. */
const isCount = (n: number): boolean => isSize(n) && n > 0;
const always = (): boolean => true;

type Grid = { readonly rows: number; readonly columns: number };
const isGrid = ({ rows, columns }: Grid): boolean => isSize(rows) && isSize(columns);
const gridSize = ({ rows, columns }: Grid): number => rows * columns;

const isWalk = ({ outer, inner }: Walk): boolean => isSize(outer) && (inner === 0 || inner === 1);
const walkExtent = ({ outer, inner }: Walk, rows: number, columns: number): number =>
  rows === 0 || columns === 0 ? 0 : (rows - 1) * outer + (columns - 1) * inner + 1;

function isStrided(shape: Shape, strides: readonly number[]): boolean {
  if (strides.length !== shape.length) return false;
  for (let i = 0; i < shape.length; i++) if (!isSize(shape[i]) || !isSize(strides[i])) return false;
  return true;
}
function stridedExtent(shape: Shape, strides: readonly number[]): number {
  let extent = 1;
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 0) return 0;
    extent += (shape[i] - 1) * strides[i];
  }
  return extent;
}

/** Whether every place along a side, in the picture, its padding and all windows, fits into the 32 bits of kernels' numbers. */
const isSide = (length: number, windows: number, stride: number, size: number, padding: number): boolean =>
  2 * length + windows * stride + size + padding < 2 ** 31;

type Geometry = Omit<ConvSpec, "upsample">;
const isGeometry = (s: Geometry): boolean =>
  isSize(s.batch) && isSize(s.height) && isSize(s.width) && isSize(s.inChannels) && isSize(s.outHeight) &&
  isSize(s.outWidth) && isSize(s.outChannels) && isSize(s.kernel[0]) && isSize(s.kernel[1]) &&
  isCount(s.stride) && isSize(s.padTop) && isSize(s.padLeft) &&
  isSide(s.height, s.outHeight, s.stride, s.kernel[0], s.padTop) &&
  isSide(s.width, s.outWidth, s.stride, s.kernel[1], s.padLeft);
const imageSize = (s: Geometry): number => s.batch * s.height * s.width * s.inChannels;
const mapSize = (s: Geometry): number => s.batch * s.outHeight * s.outWidth * s.outChannels;
const filterSize = (s: Geometry): number => s.outChannels * s.inChannels * s.kernel[0] * s.kernel[1];
const convFlops = (s: Geometry): number =>
  2 * s.batch * s.outHeight * s.outWidth * s.outChannels * s.inChannels * s.kernel[0] * s.kernel[1];

const isConv = ({ spec }: { spec: ConvSpec }): boolean =>
  isGeometry(spec) && (spec.upsample === 1 || spec.upsample === 2);
const isGrouped = ({ spec }: { spec: GroupedConvSpec }): boolean =>
  isGeometry(spec) && isCount(spec.groups) && spec.inChannels % spec.groups === 0 &&
  spec.outChannels % spec.groups === 0;
const groupedFilterSize = (s: GroupedConvSpec): number => filterSize(s) / s.groups;
const groupedFlops = (s: GroupedConvSpec): number => convFlops(s) / s.groups;

const isNorm = ({ spec: s }: { spec: NormSpec }): boolean =>
  isSize(s.batch) && isCount(s.pixels) && isCount(s.channels) && isCount(s.groups) &&
  s.channels % s.groups === 0;
const normSize = (s: NormSpec): number => s.batch * s.pixels * s.channels;
const statsSize = (s: NormSpec): number => s.batch * s.groups * 2;

const hasWindows = (s: PoolSpec, padding: number): boolean =>
  isSize(s.batch) && isSize(s.height) && isSize(s.width) && isSize(s.channels) && isSize(s.outHeight) &&
  isSize(s.outWidth) && isCount(s.size) && isCount(s.stride) &&
  isSide(s.height, s.outHeight, s.stride, s.size, padding) &&
  isSide(s.width, s.outWidth, s.stride, s.size, padding);
const isPool = ({ spec }: { spec: PoolSpec }): boolean => hasWindows(spec, 0);
const isAvgPool = ({ spec }: { spec: AvgPoolSpec }): boolean =>
  hasWindows(spec, spec.padding) && isSize(spec.padding) && isSize(spec.counted);
const pictureSize = (s: PoolSpec): number => s.batch * s.height * s.width * s.channels;
const pooledSize = (s: PoolSpec): number => s.batch * s.outHeight * s.outWidth * s.channels;
const poolFlops = (s: PoolSpec): number => s.batch * s.outHeight * s.outWidth * s.channels * s.size * s.size;

type Features = { readonly pixels: number; readonly channels: number };
const isFeatures = ({ pixels, channels }: Features): boolean => isSize(pixels) && isSize(channels);
const featureSize = ({ pixels, channels }: Features): number => pixels * channels;

type Lookup = { readonly table: Slot; readonly columns: number };
/** Rows without columns take no memory, so there are as many as anyone wants. */
const tableRows = ({ table, columns }: Lookup): number =>
  columns === 0 ? Infinity : Math.floor(table.length / columns);

/** The facts of every kernel. */
export const kernels: { readonly [K in KernelName]: KernelFacts<Calls[K]> } = {
  fill: {
    operands: { out: writes((c) => c.out.length) },
    hasSizes: always,
    flops: () => 0,
  },
  unary: {
    operands: { out: writes((c) => c.out.length), x: reads((c) => c.out.length) },
    hasSizes: always,
    flops: (c) => c.out.length,
  },
  binary: {
    operands: {
      a: reads((c) => walkExtent(c.aWalk, c.outer, c.inner)),
      b: reads((c) => walkExtent(c.bWalk, c.outer, c.inner)),
      out: writes((c) => c.outer * c.inner),
    },
    hasSizes: (c) => isSize(c.outer) && isSize(c.inner) && isWalk(c.aWalk) && isWalk(c.bWalk),
    flops: (c) => c.out.length,
  },
  copy: {
    operands: {
      x: reads((c) => stridedExtent(c.shape, c.xStrides)),
      out: writes((c) => stridedExtent(c.shape, c.outStrides)),
    },
    hasSizes: (c) => isStrided(c.shape, c.xStrides) && isStrided(c.shape, c.outStrides),
    flops: () => 0,
  },
  sumRows: {
    operands: { x: reads(gridSize), out: writes((c) => c.rows) },
    hasSizes: ({ rows, columns }) => isSize(rows) && isCount(columns),
    flops: (c) => c.x.length,
  },
  sumColumns: {
    operands: { x: reads(gridSize), out: writes((c) => c.columns) },
    hasSizes: ({ rows, columns }) => isCount(rows) && isSize(columns),
    flops: (c) => c.x.length,
  },
  gather: {
    operands: {
      indices: reads((c) => c.indices.length),
      table: reads((c) => c.table.length),
      out: writes((c) => c.indices.length * c.columns),
    },
    hasSizes: (c) => isSize(c.columns),
    indices: { operand: "indices", rows: tableRows },
    flops: () => 0,
  },
  scatterAdd: {
    operands: {
      indices: reads((c) => c.indices.length),
      rows: reads((c) => c.indices.length * c.columns),
      table: updates((c) => c.table.length),
    },
    hasSizes: (c) => isSize(c.columns),
    indices: { operand: "indices", rows: tableRows },
    flops: (c) => c.rows.length,
  },
  matmul: {
    operands: {
      a: reads(({ m, k }) => m * k),
      b: reads(({ k, n }) => k * n),
      out: writes(({ m, n }) => m * n),
    },
    hasSizes: ({ m, k, n }) => isSize(m) && isSize(k) && isSize(n),
    flops: ({ m, k, n }) => 2 * m * k * n,
  },
  conv2d: {
    operands: {
      x: reads((c) => imageSize(c.spec)),
      weight: reads((c) => filterSize(c.spec)),
      bias: mayRead((c) => c.spec.outChannels),
      residual: mayRead((c) => mapSize(c.spec)),
      out: writes((c) => mapSize(c.spec)),
    },
    hasSizes: isConv,
    flops: (c) => convFlops(c.spec),
  },
  conv2dInputGrad: {
    operands: {
      g: reads((c) => mapSize(c.spec)),
      weight: reads((c) => filterSize(c.spec)),
      out: writes((c) => imageSize(c.spec)),
    },
    hasSizes: isConv,
    flops: (c) => convFlops(c.spec),
  },
  conv2dWeightGrad: {
    operands: {
      x: reads((c) => imageSize(c.spec)),
      g: reads((c) => mapSize(c.spec)),
      out: writes((c) => filterSize(c.spec)),
    },
    hasSizes: isConv,
    flops: (c) => convFlops(c.spec),
  },
  groupedConv2d: {
    operands: {
      x: reads((c) => imageSize(c.spec)),
      weight: reads((c) => groupedFilterSize(c.spec)),
      bias: mayRead((c) => c.spec.outChannels),
      residual: mayRead((c) => mapSize(c.spec)),
      out: writes((c) => mapSize(c.spec)),
    },
    hasSizes: isGrouped,
    flops: (c) => groupedFlops(c.spec),
  },
  groupedConv2dInputGrad: {
    operands: {
      g: reads((c) => mapSize(c.spec)),
      weight: reads((c) => groupedFilterSize(c.spec)),
      out: writes((c) => imageSize(c.spec)),
    },
    hasSizes: isGrouped,
    flops: (c) => groupedFlops(c.spec),
  },
  groupedConv2dWeightGrad: {
    operands: {
      x: reads((c) => imageSize(c.spec)),
      g: reads((c) => mapSize(c.spec)),
      out: writes((c) => groupedFilterSize(c.spec)),
    },
    hasSizes: isGrouped,
    flops: (c) => groupedFlops(c.spec),
  },
  argmax: {
    operands: { x: reads(gridSize), out: writes((c) => c.rows) },
    hasSizes: ({ rows, columns }) => isSize(rows) && isCount(columns),
    flops: (c) => c.x.length,
  },
  softmax: {
    operands: { x: reads(gridSize), out: writes(gridSize) },
    hasSizes: isGrid,
    flops: (c) => 5 * c.x.length,
  },
  softmaxGrad: {
    operands: { y: reads(gridSize), g: reads(gridSize), out: writes(gridSize) },
    hasSizes: isGrid,
    flops: (c) => 5 * c.y.length,
  },
  nearestCode: {
    operands: {
      z: reads((c) => c.count * c.channels),
      codebook: reads((c) => c.codes * c.channels),
      out: writes((c) => c.count),
    },
    hasSizes: (c) => isSize(c.count) && isSize(c.codes) && isSize(c.channels),
    flops: (c) => 2 * c.count * c.codes * c.channels,
  },
  groupNorm: {
    operands: {
      x: reads((c) => normSize(c.spec)),
      weight: reads((c) => c.spec.channels),
      bias: reads((c) => c.spec.channels),
      out: writes((c) => normSize(c.spec)),
      stats: writes((c) => statsSize(c.spec)),
    },
    hasSizes: isNorm,
    flops: (c) => 10 * normSize(c.spec),
  },
  groupNormStats: {
    operands: { x: reads((c) => normSize(c.spec)), stats: writes((c) => statsSize(c.spec)) },
    hasSizes: isNorm,
    flops: (c) => 4 * normSize(c.spec),
  },
  groupNormApply: {
    operands: {
      x: reads((c) => normSize(c.spec)),
      weight: reads((c) => c.spec.channels),
      bias: reads((c) => c.spec.channels),
      stats: reads((c) => statsSize(c.spec)),
      out: writes((c) => normSize(c.spec)),
    },
    hasSizes: isNorm,
    flops: (c) => 6 * normSize(c.spec),
  },
  groupNormGrad: {
    operands: {
      x: reads((c) => normSize(c.spec)),
      weight: reads((c) => c.spec.channels),
      bias: reads((c) => c.spec.channels),
      stats: reads((c) => statsSize(c.spec)),
      g: reads((c) => normSize(c.spec)),
      xGrad: writes((c) => normSize(c.spec)),
      weightGrad: writes((c) => c.spec.channels),
      biasGrad: writes((c) => c.spec.channels),
    },
    hasSizes: isNorm,
    flops: (c) => 29 * normSize(c.spec),
  },
  maxPool2d: {
    operands: { x: reads((c) => pictureSize(c.spec)), out: writes((c) => pooledSize(c.spec)) },
    hasSizes: isPool,
    flops: (c) => poolFlops(c.spec),
  },
  maxPool2dGrad: {
    operands: {
      x: reads((c) => pictureSize(c.spec)),
      g: reads((c) => pooledSize(c.spec)),
      out: writes((c) => pictureSize(c.spec)),
    },
    hasSizes: isPool,
    flops: (c) => poolFlops(c.spec),
  },
  avgPool2d: {
    operands: { x: reads((c) => pictureSize(c.spec)), out: writes((c) => pooledSize(c.spec)) },
    hasSizes: isAvgPool,
    flops: (c) => poolFlops(c.spec),
  },
  avgPool2dGrad: {
    operands: { g: reads((c) => pooledSize(c.spec)), out: writes((c) => pictureSize(c.spec)) },
    hasSizes: isAvgPool,
    flops: (c) => poolFlops(c.spec),
  },
  lpipsDistance: {
    operands: {
      a: reads(featureSize),
      b: reads(featureSize),
      weight: reads((c) => c.channels),
      out: writes((c) => c.pixels),
    },
    hasSizes: isFeatures,
    flops: (c) => 9 * c.a.length,
  },
  lpipsDistanceGrad: {
    operands: {
      a: reads(featureSize),
      b: reads(featureSize),
      weight: reads((c) => c.channels),
      g: reads((c) => c.pixels),
      out: writes(featureSize),
    },
    hasSizes: isFeatures,
    flops: (c) => 12 * c.a.length,
  },
  adam: {
    operands: {
      param: updates((c) => c.param.length),
      grad: reads((c) => c.param.length),
      expAvg: updates((c) => c.param.length),
      expAvgSq: updates((c) => c.param.length),
    },
    hasSizes: always,
    flops: (c) => 12 * c.param.length,
  },
};
