// The CPU backend: it keeps tensors in WebAssembly's memory, and has a table of the functions that launch each kernel.
import type { Backend } from "../backend.ts";
import { checkAccess, checkCall } from "../bounds.ts";
import { type Buffer, type DType, retire, type TypedArray, type Values } from "../buffer.ts";
import type { Calls, KernelName, KernelTable } from "../kernels.ts";
import { conv2d, conv2dInputGrad, conv2dWeightGrad, matmul } from "./launch/convolution.ts";
import { gather, nearestCode, scatterAdd } from "./launch/codebook.ts";
import { adam, binary, copy, fill, unary } from "./launch/elementwise.ts";
import {
  groupedConv2d,
  groupedConv2dInputGrad,
  groupedConv2dWeightGrad,
} from "./launch/grouped_convolution.ts";
import { lpipsDistance, lpipsDistanceGrad } from "./launch/lpips.ts";
import { groupNorm, groupNormApply, groupNormGrad, groupNormStats } from "./launch/norm.ts";
import { avgPool2d, avgPool2dGrad, maxPool2d, maxPool2dGrad } from "./launch/pool.ts";
import { argmax, softmax, softmaxGrad, sumColumns, sumRows } from "./launch/reduction.ts";
import { addressOf, Machine, MAX_BYTES, WasmBuffer } from "./machine.ts";
import { WIDE } from "./wide.ts";

/** Each function lays out the arguments of its kernel, cuts the work into tiles and runs them on all threads. */
const launches: KernelTable<Machine> = {
  fill,
  unary,
  binary,
  copy,
  sumRows,
  sumColumns,
  gather,
  scatterAdd,
  matmul,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  groupedConv2d,
  groupedConv2dInputGrad,
  groupedConv2dWeightGrad,
  softmax,
  softmaxGrad,
  argmax,
  nearestCode,
  groupNorm,
  groupNormStats,
  groupNormApply,
  groupNormGrad,
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
  lpipsDistance,
  lpipsDistanceGrad,
  adam,
};

export class WasmBackend implements Backend {
  readonly name = "cpu";
  readonly hasF16 = false;
  /** @internal */
  readonly machine: Machine;
  /** All buffers that are not freed yet. */
  readonly #buffers = new Set<WasmBuffer>();

  /** @param maxBytes the most that all tensors may take together */
  constructor(maxBytes: number = MAX_BYTES) {
    this.machine = new Machine(maxBytes);
  }

  /** Resolves when all threads have started. Without this call they start with the first kernel, and join one by one. */
  ready(): Promise<void> {
    return this.machine.start();
  }

  get maxBytes(): number {
    return this.machine.allocator.limit;
  }

  get description(): string {
    const threads = this.threads === 1 ? "1 thread" : `${this.threads} threads`;
    return `CPU, ${threads}, vectors of ${this.wide ? 256 : 128} bits`;
  }

  /** How many threads compute. */
  get threads(): number {
    return this.machine.threads;
  }

  /** Whether multiply and add are fused (relaxed SIMD). */
  get relaxedSimd(): boolean {
    return this.machine.relaxedSimd;
  }

  /** Whether vectors have 256 bits (wide.ts). */
  readonly wide = WIDE;

  get exact(): boolean {
    return this.machine.exact;
  }
  set exact(on: boolean) {
    this.machine.exact = on;
  }

  alloc(bytes: number): Buffer {
    const { allocator } = this.machine;
    // buffers may be moved now: no kernel is running, so there is no temporary memory and no address is in use
    allocator.makeRoom(bytes, this.#buffers, (to, from, size) => {
      this.machine.look("i32", to, (from - to + size) / 4).copyWithin(0, (from - to) / 4);
    });
    const buffer = new WasmBuffer(allocator.alloc(bytes), bytes);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: Buffer): void {
    const address = addressOf(buffer);
    retire(buffer);
    this.machine.allocator.free(address, buffer.bytes);
    this.#buffers.delete(buffer as WasmBuffer);
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    checkAccess("write", buffer, offset, values.length);
    const dtype = values instanceof Int32Array ? "i32" : "f32";
    this.machine.look(dtype, addressOf(buffer) + offset * 4, values.length).set(values);
  }

  read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values> {
    return Promise.resolve(this.peek(buffer, dtype, offset, length));
  }

  peek(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Values {
    checkAccess("read", buffer, offset, length);
    // slice() copies a view of shared memory into memory that is not shared
    return this.machine.look(dtype, addressOf(buffer) + offset * 4, length).slice();
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.machine.allocator.reserved };
  }

  /** Lets other events run. There is nothing to wait for, because kernels have finished when `run` returns. */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  run<K extends KernelName>(name: K, call: Calls[K]): void {
    checkCall(this, name, call);
    launches[name](this.machine, call);
  }
}
