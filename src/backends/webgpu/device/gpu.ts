// The GPU as launch/ uses it. Calls of kernels are recorded in a command encoder, which is submitted when values are read,
// at a pause, or when it is full.
import { variable } from "../../../environment.ts";
import { OutOfMemoryError } from "../../backend.ts";
import {
  type Buffer,
  type DType,
  mib,
  retire,
  type Slot,
  type TypedArray,
  type Values,
} from "../../buffer.ts";
import type { Dispatch, Params } from "../kernels/source.ts";
import type { Madd, MatrixShape } from "../kernels/tile.ts";
import { THREADS } from "../kernels/wgsl.ts";
import type { AdapterReport } from "./adapter.ts";
import { Faults } from "./faults.ts";
import { type Block, blockOf, GpuBuffer, Pool } from "./memory.ts";
import { PARAMS, Pipelines, type Variant } from "./pipelines.ts";
import { MOST, Stopwatch } from "./stopwatch.ts";
import type { Clock, Tuner } from "./tuner.ts";

// WebGPU's flags; Bun does not have their names
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, UNIFORM = 0x40, STORAGE = 0x80;
/**
 * The number of calls in an encoder. The first one after a read has few calls, because the GPU is idle. The number then
 * doubles each time, because the GPU computes while more calls are recorded.
 */
const FEWEST = 64, CALLS = MOST;

/** What open.ts opens. */
export interface Opened {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly report: AdapterReport;
  readonly tuner: Tuner;
  /** The shape of the subgroup matrices that multiply f16, if there are any. */
  readonly matrix: MatrixShape | null;
}

export class Gpu implements Clock {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly report: AdapterReport;
  readonly matrix: MatrixShape | null;
  tuner: Tuner;
  /** Called for every call of a kernel, with its name and the bytes of its operands, each of which moves at least once. */
  trace: ((name: string, bytes: number) => void) | null = null;
  /** If it is set, every call is timed, in a pass of its own. */
  stopwatch: Stopwatch | null = null;
  /**
   * Whether convolutions are computed by their definition. Winograd's algorithm was faster only on software GPUs.
   */
  exact: boolean;
  readonly #pool: Pool;
  readonly #faults: Faults;
  readonly #pipelines: Pipelines;
  readonly #readers = new Map<number, GPUBuffer[]>();
  /** The params of the encoder's calls: the buffer on the GPU, and the values until the encoder is submitted. */
  readonly #params: GPUBuffer;
  readonly #staged = new DataView(new ArrayBuffer(CALLS * PARAMS));
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #encoders = 0;
  #calls = 0;
  #limit = FEWEST;
  #totals = { calls: 0, submits: 0 };
  /** Resolves when the GPU has finished what the last pause submitted. */
  #done: Promise<unknown> = Promise.resolve(undefined);

