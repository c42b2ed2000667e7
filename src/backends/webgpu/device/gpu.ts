// The GPU as launch/ sees it: calls are recorded into one command encoder, which reads and pauses submit.
import { variable } from "../../../environment.ts";
import { OutOfMemoryError } from "../../backend.ts";
import { type Buffer, type DType, mib, type Slot, type TypedArray, type Values } from "../../buffer.ts";
import type { Dispatch, Params } from "../kernels/source.ts";
import type { Madd, MatrixShape } from "../kernels/tile.ts";
import { THREADS } from "../kernels/wgsl.ts";
import type { AdapterReport } from "./adapter.ts";
import { Faults } from "./faults.ts";
import { type Block, blockOf, GpuBuffer, Pool } from "./memory.ts";
import { PARAMS, Pipelines, type Variant } from "./pipelines.ts";
import { MOST, Stopwatch } from "./stopwatch.ts";
import type { Clock, Tuner } from "./tuner.ts";

// WebGPU's flags, because Bun lacks their names
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, UNIFORM = 0x40, STORAGE = 0x80;
/**
 * Calls in one encoder: few in the first one after a read, when the GPU has nothing to do, then twice as many each
 * time, since the GPU computes while the next are recorded.
 */
const FEWEST = 64, CALLS = MOST;

/** What is opened (open.ts). */
export interface Opened {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly report: AdapterReport;
  readonly tuner: Tuner;
  /** The matrices that products of f16 go through, if there are any. */
  readonly matrix: MatrixShape | null;
}

export class Gpu implements Clock {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly report: AdapterReport;
  readonly matrix: MatrixShape | null;
  tuner: Tuner;
  /** Is told of every call: the kernel's name, and the bytes of its operands, each of which must move at least once. */
  trace: ((name: string, bytes: number) => void) | null = null;
  /** If there is one, it times every call, each in a pass of its own. */
  stopwatch: Stopwatch | null = null;
  /**
   * Whether convolutions are computed by their definition alone. Winograd's way proved faster on software GPUs only.
   */
  exact: boolean;
  readonly #pool: Pool;
  readonly #faults: Faults;
  readonly #pipelines: Pipelines;
  readonly #readers = new Map<number, GPUBuffer[]>();
  /** The numbers of the encoder's calls: on the GPU, and here until the encoder is submitted. */
  readonly #params: GPUBuffer;
  readonly #staged = new DataView(new ArrayBuffer(CALLS * PARAMS));
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #encoders = 0;
  #calls = 0;
  #limit = FEWEST;
  #totals = { calls: 0, submits: 0 };
  /** Resolves when the GPU has done what was submitted by the last pause. */
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

  /** What was made and done so far. In a training run only calls and submits rise after the second step. */
  get counts(): { buffers: number; pipelines: number; bindGroups: number; calls: number; submits: number } {
    return {
      buffers: this.#pool.made,
      ...this.#pipelines.counts,
      ...this.#totals,
    };
  }

  /** Bytes of the GPU's memory that are taken. */
  get reserved(): number {
    return this.#pool.reserved;
  }

  /**
   * Writes a sum and a product. They are fused explicitly, so that tiles of all kinds round alike; not on software
   * GPUs, whose drivers emulate fma.
   */
  readonly madd: Madd = (sum, a, b) =>
    this.report.isSoftware ? `${sum} + ${a} * ${b}` : `fma(vec4f(${a}), ${b}, ${sum})`;

  /** Threads that add up together. On a software GPU each thread that waits at a barrier costs time. */
  get team(): number {
    return this.report.isSoftware ? 8 : THREADS;
  }

  /** Whether four neighbouring threads load for each other. Real GPUs do better with the workgroup's memory. */
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

  /** Sets the pipeline, the bind group and the numbers of call number `call` of an encoder. */
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
      if (!(name in params)) throw new Error(`webgpu: no number p.${name} for ${variant.pipeline.label}`);
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
    // the queue writes at once, and what is recorded but not yet submitted must not see the new values
    if (block.usedIn === this.#encoders) this.flush();
    this.device.queue.writeBuffer(
      block.handle,
      offset * 4,
      values.buffer as ArrayBuffer,
      values.byteOffset,
      values.byteLength,
    );
  }

  /** @throws what went wrong on the GPU since the last read */
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
      await this.#faults.settle(); // throws the fault, which says more
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
   * Submits what was recorded, and waits until the GPU has done what the pause before had submitted, so that a program
   * is never further ahead of the GPU than two stretches between pauses. Measures tiles, if there are new questions.
   * @throws the first fault
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
      // once to warm up, then for the clock
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
        `out of memory on the GPU: ${mib(size)} asked, ${mib(reserved)} with it; ` +
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
