// A tensor that is still in its file: shape and strides are known, and the values are read by range on request.
import { floatsOfHalves } from "./half.ts";
import { isRowMajor, reachOf, sizeOf } from "../../src/shape.ts";
import { checkRange, FormatError, type RandomAccess } from "./source.ts";
import { formatBytes } from "./text.ts";

/** The types in which numbers are stored in files. */
export type StoredDType =
  | "f32"
  | "f16"
  | "bf16"
  | "f8e4m3"
  | "f8e5m2"
  | "f64"
  | "i64"
  | "u64"
  | "i32"
  | "u32"
  | "i16"
  | "u16"
  | "i8"
  | "u8"
  | "bool";

/**
 * The array type that `read` returns for each stored type: floats narrower than f32 become f32, and bool becomes bytes
 * of 0 and 1.
 */
export const valueArrays = {
  f32: Float32Array,
  f16: Float32Array,
  bf16: Float32Array,
  f8e4m3: Float32Array,
  f8e5m2: Float32Array,
  f64: Float64Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  i32: Int32Array,
  u32: Uint32Array,
  i16: Int16Array,
  u16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const satisfies Record<StoredDType, unknown>;

/** The numbers of a stored tensor. Floats narrower than f32 become f32, and bool becomes bytes of 0 and 1. */
export type StoredValues =
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

export const itemSize: Readonly<Record<StoredDType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  f8e4m3: 1,
  f8e5m2: 1,
  f64: 8,
  i64: 8,
  u64: 8,
  i32: 4,
  u32: 4,
  i16: 2,
  u16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
};

/** A tensor that is still in its file. */
export interface StoredTensor {
  /** The size of each axis. */
  readonly shape: readonly number[];
  /** The strides in the file, in elements. `read` returns row-major values in any case. */
  readonly stride: readonly number[];
  /** The type in which its numbers are stored. */
  readonly dtype: StoredDType;
  /** The number of elements times the stored bytes per element. */
  readonly byteLength: number;
  /** Reads all values, row-major. @throws FormatError if the file does not hold them */
  read(): Promise<StoredValues>;
  /**
   * Reads the values as f32, row-major, in chunks of at most 256 Ki elements. `offset` is the number of elements before
   * the chunk. The next call reuses the chunk's memory, so `sink` must copy it, for example into the memory of an
   * engine.
   */
  readFloats(sink: (chunk: Float32Array, offset: number) => void): Promise<void>;
}

/** Consecutive elements of one type in a file. Finding their start may need reading, so `locate` returns a promise. */
export interface Storage {
  readonly dtype: StoredDType;
  /** The number of elements. */
  readonly length: number;
  /** Returns the byte offset of element 0 in the file. */
  locate(): Promise<number>;
}

/** Chunks of 256 Ki elements are long enough that reads cost little, and small compared with the tensors. */
const chunkLength = 2 ** 18;
/**
 * Buffers that are reused. With a new one for each tensor, garbage was collected too late: 60 to 100 MB of it were left
 * after loading a full-size model.
 */
const spare: Uint8Array<ArrayBuffer>[] = [];
const maxSpare = 4, maxSpareLength = 2 ** 24;

function takeBuffer(length: number): Uint8Array<ArrayBuffer> {
  const found = spare.findIndex((bytes) => bytes.length >= length);
  return found < 0 ? new Uint8Array(Math.max(length, chunkLength * 8)) : spare.splice(found, 1)[0]!;
}

/** Keeps the largest buffers, up to a limit. */
function giveBack(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.length > maxSpareLength) return;
  spare.push(bytes);
  if (spare.length > maxSpare) spare.sort((a, b) => a.length - b.length).shift();
}

/**
 * The largest number of elements of a tensor whose storage has fewer (with stride 0 elements repeat, as torch's
 * `expand` makes them).
 */
const maxExpanded = 2 ** 26;
const maxRank = 64;

/**
 * The most memory that the values of one tensor may take, and that the part of a file may take in which they lie scattered.
 * The largest tensor of f16-16384 has 17 MB.
 */
const maxMemory = 2 ** 30, maxScattered = 2 ** 29;

