// The contract between operations and backends: what each kernel is called with. What a call reads, writes and computes is
// in facts.ts. Operands are `Slot`s, which are parts of buffers (buffer.ts). A new kernel is declared here first; the
// compiler then names every table in which it is missing.
import type { Shape, Slot } from "./buffer.ts";

export type UnaryOp =
  | "abs"
  | "sign"
  | "exp"
  | "log"
  | "sqrt"
  | "square"
  | "relu"
  | "leakyRelu" // p0 = slope
  | "sigmoid"
  | "swish"
  | "tanh"
  | "softplus"
  | "clamp" // p0 = low, p1 = high
  | "affine"; // p0 * x + p1

/** Those that end in Grad are derivatives: the gradient `g` (first operand) times a function of the second operand. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "maximum"
  | "minimum"
  | "greater" // 1 where a > b, else 0
  | "equal" // 1 where a = b, else 0
  | "swishGrad" // g * d swish(x) / dx
  | "reluGrad" // g where y > 0, else 0
  | "leakyReluGrad" // g where y > 0, else p0 * g
  | "lerp"; // a + p0 * (b - a)

/** How a binary operand is read: element (o, i) is at o * outer + i * inner. A stride of 0 repeats a number (broadcasting). */
export interface Walk {
  readonly outer: number;
  readonly inner: 0 | 1;
}

/** Geometry of a convolution. Images are [batch, height, width, channels]. */
export interface ConvSpec {
  readonly batch: number;
  /** Height, width and channels of the input as stored, before `upsample`. */
  readonly height: number;
  readonly width: number;
  readonly inChannels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly outChannels: number;
  readonly kernel: readonly [number, number];
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
  /** 2: the input is first enlarged by nearest neighbour; the enlarged image is never stored. */
  readonly upsample: 1 | 2;
}

/** Geometry of a convolution in groups: each group of output channels reads only its group of the input channels. */
export interface GroupedConvSpec extends Omit<ConvSpec, "upsample"> {
  /** The number of groups; it divides both numbers of channels. */
  readonly groups: number;
}

/** Geometry of a group norm over [batch, pixels, channels]. */
export interface NormSpec {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
  readonly groups: number;
  readonly eps: number;
  /** Multiply the result t by sigmoid(t). */
  readonly swish: boolean;
}

/** Geometry of a pooling over windows of size x size. */
export interface PoolSpec {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly size: number;
  readonly stride: number;
}

/** Geometry of an average pooling. Its windows may extend over zeros around the picture. */
export interface AvgPoolSpec extends PoolSpec {
  /** The number of zeros on each side of the picture. */
  readonly padding: number;
  /** How many of these zeros, on each side, are counted in the divisor of a window's sum: `padding`, or 0. */
  readonly counted: number;
}

/** One Adam update. */
export interface AdamSpec {
  /** The learning rate. */
  readonly lr: number;
  /** The decay of the running average of the gradient. */
  readonly beta1: number;
  /** The decay of the running average of its square. */
  readonly beta2: number;
  /** Added to the divisor, so that the quotient stays finite. */
  readonly eps: number;
  /** 1 on the first step. */
  readonly step: number;
  /** The factor of the parameter before the update: 1 - lr * weight decay for AdamW. Default 1. */
  readonly decay?: number;
  /**
   * The factor that the gradient was multiplied by, for f16; it is divided out. Elements whose gradient is not finite do
   * not change. Default: 1, without this check.
   */
  readonly lossScale?: number;
}

