// The types of device memory that do not depend on the backend.

/** A piece of device memory. Only the backend that made it knows what is inside. */
export interface Buffer {
  readonly bytes: number;
  /** Set by `retire`. No kernel takes such a buffer. */
  isFreed?: boolean;
}

/** Marks a buffer as freed. @throws if that was done before, because its memory may belong to another one by now */
export function retire(buffer: Buffer): void {
  if (buffer.isFreed) throw new Error(`a buffer of ${buffer.bytes} bytes was freed twice`);
  buffer.isFreed = true;
}

/** How elements are stored. f16 is for storage only: every operation computes in f32 and rounds its results. */
export type DType = "f32" | "f16" | "i32";

/** Bytes per element. */
export const itemBytes: Readonly<Record<DType, 2 | 4>> = { f32: 4, f16: 2, i32: 4 };

/** Sizes along each axis. */
export type Shape = readonly number[];

/** Values that can be written to a buffer. */
export type TypedArray = Float32Array | Int32Array;

/** Values that were read from a buffer: a copy. */
export type Values = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** A number of bytes in MiB, for messages. */
export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** A part of a buffer. Every operand of a kernel is one, so that bounds can be checked in one place. */
export interface Slot {
  readonly buffer: Buffer;
  /** The first element, counted in elements from the start of the buffer. */
  readonly offset: number;
  /** The number of elements from the first to the last, including those that strides skip. */
  readonly length: number;
  readonly itemBytes: 2 | 4;
}