/** Whether a value from a file can be a shape or strides: whole numbers from 0 on, and not too many of them. */
export function isCounts(values: unknown): values is number[] {
  return Array.isArray(values) && values.length <= maxRank &&
    values.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/**
 * Makes a tensor that is a view of `storage`, after checking that no later read can leave the storage.
 * @throws FormatError if shape, strides and offset are not whole numbers within the storage.
 */
export function storedTensor(
  source: RandomAccess,
  storage: Storage,
  offset: unknown,
  shape: unknown,
  stride: unknown,
): StoredTensor {
  if (!isCounts(shape) || !isCounts(stride) || !isCounts([offset]) || shape.length !== stride.length) {
    throw new FormatError(source.path, "corrupt: a tensor has no valid shape, strides and offset");
  }
  const start = offset as number;
  const size = sizeOf(shape);
  const end = start + reachOf(shape, stride);
  // written so that it also refuses sizes that are no number, as 0 times infinity is
  if (!(end <= storage.length && size <= Math.max(storage.length, maxExpanded))) {
    throw new FormatError(
      source.path,
      `corrupt: a tensor of shape [${shape}] with strides [${stride}] from element ${start} on does not ` +
        `fit into its storage of ${storage.length} elements`,
    );
  }
  return new FileTensor(source, storage, start, [...shape], [...stride]);
}

class FileTensor implements StoredTensor {
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly dtype: StoredDType;
  readonly byteLength: number;
  readonly #source: RandomAccess;
  readonly #storage: Storage;
  readonly #start: number;

  constructor(source: RandomAccess, storage: Storage, start: number, shape: number[], stride: number[]) {
    this.shape = shape;
    this.stride = stride;
    this.dtype = storage.dtype;
    this.byteLength = sizeOf(shape) * itemSize[this.dtype];
    this.#source = source;
    this.#storage = storage;
    this.#start = start;
  }

  #checkMemory(bytes: number, most: number): void {
    if (bytes <= most) return;
    throw new FormatError(
      this.#source.path,
      `a tensor of shape [${this.shape}] takes ${formatBytes(bytes)} of memory, at most ${
        formatBytes(most)
      } are read`,
      "split it into smaller ones",
    );
  }

  async read(): Promise<StoredValues> {
    this.#checkMemory(sizeOf(this.shape) * valueArrays[this.dtype].BYTES_PER_ELEMENT, maxMemory);
    const all = new valueArrays[this.dtype](sizeOf(this.shape));
    for await (const { values, at } of this.#chunks()) copyInto(all, values, at);
    return all;
  }

  async readFloats(sink: (chunk: Float32Array, offset: number) => void): Promise<void> {
    for await (const { values, at } of this.#chunks()) sink(toFloats(values), at);
  }

  async *#chunks(): AsyncGenerator<{ values: StoredValues; at: number }> {
    const size = sizeOf(this.shape);
    if (size === 0) return;
    const bytesEach = itemSize[this.dtype];
    const from = await this.#storage.locate() + this.#start * bytesEach;
    if (isRowMajor(this.shape, this.stride)) {
      checkRange(this.#source, from, this.byteLength, `a tensor of shape [${this.shape}]`);
      const bytes = takeBuffer(chunkLength * 8);
      try {
        for (let at = 0; at < size; at += chunkLength) {
          const part = bytes.subarray(0, Math.min(chunkLength, size - at) * bytesEach);
          await this.#source.readInto(part, from + at * bytesEach);
          yield { values: toValues(part, this.dtype), at };
        }
      } finally {
        giveBack(bytes);
      }
      return;
    }
    // the part of the storage that the view covers is read once, then its elements are picked in row-major order
    const reach = reachOf(this.shape, this.stride);
    checkRange(this.#source, from, reach * bytesEach, `a tensor of shape [${this.shape}]`);
    this.#checkMemory(reach * (bytesEach + valueArrays[this.dtype].BYTES_PER_ELEMENT), maxScattered);
    const bytes = takeBuffer(reach * bytesEach), out = takeBuffer(chunkLength * 8);
    try {
      const part = bytes.subarray(0, reach * bytesEach);
      await this.#source.readInto(part, from);
      yield* this.#gathered(toValues(part, this.dtype), out.buffer);
    } finally {
      giveBack(bytes);
      giveBack(out);
    }
  }

  /** Yields the elements in row-major order, in chunks in `buffer`: whole rows of the first axis if they fit. */
  *#gathered(stretch: StoredValues, buffer: ArrayBuffer): Generator<{ values: StoredValues; at: number }> {
    const { shape } = this, size = sizeOf(shape), rowSize = sizeOf(shape.slice(1));
    const rows = Math.floor(chunkLength / rowSize);
    const index = shape.map(() => 0);
    for (let at = 0; at < size;) {
      const length = Math.min(rows > 0 ? rows * rowSize : chunkLength, size - at);
      const values = new valueArrays[this.dtype](buffer, 0, length);
      if (rows > 0) this.#gatherRows(stretch, values, at / rowSize, length / rowSize);
      else this.#gather(stretch, values, index);
      yield { values, at };
      at += length;
    }
  }

  /**
   * Fills `target` with rows of the first axis: the first element of every row, then the second, and so on. In a
   * transposed kernel these are neighbours, so that memory is read in order.
   */
  #gatherRows(stretch: StoredValues, target: StoredValues, first: number, rows: number): void {
    const [step = 0, ...strides] = this.stride, inner = this.shape.slice(1);
    const rowSize = sizeOf(inner), index = inner.map(() => 0);
    let position = first * step;
    for (let k = 0; k < rowSize; k++) {
      for (let row = 0, from = position, at = k; row < rows; row++, from += step, at += rowSize) {
        target[at] = stretch[from]!;
      }
      for (let axis = inner.length - 1; axis >= 0; axis--) {
        position += strides[axis]!;
        if (++index[axis]! < inner[axis]!) break;
        position -= index[axis]! * strides[axis]!;
        index[axis] = 0;
      }
    }
  }

  /** Fills `target`, starting at `index`, and moves `index` to the element after the last one. */
  #gather(stretch: StoredValues, target: StoredValues, index: number[]): void {
    let position = index.reduce((sum, n, i) => sum + n * this.stride[i]!, 0);
    for (let k = 0; k < target.length; k++) {
      target[k] = stretch[position]!;
      for (let axis = index.length - 1; axis >= 0; axis--) {
        position += this.stride[axis]!;
        if (++index[axis]! < this.shape[axis]!) break;
        position -= index[axis]! * this.stride[axis]!;
        index[axis] = 0;
      }
    }
  }
}