/** What each kernel is called with. Operands are in row-major order without gaps, unless the call has strides. */
export interface Calls {
  /** out = value, in f32. */
  readonly fill: { readonly out: Slot; readonly value: number };
  readonly unary: {
    readonly op: UnaryOp;
    readonly x: Slot;
    readonly out: Slot;
    readonly p0: number;
    readonly p1: number;
  };
  /** out [outer, inner] = op(a, b). */
  readonly binary: {
    readonly op: BinaryOp;
    readonly a: Slot;
    readonly aWalk: Walk;
    readonly b: Slot;
    readonly bWalk: Walk;
    readonly out: Slot;
    readonly outer: number;
    readonly inner: number;
    readonly p0: number;
  };
  /** out = x for every index of `shape`. If their item sizes differ, f32 is converted to f16 or back. */
  readonly copy: {
    readonly x: Slot;
    readonly xStrides: readonly number[];
    readonly out: Slot;
    readonly outStrides: readonly number[];
    readonly shape: Shape;
  };
  /** Sum of each row of x [rows, columns], which has at least one column. */
  readonly sumRows: { readonly x: Slot; readonly out: Slot; readonly rows: number; readonly columns: number };
  /** Sum of each column of x [rows, columns], which has at least one row. */
  readonly sumColumns: {
    readonly x: Slot;
    readonly out: Slot;
    readonly rows: number;
    readonly columns: number;
  };
  /**
   * out[i] = table[indices[i]]. On the CPU an index outside the table throws. A GPU cannot throw: it limits the index to the
   * table's buffer, so the row is wrong, but no memory of other tensors is read.
   */
  readonly gather: {
    readonly indices: Slot;
    readonly table: Slot;
    readonly out: Slot;
    readonly columns: number;
  };
  /** table[indices[i]] += rows[i], in the order of i, so that sums are reproducible. For indices see `gather`. */
  readonly scatterAdd: {
    readonly indices: Slot;
    readonly rows: Slot;
    readonly table: Slot;
    readonly columns: number;
  };
  /** out [m, n] = a [m, k] b, where b is [k, n], or [n, k] if transposeB. */
  readonly matmul: {
    readonly a: Slot;
    readonly b: Slot;
    readonly out: Slot;
    readonly m: number;
    readonly k: number;
    readonly n: number;
    readonly transposeB: boolean;
  };
  readonly conv2d: {
    readonly x: Slot;
    readonly weight: Slot;
    readonly bias: Slot | null;
    /** Added to the output. */
    readonly residual: Slot | null;
    readonly out: Slot;
    readonly spec: ConvSpec;
  };
  readonly conv2dInputGrad: {
    readonly g: Slot;
    readonly weight: Slot;
    readonly out: Slot;
    readonly spec: ConvSpec;
  };
  readonly conv2dWeightGrad: {
    readonly x: Slot;
    readonly g: Slot;
    readonly out: Slot;
    readonly spec: ConvSpec;
  };
  /**
   * A convolution in groups, whose weight is [O, I / groups, kh, kw]. Output o is in group floor(o / (O / groups)) and
   * reads the I / groups inputs of that group.
   */
  readonly groupedConv2d: {
    readonly x: Slot;
    readonly weight: Slot;
    readonly bias: Slot | null;
    /** Added to the output. */
    readonly residual: Slot | null;
    readonly out: Slot;
    readonly spec: GroupedConvSpec;
  };
  readonly groupedConv2dInputGrad: {
    readonly g: Slot;
    readonly weight: Slot;
    readonly out: Slot;
    readonly spec: GroupedConvSpec;
  };
  readonly groupedConv2dWeightGrad: {
    readonly x: Slot;
    readonly g: Slot;
    readonly out: Slot;
    readonly spec: GroupedConvSpec;
  };
  /** out = softmax(scale x) along each row. */
  readonly softmax: {
    readonly x: Slot;
    readonly out: Slot;
    readonly rows: number;
    readonly columns: number;
    readonly scale: number;
  };
  /** Gradient of softmax(scale x) given its output y. */
  readonly softmaxGrad: {
    readonly y: Slot;
    readonly g: Slot;
    readonly out: Slot;
    readonly rows: number;
    readonly columns: number;
    readonly scale: number;
  };
  /** out [rows] = the index of the largest value of each row of x; the lowest wins ties. */
  readonly argmax: { readonly x: Slot; readonly out: Slot; readonly rows: number; readonly columns: number };
  /** Index of the row of codebook [codes, channels] nearest to each row of z [count, channels]; the lowest wins ties. */
  readonly nearestCode: {
    readonly z: Slot;
    readonly codebook: Slot;
    readonly out: Slot;
    readonly count: number;
    readonly codes: number;
    readonly channels: number;
  };
  /** stats [batch, groups, 2] holds the mean and 1 / sqrt(variance + eps) of each sample and group. */
  readonly groupNorm: {
    readonly x: Slot;
    readonly weight: Slot;
    readonly bias: Slot;
    readonly out: Slot;
    readonly stats: Slot;
    readonly spec: NormSpec;
  };
  /** Computes only the statistics. */
  readonly groupNormStats: { readonly x: Slot; readonly stats: Slot; readonly spec: NormSpec };
  /** Computes the output from saved stats. x may be a part of the rows that the stats were computed from. */
  readonly groupNormApply: {
    readonly x: Slot;
    readonly weight: Slot;
    readonly bias: Slot;
    readonly stats: Slot;
    readonly out: Slot;
    readonly spec: NormSpec;
  };
  readonly groupNormGrad: {
    readonly x: Slot;
    readonly weight: Slot;
    readonly bias: Slot;
    readonly stats: Slot;
    readonly g: Slot;
    readonly xGrad: Slot;
    readonly weightGrad: Slot;
    readonly biasGrad: Slot;
    readonly spec: NormSpec;
  };
  /** A window may extend beyond the lower and right edge (ceil mode); only pixels inside count. */
  readonly maxPool2d: { readonly x: Slot; readonly out: Slot; readonly spec: PoolSpec };
  /** The gradient goes to the first maximum of each window in raster order. */
  readonly maxPool2dGrad: { readonly x: Slot; readonly g: Slot; readonly out: Slot; readonly spec: PoolSpec };
  /**
   * The sum of the window's pixels that are in the picture, divided by the number of its pixels that are in the picture
   * enlarged by `counted` on each side.
   */
  readonly avgPool2d: { readonly x: Slot; readonly out: Slot; readonly spec: AvgPoolSpec };
  /** Each pixel receives, from every window that contains it, g divided by the window's divisor. */
  readonly avgPool2dGrad: { readonly g: Slot; readonly out: Slot; readonly spec: AvgPoolSpec };
  /** Per pixel: sum over c of weight_c (a_c/|a| - b_c/|b|)^2. */
  readonly lpipsDistance: {
    readonly a: Slot;
    readonly b: Slot;
    readonly weight: Slot;
    readonly out: Slot;
    readonly pixels: number;
    readonly channels: number;
  };
  /** The gradient of a, given the gradient g of each pixel's distance; 0 where |a| is 0. */
  readonly lpipsDistanceGrad: {
    readonly a: Slot;
    readonly b: Slot;
    readonly weight: Slot;
    readonly g: Slot;
    readonly out: Slot;
    readonly pixels: number;
    readonly channels: number;
  };
  /** Updates param and both moments in place. */
  readonly adam: {
    readonly param: Slot;
    readonly grad: Slot;
    readonly expAvg: Slot;
    readonly expAvgSq: Slot;
    readonly spec: AdamSpec;
  };
}

export type KernelName = keyof Calls;

/** A backend's function for each kernel. If one is missing, the table does not compile. */
export type KernelTable<Machine> = { readonly [K in KernelName]: (on: Machine, call: Calls[K]) => void };

/** A call as text, with the number of elements in place of each operand. */
export function textOf(call: object): string {
  const brief = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && "buffer" in value && "length" in value
      ? value.length
      : typeof value === "number"
      ? String(value) // JSON has no Infinity
      : value;
  return JSON.stringify(call, brief).replaceAll('"', "");
}
