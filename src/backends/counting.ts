// A backend that computes nothing. It counts how much memory and work a program would take.
import type { Backend } from "./backend.ts";
import { type Buffer, type DType, retire, type Slot, type Values } from "./buffer.ts";
import { type KernelFacts, kernels, type OperandName } from "./facts.ts";
import type { Calls, KernelName } from "./kernels.ts";

/** How much a kernel computes and moves. */
export interface Work {
  /** The number of operations by the definition. */
  readonly flops: number;
  /** The bytes that must at least be read and written. */
  readonly bytes: number;
}

/** The work of a call, computed from its operands and sizes. */
export function workOf<K extends KernelName>(name: K, call: Calls[K]): Work {
  const { operands, flops }: KernelFacts<Calls[K]> = kernels[name];
  let bytes = 0;
  for (const operand of Object.keys(operands) as OperandName<Calls[K]>[]) {
    const { isRead, isWritten } = operands[operand], slot = call[operand] as Slot | null;
    if (slot) bytes += slot.length * slot.itemBytes * (Number(isRead) + Number(isWritten));
  }
  return { flops: flops(call), bytes };
}

/** The work of all calls of a kernel. */
export interface Total extends Work {
  readonly calls: number;
}

export class CountingBackend implements Backend {
  readonly name = "counting";
  readonly description = "counts memory and work, computes nothing";
  readonly hasF16 = true;
  #bytes = 0;
  /** The most bytes held at a time, and the bytes of the largest tensor. */
  peak = 0;
  largest = 0;
  /** The work of each kernel so far. */
  readonly totals = new Map<KernelName, Total>();

  /** The work of all kernels so far. */
  get total(): Total {
    return [...this.totals.values()].reduce(add, { calls: 0, flops: 0, bytes: 0 });
  }

  alloc(bytes: number): Buffer {
    this.#bytes += bytes;
    this.peak = Math.max(this.peak, this.#bytes);
    this.largest = Math.max(this.largest, bytes);
    return { bytes };
  }

  free(buffer: Buffer): void {
    retire(buffer);
    this.#bytes -= buffer.bytes;
  }

  write(): void {}

  /** Returns zeros. */
  read(_buffer: Buffer, dtype: Exclude<DType, "f16">, _offset: number, length: number): Promise<Values> {
    return Promise.resolve(dtype === "i32" ? new Int32Array(length) : new Float32Array(length));
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#bytes };
  }

  pause(): Promise<void> {
    return Promise.resolve();
  }

  /** Counts a call. It is not checked, because nothing runs: tensors here may be larger than any memory. */
  run<K extends KernelName>(name: K, call: Calls[K]): void {
    const before = this.totals.get(name), work = { calls: 1, ...workOf(name, call) };
    this.totals.set(name, before ? add(before, work) : work);
  }
}

const add = (a: Total, b: Total): Total => ({
  calls: a.calls + b.calls,
  flops: a.flops + b.flops,
  bytes: a.bytes + b.bytes,
});
