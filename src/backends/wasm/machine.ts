// What the kernels run on: one shared memory, its allocator, and the threads. `launch` runs a kernel on all threads.
import { variable } from "../../environment.ts";
import type { Buffer, DType, Slot, TypedArray } from "../buffer.ts";
import { Allocator, type Movable } from "./allocator.ts";
import { emitKernels, MAX_PAGES } from "./kernels/all.ts";
import { ARGUMENTS, CONTROL_BYTES, FAILED, startWorkers, threadCount } from "./threads.ts";
import { WIDE } from "./wide.ts";

const PAGE = 65536;
/** The scratch memory that each thread has for itself. */
export const SCRATCH_BYTES = 2 * 2 ** 20;

/** A range of the memory. Allocating another buffer may move it, so its address is valid for one kernel only. */
export class WasmBuffer implements Buffer, Movable {
  at: number;
  readonly bytes: number;
  isFreed = false;

  constructor(at: number, bytes: number) {
    this.at = at;
    this.bytes = bytes;
  }
}

/** The address of a buffer. */
export function addressOf(buffer: Buffer): number {
  if (buffer instanceof WasmBuffer) return buffer.at;
  throw new Error("cpu: the tensor is on another device");
}

/** The address of an operand's first element. */
export const at = ({ buffer, offset, itemBytes }: Slot): number => addressOf(buffer) + offset * itemBytes;

export const ceil = (n: number, by: number): number => Math.ceil(n / by);

type Run = (kernel: number, tiles: number, scratch: number) => void;

/** 4 GiB, which is as much as 32-bit addresses can reach. */
export const MAX_BYTES: number = MAX_PAGES * PAGE;
/** 256 MiB; with less memory it is not worth starting. */
const MIN_BYTES = MAX_BYTES / 16;

/**
 * Reserves the addresses for all tensors at once, because in V8 a worker that is just starting may not notice that the
 * memory has grown. Pages take real memory only after they are touched. If the system refuses so many addresses, half
 * as many are requested, and so on. Without the runtime's bounds checks (wide.ts) all addresses of 32 bits are reserved, so
 * that a kernel could at worst reach other tensors, and nothing else of the process.
 */
function reserve(maxBytes: number): WebAssembly.Memory {
  if (!(maxBytes >= MIN_BYTES && maxBytes <= MAX_BYTES)) {
    throw new RangeError(`cpu: maxBytes is ${maxBytes}, use ${MIN_BYTES} (256 MiB) to ${MAX_BYTES} (4 GiB)`);
  }
  const bytes = WIDE ? MAX_BYTES : maxBytes;
  for (let pages = Math.floor(bytes / PAGE);; pages = Math.floor(pages / 2)) {
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (error) {
      if (pages * PAGE <= MIN_BYTES) throw error;
    }
  }
}

export class Machine {
  readonly threads: number;
  /** Whether multiply and add are fused (relaxed SIMD). */
  readonly relaxedSimd: boolean;
  /** Tests put one here that watches the bytes around every block. */
  allocator: Allocator;
  /** Whether convolutions are computed by their definition, without Winograd's algorithm. */
  exact = Boolean(Number(variable("TESSERA_EXACT") ?? 0));
  readonly #memory: WebAssembly.Memory;
  readonly #index: Map<string, number>;
  readonly #run: Run;
  readonly #alone: Run[];
  /** The module that the workers instantiate. */
  readonly #module: Uint8Array<ArrayBuffer>;
  #started: Promise<void> | null = null;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;

  /** @param maxBytes the most that all tensors may take together */
  constructor(maxBytes: number) {
    this.#memory = reserve(maxBytes);
    const limit = Math.min(maxBytes, this.#memory.buffer.byteLength);
    this.threads = Math.min(threadCount(), Math.floor(limit / 4 / SCRATCH_BYTES)); // TESSERA_THREADS may be any number
    this.allocator = new Allocator(CONTROL_BYTES + this.threads * SCRATCH_BYTES, limit);
    const { bytes, index, relaxed } = emitKernels();
    this.relaxedSimd = relaxed;
    this.#index = index;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: this.#memory },
    });
    this.#run = instance.exports.run as Run;
    this.#alone = [...index.keys()].map((name) => instance.exports[name] as Run);
    this.#ints = new Int32Array(this.#memory.buffer, ARGUMENTS, FAILED + 1);
    this.#floats = new Float32Array(this.#memory.buffer, ARGUMENTS, 64);
    this.#module = bytes;
  }

  /** A view of the memory. */
  look(dtype: DType, address: number, length: number): TypedArray {
    const { buffer } = this.#memory;
    return dtype === "i32"
      ? new Int32Array(buffer, address, length)
      : new Float32Array(buffer, address, length);
  }

  /** Runs `body` with temporary memory. This moves no buffer, so addresses of operands stay valid. */
  with<T>(bytes: number, body: (address: number) => T): T {
    const address = this.allocator.alloc(bytes);
    try {
      return body(address);
    } finally {
      this.allocator.free(address, bytes);
    }
  }

  /** Runs a kernel on its tiles. Arguments are integers, except those whose index is in `floats`. */
  launch(kernel: string, tiles: number, args: ArrayLike<number>, floats: readonly number[] = []): void {
    if (!(tiles > 0)) return;
    const index = this.#index.get(kernel);
    if (index === undefined) throw new Error(`cpu: no kernel ${kernel}`);
    for (let i = 0; i < args.length; i++) this.#ints[i] = args[i];
    for (const i of floats) this.#floats[i] = args[i];
    if (tiles === 1) this.#alone[index](0, CONTROL_BYTES, 0);
    else {
      if (!this.#started) this.start().catch(() => {}); // if no worker starts, this thread computes alone
      this.#run(index, tiles, CONTROL_BYTES);
    }
    if (this.#ints[FAILED] !== 0) {
      throw new Error(`cpu: a worker thread failed in kernel ${kernel} (its error is printed above)`);
    }
  }

  /**
   * Starts the other threads, if they have not been started. The first job that can be shared does this too, without
   * waiting for them.
   * @returns a promise that resolves when all have started
   */
  start(): Promise<void> {
    const scratch = Array.from(
      { length: this.threads - 1 },
      (_, i) => CONTROL_BYTES + (i + 1) * SCRATCH_BYTES,
    );
    return this.#started ??= startWorkers(this.#module, this.#memory, scratch);
  }
}
