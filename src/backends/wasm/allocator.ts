// The allocator of WebAssembly's memory: best fit over a list of free blocks, which is sorted by address.
import { OutOfMemoryError } from "../backend.ts";
import { isWhole } from "../../check.ts";
import { mib } from "../buffer.ts";

const ALIGN = 64;
/**
 * The most bytes after an operand that a kernel reads. It does not use them: they are the rest of the last vector, or of a
 * panel of 16 floats. Every block ends with as many bytes that belong to nothing else.
 */
export const OVERREAD = 60;
/** The size from which moving other blocks is worth it: filling such a block takes far longer than moving twice as much. */
const LARGE = 256 * 2 ** 20;
const MOVES = 2;

interface Block {
  at: number;
  bytes: number;
}

/** A block that can be moved. Its users must read its address anew each time. */
export interface Movable {
  at: number;
  readonly bytes: number;
}

/** Allocates aligned ranges of the addresses from `start` to `limit`. */
export class Allocator {
  readonly limit: number;

  readonly #free: Block[] = [];
  #end: number;
  #used = 0;

  constructor(start: number, limit: number) {
    this.limit = limit;
    this.#end = Math.ceil(start / ALIGN) * ALIGN;
  }

  get reserved(): number {
    return this.#end;
  }

  /** @throws if the memory is exhausted, with the numbers, or the size is not a whole number */
  alloc(bytes: number): number {
    if (!isWhole(bytes)) throw new RangeError(`alloc: ${bytes} bytes, expected a whole number >= 0`);
    const size = sizeOf(bytes);
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      const b = this.#free[i].bytes;
      if (b >= size && (best < 0 || b < this.#free[best].bytes)) {
        best = i;
        if (b === size) break;
      }
    }
    this.#used += size;
    if (best >= 0) {
      const block = this.#free[best];
      const at = block.at;
      if (block.bytes === size) this.#free.splice(best, 1);
      else {
        block.at += size;
        block.bytes -= size;
      }
      return at;
    }
    // No free block fits, so take new addresses. If the last block before them is free, begin there.
    const last = this.#free.at(-1);
    const tail = last && last.at + last.bytes === this.#end ? last : null;
    const at = tail ? tail.at : this.#end;
    if (at + size > this.limit) {
      this.#used -= size;
      throw new OutOfMemoryError(
        `out of memory: ${mib(size)} requested, ${mib(this.#used)} in use of at most ${
          mib(this.limit)
        } on the CPU; ` +
          `use a smaller batch, smaller pictures, or checkpoint()`,
        { total: this.limit },
      );
    }
    if (tail) this.#free.pop();
    this.#end = at + size;
    return at;
  }

  free(at: number, bytes: number): void {
    const size = sizeOf(bytes);
    this.#used -= size;
    let low = 0, high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle].at < at) low = middle + 1;
      else high = middle;
    }
    const before = this.#free[low - 1], after = this.#free[low];
    const joinsBefore = before && before.at + before.bytes === at;
    const joinsAfter = after && at + size === after.at;
    if (joinsBefore && joinsAfter) {
      before.bytes += size + after.bytes;
      this.#free.splice(low, 1);
    } else if (joinsBefore) before.bytes += size;
    else if (joinsAfter) {
      after.at = at;
      after.bytes += size;
    } else this.#free.splice(low, 0, { at, bytes: size });
  }

  /**
   * Call this before a large block is allocated. If the block would take new addresses, this moves other blocks down over
   * the gaps between them, so that the new block can begin lower. New addresses are costly, because memory that was once
   * touched never goes back to the system.
   *
   * @param blocks all blocks in use
   * @param move copies bytes to a lower address; the ranges may overlap
   */
  makeRoom(
    bytes: number,
    blocks: Iterable<Movable>,
    move: (to: number, from: number, bytes: number) => void,
  ): void {
    const size = sizeOf(bytes);
    if (size < LARGE || this.#free.some((gap) => gap.bytes >= size)) return;
    let lowest = -1, top = this.#end, above = 0;
    for (let i = this.#free.length - 1; i >= 0; i--) {
      const gap = this.#free[i];
      above += top - gap.at - gap.bytes;
      top = gap.at;
      if (above > MOVES * size) break;
      if (above > 0 && gap.bytes >= size / 16) lowest = i;
    }
    if (lowest < 0) return;
    let to = this.#free[lowest].at;
    for (const block of [...blocks].filter(({ at }) => at > to).sort((a, b) => a.at - b.at)) {
      const size = sizeOf(block.bytes);
      move(to, block.at, size);
      block.at = to;
      to += size;
    }
    this.#free.splice(lowest, this.#free.length, { at: to, bytes: this.#end - to });
  }
}

/** The bytes that a block takes, with those that kernels may read after it, rounded up for alignment. */
function sizeOf(bytes: number): number {
  return Math.ceil((bytes + OVERREAD) / ALIGN) * ALIGN;
}