/** Converts little-endian bytes from the start of their buffer to numbers, as a view if the type allows it. */
function toValues(bytes: Uint8Array<ArrayBuffer>, dtype: StoredDType): StoredValues {
  const { buffer } = bytes;
  const length = bytes.length / itemSize[dtype];
  switch (dtype) {
    case "f16":
      return floatsOfHalves(new Uint16Array(buffer, 0, length));
    case "bf16": {
      // bf16 is the upper half of an f32
      const upper = new Uint16Array(buffer, 0, length);
      const bits = new Uint32Array(length);
      for (let i = 0; i < length; i++) bits[i] = upper[i]! << 16;
      return new Float32Array(bits.buffer);
    }
    case "f8e4m3":
      return Float32Array.from(bytes, (byte) => eighths[byte]!);
    case "f8e5m2": // the upper half of an f16
      return floatsOfHalves(Uint16Array.from(bytes, (byte) => byte << 8));
    default:
      return new valueArrays[dtype](buffer, 0, length);
  }
}

/**
 * The 256 values of f8e4m3 (Micikevicius et al. 2022, "FP8 formats for deep learning"): four bits of exponent, three of
 * mantissa, no infinities.
 */
const eighths = Float32Array.from({ length: 256 }, (_, byte) => {
  const exponent = byte >> 3 & 15, mantissa = (byte & 7) / 8;
  const size = exponent === 0 ? mantissa * 2 ** -6 : (1 + mantissa) * 2 ** (exponent - 7);
  return (byte & 0x7f) === 0x7f ? NaN : byte < 0x80 ? size : -size;
});

function isBig(values: StoredValues): values is BigInt64Array<ArrayBuffer> | BigUint64Array<ArrayBuffer> {
  return values instanceof BigInt64Array || values instanceof BigUint64Array;
}

function toFloats(values: StoredValues): Float32Array {
  if (values instanceof Float32Array) return values;
  if (isBig(values)) return Float32Array.from(values, Number);
  return new Float32Array(values);
}

function copyInto(all: StoredValues, part: StoredValues, at: number): void {
  if (isBig(all)) {
    if (isBig(part)) all.set(part, at);
  } else if (!isBig(part)) {
    all.set(part, at);
  }
}
