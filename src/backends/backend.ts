// The interface of a backend: it allocates, writes, reads and frees memory, and runs the kernels that kernels.ts declares.
// Rules about shapes, broadcasting and gradients are in src/ops; a backend only moves and combines numbers.
import { counters } from "../counters.ts";
import type { Buffer, DType, TypedArray, Values } from "./buffer.ts";
import type { Calls, KernelName } from "./kernels.ts";

/** A device that computes. `device()` and `currentBackend()` return one. Its methods are called by operations. */
export interface Backend {
  /** "cpu", "webgpu" or "gpujs". */
  readonly name: string;
  /** For people: the number of threads and the width of their vectors, or the name of the GPU. */
  readonly description: string;
  /** The most bytes that all tensors may take together, where that is known. */
  readonly maxBytes?: number;
  /** Whether buffers can hold f16. */
  readonly hasF16: boolean;
  /** Whether convolutions are computed by their definition, without Winograd's algorithm. */
  exact?: boolean;

  /**
   * Allocates memory, whose content is undefined.
   * @throws OutOfMemoryError
   * @internal
   */
  alloc(bytes: number): Buffer;
  /**
   * Frees memory.
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
   * Reads values after everything that was started before has finished.
   * @param offset in elements
   * @internal
   */
  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values>;
  /**
   * `read` without a promise, if the device can.
   * @internal
   */
  peek?(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Values;
  /** How much memory the device has taken from the system, used or not. */
  memory(): { reservedBytes: number };
  /** Lets other events run, and waits if the device has much unfinished work. @throws the first error of the device */
  pause(): Promise<void>;

  /**
   * Runs a kernel. A GPU may finish it later.
   * @internal
   * @throws RangeError if an operand is not inside its buffer (bounds.ts); Error if it is on another device
   */
  run<K extends KernelName>(name: K, call: Calls[K]): void;
}

/** There was not enough memory. The message says how much was requested, and how many tensors are alive. */
export class OutOfMemoryError extends Error {
  /** "OutOfMemoryError" */
  override readonly name = "OutOfMemoryError";
  /** The message without the number of tensors and the advice. */
  readonly problem: string;
  /** All bytes that there are, if that was too few. */
  readonly total?: number;
  /** The most bytes that one tensor may have, if it was too large. */
  readonly largest?: number;

  /** Adds the number of tensors and advice to the message. @param message what was requested, and how much there is */
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
