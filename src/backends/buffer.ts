// Device memory as everyone but its own backend sees it: pieces of it, and what their elements are.

/** A piece of device memory. Opaque to everyone but the backend that made it. */
export interface Buffer {
  readonly bytes: number;
}

/** How elements are stored. f16 is for storage only: every operation computes in f32 and rounds what it stores. */
export type DType = "f32" | "f16" | "i32";

/** Bytes of an element. */
export const itemBytes: Readonly<Record<DType, 2 | 4>> = { f32: 4, f16: 2, i32: 4 };

/** Sizes along each axis. */
export type Shape = readonly number[];

/** Values that can be written to a buffer. */
export type TypedArray = Float32Array | Int32Array;

/** Values that were read back: a copy in memory of its own. */
export type Values = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** A number of bytes in MiB, for messages. */
export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** Some elements of a buffer: an operand of a kernel. Every operand is one, so that bounds are checked in one place. */
export interface Slot {
  readonly buffer: Buffer;
  /** Of the first element, counted in elements. */
  readonly offset: number;
  /** Elements from the first to the last. An operand with strides may skip some of them. */
  readonly length: number;
  readonly itemBytes: 2 | 4;
}
