// A CPU whose memory is watched: every block lies between bytes that nobody may change, and what was not written yet has
// known bytes. One block can be put at the end of the memory, where a read that goes too far ends in an error.
import { type Buffer, type Slot } from "../../src/backends/buffer.ts";
import { Allocator, OVERREAD } from "../../src/backends/wasm/allocator.ts";
import { WasmBackend } from "../../src/backends/wasm/backend.ts";
import { SCRATCH_BYTES } from "../../src/backends/wasm/machine.ts";
import { CONTROL_BYTES } from "../../src/backends/wasm/threads.ts";

/** Bytes before and after each block that nobody may change. */
const GUARD = 16384;
/** The end of the memory is kept for the block that is put there. */
const END = 2 ** 26;

/** Fills and compares ranges of the memory with one repeated number of 32 bits. */
interface Painter {
  paint(from: number, to: number): void;
  isPainted(from: number, to: number): boolean;
}

class WatchedAllocator extends Allocator {
  /** What was written where nobody may write. */
  readonly faults: string[] = [];
  /** Blocks so far, and the number of the one that goes to the end of the memory. */
  count = 0;
  last = -1;
  readonly #painter: Painter;
  readonly #start: number;
  readonly #memory: number;
  #end = 0;

  /** @param memory the bytes of the whole memory */
  constructor(start: number, memory: number, painter: Painter) {
    super(start, memory - END);
    this.#memory = memory;
    this.#painter = painter;
    this.#start = super.alloc(4 * GUARD); // after the scratch memory of the thread
    this.renew();
  }

  /** Paints what comes after the scratch memory, before a call. */
  renew(): void {
    this.#painter.paint(this.#start, this.#start + 4 * GUARD);
  }

  /** Looks whether the scratch memory was exceeded, after a call. */
  check(): void {
    if (!this.#painter.isPainted(this.#start, this.#start + 4 * GUARD)) this.faults.push("scratch memory");
  }

  override alloc(bytes: number): number {
    const isLast = this.count++ === this.last;
    if (isLast && bytes + OVERREAD > END - GUARD) throw new Error(`watched: ${bytes} bytes are too many`);
    const at = isLast ? this.#memory - OVERREAD - bytes : super.alloc(bytes + 2 * GUARD) + GUARD;
    if (isLast) this.#end = at;
    this.#painter.paint(at - GUARD, Math.min(this.#memory, at + bytes + GUARD));
    return at;
  }

  override free(at: number, bytes: number): void {
    const end = Math.min(this.#memory, at + bytes + GUARD);
    if (!this.#painter.isPainted(at - GUARD, at) || !this.#painter.isPainted(at + bytes, end)) {
      this.faults.push(`around a block of ${bytes} bytes`);
    }
    if (at === this.#end) this.#end = 0;
    else super.free(at - GUARD, bytes + 2 * GUARD);
  }
}

/** Makes something on a system that refuses to reserve more than the least memory, so that an address can be too large. */
function withLittleMemory<T>(make: () => T): T {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(limits: WebAssembly.MemoryDescriptor) {
      if (limits.initial > 4096) throw new RangeError(`watched: ${limits.initial} pages are too many`);
      super(limits);
    }
  };
  try {
    return make();
  } finally {
    WebAssembly.Memory = Memory;
  }
}

/** The CPU with watched memory. It computes on one thread, so that its scratch memory ends at watched bytes. */
export class WatchedCpu {
  readonly backend: WasmBackend;
  /** The number that fills what nobody has written. */
  paint = 0;
  readonly allocator: WatchedAllocator;
  /** The bytes of the whole memory. */
  readonly memory: number;
  readonly #ints: Int32Array;

  /** @param hasEnd whether blocks are put at the end of the memory */
  constructor(hasEnd: boolean) {
    const make = () => new WasmBackend(2 ** 28);
    this.backend = hasEnd ? withLittleMemory(make) : make();
    const { machine } = this.backend;
    if (machine.threads !== 1) throw new Error("watched: set TESSERA_THREADS=1");
    this.memory = machine.look("i32", 0, 1).buffer.byteLength;
    this.#ints = machine.look("i32", 0, this.memory / 4) as Int32Array;
    const painter: Painter = {
      paint: (from, to) => void this.#ints.fill(this.paint, from / 4, to / 4),
      isPainted: (from, to) => {
        for (let i = from / 4; i < to / 4; i++) if (this.#ints[i] !== this.paint) return false;
        return true;
      },
    };
    this.allocator = machine.allocator = new WatchedAllocator(
      CONTROL_BYTES + SCRATCH_BYTES,
      this.memory,
      painter,
    );
  }

  /** Begins a call with other bytes around everything. */
  renew(paint: number, last = -1): void {
    this.paint = paint;
    this.allocator.renew();
    this.#ints.fill(paint, CONTROL_BYTES / 4, (CONTROL_BYTES + SCRATCH_BYTES) / 4);
    this.allocator.count = 0;
    this.allocator.last = last;
  }

  /** An operand with these values, and `before` and `after` elements around it in its buffer. */
  operand(values: Int32Array, before: number, after: number): Slot {
    const buffer = this.backend.alloc((before + values.length + after) * 4);
    this.backend.write(buffer, values, before);
    return { buffer, offset: before, length: values.length, itemBytes: 4 };
  }

  /** All elements of a buffer. */
  read(buffer: Buffer): Int32Array {
    return this.backend.peek(buffer, "i32", 0, buffer.bytes / 4) as Int32Array;
  }
}
