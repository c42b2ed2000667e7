// What computes: memory that is made, written, read and freed, and one method that runs a kernel of the contract
// (kernels.ts). Shape rules, broadcasting and gradients live in src/ops; a backend only moves and combines numbers.
import { counters } from "../counters.ts";
import type { Buffer, DType, TypedArray, Values } from "./buffer.ts";
import type { Calls, KernelName } from "./kernels.ts";

/** A device that computes. `device()` and `currentBackend()` return it; its methods are for operations. */
export interface Backend {
  /** "cpu", "webgpu" or "gpujs". */
  readonly name: string;
  /** What computes, in words: a number of threads, the name of a GPU. */
  readonly description: string;
  /** Whether buffers can hold f16. */
  readonly hasF16: boolean;
  /** Whether convolutions are computed by their definition alone, where there is Winograd's shorter way too. */
  exact?: boolean;

  /**
   * Makes a piece of memory with arbitrary content.
   * @throws OutOfMemoryError
   * @internal
   */
  alloc(bytes: number): Buffer;
  /**
   * Gives a piece of memory back.
   * @internal
   */
  free(buffer: Buffer): void;
  /**
   * Writes values.
   * @param offset in elements
   * @internal
   */
  write(buffer: Buffer, values: TypedArray, offset: number): void;
  /**
   * Reads values when all that was asked of the device is done.
   * @param offset in elements
   * @internal
   */
  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values>;
  /**
   * `read` at once, where the device can.
   * @internal
   */
  peek?(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Values;
  /** How much memory the device has taken from the system, used or not. */
  memory(): { reservedBytes: number };
  /** Lets events in, and waits while the device is far behind what was asked of it. @throws what went wrong there */
  pause(): Promise<void>;

  /**
   * Runs a kernel, or asks a GPU to.
   * @internal
   * @throws RangeError if an operand does not lie inside its buffer; Error if it lives on another device
   */
  run<K extends KernelName>(name: K, call: Calls[K]): void;
}

/** Memory did not suffice. The message says what was asked for, and how many tensors are alive. */
export class OutOfMemoryError extends Error {
  /** "OutOfMemoryError" */
  override readonly name = "OutOfMemoryError";
  /** The message without the tensors and the advice. */
  readonly problem: string;
  /** Bytes that there were in all, if that was too few. */
  readonly total?: number;
  /** Bytes that one tensor may have, if it was too large. */
  readonly largest?: number;

  /** Adds the tensors and the advice. @param message what was asked for, and how much there is */
  constructor(message: string, limits: { readonly total?: number; readonly largest?: number }) {
    super(
      `${message}. ${counters.liveTensors} tensors are alive: scope(), asyncScope() and dispose() free those that are not ` +
        "needed any more",
    );
    this.problem = message;
    this.total = limits.total;
    this.largest = limits.largest;
  }
}

/** @throws naming the first index that is no row of the table */
export function checkIndices(indices: ArrayLike<number>, rows: number): void {
  for (let i = 0; i < indices.length; i++) {
    if (indices[i] >= 0 && indices[i] < rows) continue;
    throw new Error(`index ${indices[i]} at ${i} is outside the table of ${rows} rows: use 0 to ${rows - 1}`);
  }
}