  constructor({ adapter, device, report, tuner, matrix }: Opened) {
    this.adapter = adapter;
    this.device = device;
    this.report = report;
    this.tuner = tuner;
    this.matrix = matrix;
    this.exact = Boolean(Number(variable("TESSERA_EXACT") ?? !report.isSoftware));
    const limit = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    this.#pool = new Pool(limit, (size, label) => this.#createBlock(size, label));
    this.#params = device.createBuffer({
      label: "params",
      size: CALLS * PARAMS,
      usage: UNIFORM | COPY_DST,
    });
    this.#faults = new Faults(device);
    this.#pipelines = new Pipelines(device, this.#faults, this.#params);
  }

  /** How much was made and done so far. In a training run, only calls and submits increase after the second step. */
  get counts(): { buffers: number; pipelines: number; bindGroups: number; calls: number; submits: number } {
    return {
      buffers: this.#pool.made,
      ...this.#pipelines.counts,
      ...this.#totals,
    };
  }

  /** Bytes of the GPU's memory that are reserved. */
  get reserved(): number {
    return this.#pool.reserved;
  }

  /**
   * The text of a multiply-add. It uses fma explicitly, so that all kinds of tiles round in the same way, except on software
   * GPUs, whose drivers emulate fma slowly.
   */
  readonly madd: Madd = (sum, a, b) =>
    this.report.isSoftware ? `${sum} + ${a} * ${b}` : `fma(vec4f(${a}), ${b}, ${sum})`;

  /** The number of threads that add up a sum together. On a software GPU every thread that waits at a barrier costs time. */
  get team(): number {
    return this.report.isSoftware ? 8 : THREADS;
  }

  /** Whether four neighbouring threads load for each other. On real GPUs the workgroup's memory is faster. */
  get hasQuads(): boolean {
    return this.report.isSoftware && this.device.features.has("subgroups");
  }

  get hasF16(): boolean {
    return this.device.features.has("shader-f16");
  }

  alloc(bytes: number): GpuBuffer {
    return new GpuBuffer(this.#pool.take(bytes), bytes);
  }

  free(buffer: Buffer): void {
    retire(buffer);
    this.#pool.give(blockOf(buffer));
  }

  /** Calls `body` with memory for `length` elements, which is freed afterwards. */
  with<T>(length: number, body: (scratch: Slot) => T, itemBytes: Slot["itemBytes"] = 4): T {
    const buffer = this.alloc(length * itemBytes);
    try {
      return body({ buffer, offset: 0, length, itemBytes });
    } finally {
      this.free(buffer);
    }
  }

  /** Records a call. */
  run(dispatch: Dispatch): void {
    const { name, operands, groups } = dispatch;
    if (groups === 0) return;
    if (this.#calls === this.#limit) {
      this.flush();
      this.#limit = Math.min(2 * this.#limit, CALLS);
    }
    this.#faults.check();
    const blocks = operands.map(({ buffer }) => blockOf(buffer));
    const variant = this.#pipelines.variant(dispatch), pass = this.#open(name);
    for (const block of blocks) block.usedIn = this.#encoders;
    this.#set(pass, variant, blocks, this.#calls, dispatch.params);
    this.#dispatch(pass, groups);
    this.#calls++;
    this.#totals.calls++;
    this.trace?.(name, operands.reduce((sum, { length, itemBytes }) => sum + length * itemBytes, 0));
  }

  /** Sets the pipeline, the bind group and the params of call number `call` of an encoder. */
  #set(
    pass: GPUComputePassEncoder,
    variant: Variant,
    blocks: readonly Block[],
    call: number,
    params: Params = {},
  ): void {
    pass.setPipeline(variant.pipeline);
    const group = this.#pipelines.bindGroup(variant, blocks);
    if (variant.params.length === 0) return pass.setBindGroup(0, group);
    const at = call * PARAMS;
    variant.params.forEach(([name, type], i) => {
      if (!(name in params)) throw new Error(`webgpu: ${variant.pipeline.label} lacks the number p.${name}`);
      if (type === "f32") this.#staged.setFloat32(at + 4 * i, params[name], true);
      else this.#staged.setUint32(at + 4 * i, params[name], true);
    });
    pass.setBindGroup(0, group, [at]);
  }

  #dispatch(pass: GPUComputePassEncoder, groups: number): void {
    const rows = Math.ceil(groups / this.device.limits.maxComputeWorkgroupsPerDimension);
    pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
  }

  /** Submits what was recorded to the GPU. */
  flush(): void {
    if (!this.#encoder) return;
    this.#pass?.end();
    this.device.queue.writeBuffer(this.#params, 0, this.#staged.buffer, 0, this.#calls * PARAMS);
    if (this.stopwatch) this.stopwatch.submit(this.#encoder);
    else this.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = this.#pass = null;
    this.#encoders++;
    this.#calls = 0;
    this.#totals.submits++;
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    const block = blockOf(buffer);
    // the queue writes at once, but recorded calls that are not submitted yet must still read the old values
    if (block.usedIn === this.#encoders) this.flush();
    this.device.queue.writeBuffer(
      block.handle,
      offset * 4,
      values.buffer as ArrayBuffer,
      values.byteOffset,
      values.byteLength,
    );
  }

  /** @throws the first error of the GPU */
  async read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values> {
    const bytes = length * 4;
    if (bytes === 0) return dtype === "i32" ? new Int32Array(0) : new Float32Array(0);
    const size = Math.max(256, 2 ** Math.ceil(Math.log2(bytes)));
    const free = this.#readers.get(size) ?? [];
    this.#readers.set(size, free);
    const reader = free.pop() ??
      this.device.createBuffer({ label: "reader", size, usage: MAP_READ | COPY_DST });
    this.#pass?.end();
    this.#pass = null;
    this.#encoder ??= this.device.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(blockOf(buffer).handle, offset * 4, reader, 0, bytes);
    this.flush();
    try {
      await reader.mapAsync(1, 0, bytes);
    } catch (error) {
      await Promise.race([this.#faults.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
      await this.#faults.settle(); // throws the GPU's error, which says more than this one
      throw error;
    }
    const copy = reader.getMappedRange(0, bytes).slice(0);
    reader.unmap();
    free.push(reader);
    this.#limit = FEWEST;
    await this.#faults.settle();
    return dtype === "i32" ? new Int32Array(copy) : new Float32Array(copy);
  }

  /**
   * Submits what was recorded, and waits until the GPU has finished what the previous pause submitted. So the program is
   * never further ahead of the GPU than the work of two pauses. Also measures tiles for new shapes (tuner.ts).
   * @throws the first error of the GPU
   */
  async pause(): Promise<void> {
    this.flush();
    const before = this.#done;
    this.#done = this.device.queue.onSubmittedWorkDone();
    await before;
    await this.#faults.settle();
    await this.tuner.measure(this);
  }

  async time(trials: readonly Dispatch[], calls: number): Promise<number[]> {
    this.flush();
    const watch = new Stopwatch(this.device, trials.length);
    const encoder = this.device.createCommandEncoder();
    trials.forEach((trial, i) => {
      const buffers = trial.operands.map(({ buffer }) => this.alloc(buffer.bytes));
      const blocks = buffers.map(blockOf), variant = this.#pipelines.variant(trial);
      // once to warm up, and then with the stopwatch
      for (const count of [1, calls]) {
        const pass = encoder.beginComputePass(count === 1 ? {} : watch.pass(trial.name));
        this.#set(pass, variant, blocks, i, trial.params);
        for (let n = 0; n < count; n++) this.#dispatch(pass, trial.groups);
        pass.end();
      }
      for (const buffer of buffers) this.free(buffer);
    });
    this.device.queue.writeBuffer(this.#params, 0, this.#staged.buffer, 0, trials.length * PARAMS);
    watch.submit(encoder);
    const times = await watch.read();
    await this.#faults.settle();
    return times.map(({ ms }) => ms);
  }

  #createBlock(size: number, label: string): GPUBuffer {
    if (this.#pool.isBloated) {
      this.flush();
      this.#pool.empty();
      this.#pipelines.forgetBindGroups();
    }
    const watch = this.#faults.watch("out-of-memory");
    const handle = this.device.createBuffer({ label, size, usage: STORAGE | COPY_SRC | COPY_DST });
    const { reserved } = this.#pool;
    watch(() =>
      new OutOfMemoryError(
        `out of memory on the GPU: ${mib(size)} requested, which would make ${mib(reserved)} in all; ` +
          "use a smaller batch, smaller pictures, or checkpoint()",
        { total: reserved - size },
      )
    );
    return handle;
  }

  /** The pass for the next call. */
  #open(name: string): GPUComputePassEncoder {
    this.#encoder ??= this.device.createCommandEncoder();
    if (!this.stopwatch) return this.#pass ??= this.#encoder.beginComputePass();
    this.#pass?.end();
    return this.#pass = this.#encoder.beginComputePass(this.stopwatch.pass(name));
  }
}
