// The GPU's memory, in blocks of certain sizes: four sizes per power of two, so that a block is at most a quarter too large.
// Freed blocks are used again, the one with the lowest number first. So each training step gets the same blocks, and its
// bind groups already exist.
import { OutOfMemoryError } from "../../backend.ts";
import { type Buffer, mib } from "../../buffer.ts";

export interface Block {
  readonly id: number;
  readonly size: number;
  readonly handle: GPUBuffer;
  /** The number of the command encoder that used it last. */
  usedIn: number;
}

/** The buffers of this backend. */
export class GpuBuffer implements Buffer {
  readonly block: Block;
  readonly bytes: number;
  isFreed = false;

  constructor(block: Block, bytes: number) {
    this.block = block;
    this.bytes = bytes;
  }
}

/** @throws if the buffer was made by another backend */
export function blockOf(buffer: Buffer): Block {
  if (buffer instanceof GpuBuffer) return buffer.block;
  throw new Error("webgpu: the tensor is on another device; make both after the same device()");
}

/** Bytes that may be reserved in addition to twice what was in use. */
const SPARE = 256 * 2 ** 20;

export class Pool {
  readonly #limit: number;
  readonly #create: (size: number, label: string) => GPUBuffer;
  readonly #free = new Map<number, Block[]>();
  #idle = 0;
  /** The most bytes in use at a time since `empty`. */
  #most = 0;
  #reserved = 0;
  #made = 0;

  /** @param limit the most bytes that the GPU can bind at once */
  constructor(limit: number, create: (size: number, label: string) => GPUBuffer) {
    this.#limit = limit;
    this.#create = create;
  }

  /** Bytes of all blocks, in use or free. */
  get reserved(): number {
    return this.#reserved;
  }

  /**
   * Whether more than twice as much is reserved as was ever in use. This happens after shapes have changed, when the old
   * blocks are no longer used.
   */
  get isBloated(): boolean {
    return this.#reserved > 2 * this.#most + SPARE;
  }

  /** Blocks made so far. */
  get made(): number {
    return this.#made;
  }

  /**
   * @throws if the GPU cannot bind so many bytes. If there is no memory for a new block, the GPU reports it later (faults.ts).
   */
  take(bytes: number): Block {
    const limit = this.#limit;
    if (bytes > limit) {
      throw new OutOfMemoryError(
        `a tensor of ${mib(bytes)} is too large for this GPU, which binds at most ${mib(limit)} at ` +
          "once (maxStorageBufferBindingSize): use a smaller batch or smaller pictures",
        { largest: limit },
      );
    }
    const size = Math.min(sizeClass(bytes), Math.floor(limit / 4) * 4);
    const block = this.#free.get(size)?.shift();
    if (block) this.#idle -= size;
    else this.#reserved += size;
    this.#most = Math.max(this.#most, this.#reserved - this.#idle);
    if (block) return block;
    const id = ++this.#made;
    return { id, size, handle: this.#create(size, `block ${id}`), usedIn: -1 };
  }

  /** Destroys all free blocks. No recorded call may use one of them. */
  empty(): void {
    for (const { handle } of [...this.#free.values()].flat()) handle.destroy();
    this.#free.clear();
    this.#most = this.#reserved -= this.#idle;
    this.#idle = 0;
  }

  give(block: Block): void {
    this.#idle += block.size;
    const list = this.#free.get(block.size) ?? [];
    this.#free.set(block.size, list);
    let at = list.length;
    while (at > 0 && list[at - 1].id > block.id) at--;
    list.splice(at, 0, block);
  }
}

function sizeClass(bytes: number): number {
  const quarter = Math.max(64, 2 ** Math.floor(Math.log2(Math.max(1, bytes))) / 4);
  return Math.max(256, Math.ceil(bytes / quarter) * quarter);
}
