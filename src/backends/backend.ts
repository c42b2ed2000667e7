// The contract between ops and hardware: every operation that a backend must offer, on contiguous row-major buffers.
// Shape rules, broadcasting and gradients live in src/ops; a backend only moves and combines numbers.

/** A piece of device memory. Opaque to everyone but the backend that made it. */
export interface Buffer {
  readonly bytes: number;
}

/** f16 is for storage: every operation computes in f32 and rounds what it stores. */
export type DType = "f32" | "f16" | "i32";
/** Bytes of an element. */
export const itemBytes: Readonly<Record<DType, number>> = { f32: 4, f16: 2, i32: 4 };
export type Shape = readonly number[];
export type TypedArray = Float32Array | Int32Array;
/** A copy that was read back, in memory of its own. */
export type Values = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

export type UnaryOp =
  | "neg"
  | "abs"
  | "sign"
  | "exp"
  | "log"
  | "sqrt"
  | "square"
  | "reciprocal"
  | "relu"
  | "leakyRelu" // p0 = slope
  | "sigmoid"
  | "swish"
  | "tanh"
  | "softplus"
  | "clamp" // p0 = low, p1 = high
  | "affine"; // p0 * x + p1

/** The last five are derivatives or masks: `g` (first operand) times what depends on the second operand. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "maximum"
  | "minimum"
  | "greater" // 1 where a > b, else 0
  | "equal"
  | "swishGrad" // g * d swish(x) / dx
  | "reluGrad" // g where y > 0
  | "leakyReluGrad"; // g where y > 0, else p0 * g

/** Element (o, i) of a binary operand lies at o * outer + i * inner; inner is 0 (broadcast) or 1. */
export interface Walk {
  readonly outer: number;
  readonly inner: 0 | 1;
}

/** A strided window of a buffer, in elements. */
export interface View {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** Geometry of a convolution; images are [batch, height, width, channels]. */
export interface ConvSpec {
  readonly batch: number;
  /** Height, width and channels of the input as stored, before `upsample` or `dilate`. */
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
  /** 2: the input is first enlarged by nearest neighbour, without ever being stored so. */
  readonly upsample: 1 | 2;
}

export interface NormSpec {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
  readonly groups: number;
  readonly eps: number;
  /** Multiply the result t by sigmoid(t). */
  readonly swish: boolean;
}

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

export interface AdamSpec {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** 1 on the first step. */
  readonly step: number;
  /** The gradient comes multiplied by this, and elements where it is not finite are left as they are. Default: as it is. */
  readonly lossScale?: number;
}

/** Memory did not suffice. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
  /** Bytes that there were in all, if that was too few. */
  readonly total?: number;
  /** Bytes that one tensor may have, if it was too large. */
  readonly largest?: number;

  constructor(message: string, limits: { readonly total?: number; readonly largest?: number }) {
    super(message);
    this.total = limits.total;
    this.largest = limits.largest;
  }
}

export interface Backend {
  readonly name: string;
  /** What computes, in words: a number of threads, the name of a GPU. */
  readonly description: string;
  /** Whether buffers can hold f16. */
  readonly hasF16: boolean;
  /** Whether convolutions are computed by their definition alone, where there is Winograd's shorter way too. */
  exact?: boolean;

  // Memory
  /** @param dtype what it will hold; only f16 matters */
  alloc(bytes: number, dtype?: DType): Buffer;
  free(buffer: Buffer): void;
  write(buffer: Buffer, values: TypedArray, offset: number): void;
  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values>;
  fill(out: Buffer, length: number, value: number): void;
  memory(): { reservedBytes: number };
  /** Lets events in, and waits while the device is far behind what was asked of it. @throws what went wrong there */
  pause(): Promise<void>;

  // Elementwise and movement
  unary(op: UnaryOp, x: Buffer, out: Buffer, length: number, p0?: number, p1?: number): void;
  binary(
    op: BinaryOp,
    a: Buffer,
    aWalk: Walk,
    b: Buffer,
    bWalk: Walk,
    out: Buffer,
    outer: number,
    inner: number,
    p0?: number,
  ): void;
  /** out[view] = x[view] for every index of shape; f32 becomes f16 and back where their buffers differ. */
  copy(x: View, out: View, shape: Shape): void;
  /** Sum or maximum of each row of x [rows, columns]. */
  reduceRows(op: "sum" | "max", x: Buffer, out: Buffer, rows: number, columns: number): void;
  /** Sum of each column of x [rows, columns]. */
  sumColumns(x: Buffer, out: Buffer, rows: number, columns: number): void;
  /**
   * out[i] = table[indices[i]]. An index outside the table throws where the indices can be read at once (cpu, gpujs); on a GPU,
   * which cannot stop, WebGPU keeps it within the table's buffer: the row is wrong, but no other tensor's memory.
   */
  gather(indices: Buffer, table: Buffer, out: Buffer, count: number, columns: number): void;
  /** table[indices[i]] += rows[i], in the order of i, so that sums are reproducible. Indices as for `gather`. */
  scatterAdd(indices: Buffer, rows: Buffer, table: Buffer, count: number, columns: number): void;

  // Linear algebra
  /** out [m, n] = a [m, k] b, where b is [k, n], or [n, k] if transposeB. */
  matmul(a: View, b: View, out: View, m: number, k: number, n: number, transposeB: boolean): void;
  conv2d(
    x: Buffer,
    w: Buffer,
    bias: Buffer | null,
    residual: Buffer | null,
    out: Buffer,
    spec: ConvSpec,
  ): void;
  conv2dInputGrad(g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void;
  conv2dWeightGrad(x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void;
  softmax(x: Buffer, out: Buffer, rows: number, columns: number, scale: number): void;
  /** Gradient of softmax(scale x) given its output y. */
  softmaxGrad(y: Buffer, g: Buffer, out: Buffer, rows: number, columns: number, scale: number): void;
  /** Index of the row of codebook [codes, channels] nearest to each row of z [count, channels]; the lowest wins ties. */
  nearestCode(z: Buffer, codebook: Buffer, out: Buffer, count: number, codes: number, channels: number): void;

  // Normalisation, pooling, distance
  /** stats: per sample and group, mean then 1/sqrt(variance + eps): [batch, groups, 2]. */
  groupNorm(x: Buffer, weight: Buffer, bias: Buffer, out: Buffer, stats: Buffer, spec: NormSpec): void;
  /** The statistics alone. */
  groupNormStats(x: Buffer, stats: Buffer, spec: NormSpec): void;
  /** The same output again from saved stats; x may be some rows of what the stats were taken of. */
  groupNormApply(x: Buffer, weight: Buffer, bias: Buffer, stats: Buffer, out: Buffer, spec: NormSpec): void;
  groupNormGrad(
    x: Buffer,
    weight: Buffer,
    bias: Buffer,
    stats: Buffer,
    g: Buffer,
    out: { x: Buffer; weight: Buffer; bias: Buffer },
    spec: NormSpec,
  ): void;
  /** A window may hang over the lower and right edge (ceil mode); only pixels inside count. */
  maxPool2d(x: Buffer, out: Buffer, spec: PoolSpec): void;
  /** The gradient goes to the first maximum of each window in raster order. */
  maxPool2dGrad(x: Buffer, g: Buffer, out: Buffer, spec: PoolSpec): void;
  /** Per pixel: sum over c of weight_c (a_c/|a| - b_c/|b|)^2. */
  lpipsDistance(a: Buffer, b: Buffer, weight: Buffer, out: Buffer, pixels: number, channels: number): void;
  /** Gradient to a, given the gradient g of each pixel's distance; 0 where |a| is 0. */
  lpipsDistanceGrad(
    a: Buffer,
    b: Buffer,
    weight: Buffer,
    g: Buffer,
    out: Buffer,
    pixels: number,
    channels: number,
  ): void;

  // Training
  adamStep(
    param: Buffer,
    grad: Buffer,
    expAvg: Buffer,
    expAvgSq: Buffer,
    length: number,
    spec: AdamSpec,
  ): void;
}

/** @throws naming the first index that is no row of the table */
export function checkIndices(indices: ArrayLike<number>, rows: number): void {
  for (let i = 0; i < indices.length; i++) {
    if (indices[i] >= 0 && indices[i] < rows) continue;
    throw new Error(`index ${indices[i]} at ${i} is outside the table of ${rows} rows: use 0 to ${rows - 1}`);
  }
}
