// The GPU as kernels see it: calls are recorded into one command encoder, which reads and pauses submit.
import { type Buffer, type DType, OutOfMemoryError, type TypedArray, type Values } from "../backend.ts";
import { type AdapterReport, type FoundAdapter, NoAdapterError } from "./adapter.ts";
import { MATRIX_FEATURE, MATRIX_MEMORY, type MatrixShape, matrixShapeOf } from "./subgroup_matrix.ts";
import { Faults } from "./faults.ts";
import { type Kernel, PARAMS, type Params, Pipelines, type Variant } from "./pipelines.ts";
import { type Block, mib, Pool } from "./memory.ts";
import { prove } from "./self_test.ts";
import { MOST, Stopwatch } from "./stopwatch.ts";
import { cacheFile, type Trial, Tuner } from "./tuner.ts";
import { type Source, THREADS } from "./wgsl.ts";

export class GpuBuffer implements Buffer {
  readonly block: Block;
  readonly bytes: number;
  readonly isHalf: boolean;

  constructor(block: Block, bytes: number, isHalf: boolean) {
    this.block = block;
    this.bytes = bytes;
    this.isHalf = isHalf;
  }
}

// WebGPU's flags, whose names Bun does not have
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, UNIFORM = 0x40, STORAGE = 0x80;
/**
 * Kernel calls in an encoder: few in the first after a read, when the GPU has nothing to do, then twice as many each time,
 * which it computes while the next are recorded.
 */
const FEWEST = 64, CALLS = MOST;
/** The feature of GPUs that know f16. */
const F16 = "shader-f16";
/** That of those that tell how long a pass took. */
const TIME = "timestamp-query";
/** That of those whose threads can exchange numbers without the workgroup's memory. */
const SUBGROUPS = "subgroups";
/** DEBUG=2 prints every kernel as it is recorded. */
const debug = Number(globalThis.process?.env.DEBUG) >= 2;

export class Gpu {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  tuner: Tuner;
  /** Of products by subgroup matrices, if the GPU has them and they have proved right. */
  readonly matrix: MatrixShape | null;

  readonly report: AdapterReport;
  /** Hears of every kernel call: the bytes of the tensors that it binds, which must move at least, and its flops. */
  trace: ((name: string, bytes: number, flops: number) => void) | null = debug
    ? (name, bytes) => console.error(`webgpu ${name}: ${mib(bytes)} MiB`)
    : null;
  /** Times every kernel call, each in a pass of its own, if there is one. */
  stopwatch: Stopwatch | null = null;
  /** Whether convolutions are by their definition alone. Winograd's way was measured, and won, on software only. */
  exact: boolean;
  readonly #pool: Pool;
  readonly #faults: Faults;
  readonly #pipelines: Pipelines;
  readonly #readers = new Map<number, GPUBuffer[]>();
  readonly #params: GPUBuffer;
  readonly #staged = new DataView(new ArrayBuffer(CALLS * PARAMS));
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #encoders = 0;
  #calls = 0;
  #limit = FEWEST;
  #totals = { calls: 0, submits: 0 };
  /** When the GPU has done what it had at the last pause. */
  #done: Promise<undefined> = Promise.resolve(undefined);

  private constructor(
    adapter: GPUAdapter,
    device: GPUDevice,
    report: AdapterReport,
    tuner: Tuner,
    matrix: MatrixShape | null,
  ) {
    this.adapter = adapter;
    this.device = device;
    this.tuner = tuner;
    this.matrix = matrix;
    this.report = report;
    this.exact = Boolean(Number(globalThis.process?.env.TESSERA_EXACT ?? !report.isSoftware));
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

  /**
   * Opens the adapter with all that it allows; matrices of subgroups only where they prove right.
   * @param find the adapter, afresh at each call: an adapter can be opened once
   */
  static async open(find: () => Promise<FoundAdapter>): Promise<Gpu> {
    try {
      const found = await find(), gpu = await Gpu.#request(found, true, matrixShapeOf(found));
      if (await prove(gpu)) return gpu;
      gpu.device.destroy();
    } catch (error) {
      if (error instanceof NoAdapterError) throw error;
      // what may make it faster must not cost more than itself
    }
    return await Gpu.#request(await find(), false, null);
  }

  static async #request(
    { adapter, report }: FoundAdapter,
    withSubgroups: boolean,
    matrix: MatrixShape | null,
  ): Promise<Gpu> {
    const { limits } = adapter, offered: { has(name: string): boolean } = adapter.features;
    const wanted = [F16, TIME, ...withSubgroups ? [SUBGROUPS] : [], ...matrix ? [MATRIX_FEATURE] : []];
    const device = await adapter.requestDevice({
      label: "tessera",
      // whose type has no names of experiments
      requiredFeatures: wanted.filter((name) => offered.has(name)) as GPUFeatureName[],
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        ...(matrix ? { maxComputeWorkgroupStorageSize: MATRIX_MEMORY } : {}),
      },
    });
    const { vendor, architecture } = adapter.info;
    const isOn = device.features.has(TIME) && !report.isSoftware;
    const name = `${report.source}, ${vendor} ${architecture} ${report.name}`;
    const tuner = await Tuner.open(name, isOn ? cacheFile() : null, isOn);
    return new Gpu(adapter, device, report, tuner, matrix);
  }

  /** What was made and done so far: flat in a training run after its second step, but for calls and submits. */
  get counts(): { buffers: number; pipelines: number; bindGroups: number; calls: number; submits: number } {
    return {
      buffers: this.#pool.made,
      ...this.#pipelines.counts,
      ...this.#totals,
    };
  }

  get reserved(): number {
    return this.#pool.reserved;
  }

  /** Joined explicitly, so that tiles of all kinds round alike; where fma is emulated, as drivers of software do, not. */
  readonly madd = (sum: string, a: string, b: string): string =>
    this.report.isSoftware ? `${sum} + ${a} * ${b}` : `fma(vec4f(${a}), ${b}, ${sum})`;

  /** Threads that reduce together. A CPU that plays GPU pays for each thread that waits at a barrier. */
  get team(): number {
    return this.report.isSoftware ? 8 : THREADS;
  }

  /** Whether four neighbouring threads load for each other: GPUs do better with the workgroup's memory. */
  get hasQuads(): boolean {
    return this.report.isSoftware && this.device.features.has(SUBGROUPS);
  }

  get hasF16(): boolean {
    return this.device.features.has(F16);
  }

  alloc(bytes: number, dtype: DType = "f32"): GpuBuffer {
    return new GpuBuffer(this.#pool.take(bytes), bytes, dtype === "f16");
  }

  free(buffer: Buffer): void {
    this.#pool.give(blockOf(buffer));
  }

  /** Memory for the length of `body`. */
  with<T>(bytes: number, body: (buffer: Buffer) => T, dtype: DType = "f32"): T {
    const buffer = this.alloc(bytes, dtype);
    try {
      return body(buffer);
    } finally {
      this.free(buffer);
    }
  }

  /** The kernel of this name. The name tells everything that its text depends on, but for what is f16. */
  kernel(name: string, source: () => Source): Kernel {
    return this.#pipelines.kernel(name, source);
  }

  /**
   * Records one call: buffers in the order of the kernel's inputs and outputs.
   * @param groups how many workgroups
   * @param flops multiplications and additions, where they may be what takes the time
   */
  run(kernel: Kernel, buffers: readonly Buffer[], groups: number, params: Params = {}, flops = 0): void {
    if (groups === 0) return;
    if (this.#calls === this.#limit) {
      this.flush();
      this.#limit = Math.min(2 * this.#limit, CALLS);
    }
    this.#faults.check();
    const own = buffers.map(ofGpu), variant = this.#pipelines.variant(kernel, own);
    for (const { block } of own) block.usedIn = this.#encoders;
    const pass = this.#open(kernel.name);
    this.#set(pass, variant, own, this.#calls, params);
    this.#dispatch(pass, groups);
    this.#calls++;
    this.#totals.calls++;
    this.trace?.(kernel.name, buffers.reduce((sum, { bytes }) => sum + bytes, 0), flops);
  }

  /** What call number `call` of the encoder is about. */
  #set(
    pass: GPUComputePassEncoder,
    variant: Variant,
    buffers: readonly GpuBuffer[],
    call: number,
    params: Params,
  ): void {
    pass.setPipeline(variant.pipeline);
    const group = this.#pipelines.bindGroup(variant, buffers.map(({ block }) => block));
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

  /** Hands what was recorded to the GPU. */
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
    // the queue writes before what is only recorded: that must not see the new values
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
      await this.settle(); // which knows more
      throw error;
    }
    const copy = reader.getMappedRange(0, bytes).slice(0);
    reader.unmap();
    free.push(reader);
    this.#limit = FEWEST;
    await this.settle();
    return dtype === "i32" ? new Int32Array(copy) : new Float32Array(copy);
  }

  /**
   * Hands over what was recorded, and waits until the GPU has done what it was handed at the pause before: whoever
   * pauses now and then stays at most two such stretches ahead of it. @throws the first fault
   */
  async pause(): Promise<void> {
    this.flush();
    const before = this.#done;
    this.#done = this.device.queue.onSubmittedWorkDone();
    await before;
    await this.settle();
    await this.tuner.measure(this);
  }

  /** Milliseconds of `calls` calls of each trial, on memory of their own. */
  async time(trials: readonly Trial[], calls: number): Promise<number[]> {
    this.flush();
    const watch = new Stopwatch(this.device, trials.length);
    const encoder = this.device.createCommandEncoder();
    trials.forEach(({ kernel, groups, buffers, params }, i) => {
      const own = buffers.map(({ bytes, isHalf }) => this.alloc(bytes, isHalf ? "f16" : "f32"));
      const variant = this.#pipelines.variant(kernel, own);
      // once to warm up, then for the clock
      for (const count of [1, calls]) {
        const pass = encoder.beginComputePass(count === 1 ? {} : watch.pass(kernel.name));
        this.#set(pass, variant, own, i, params);
        for (let n = 0; n < count; n++) this.#dispatch(pass, groups);
        pass.end();
      }
      for (const buffer of own) this.free(buffer);
    });
    this.device.queue.writeBuffer(this.#params, 0, this.#staged.buffer, 0, trials.length * PARAMS);
    watch.submit(encoder);
    const times = await watch.read();
    await this.settle();
    return times.map(({ ms }) => ms);
  }

  /** Waits until every fault of what was recorded is known. @throws the first one */
  settle(): Promise<void> {
    return this.#faults.settle();
  }

  #createBlock(size: number, label: string): GPUBuffer {
    if (this.#pool.isBloated) {
      this.flush();
      this.#pool.empty();
      this.#pipelines.forgetBindGroups(); // some are of blocks that are no more
    }
    const watch = this.#faults.watch("out-of-memory");
    const handle = this.device.createBuffer({ label, size, usage: STORAGE | COPY_SRC | COPY_DST });
    const { reserved } = this.#pool;
    watch(() =>
      new OutOfMemoryError(
        `out of memory on the GPU: ${mib(size)} MiB asked, ${mib(reserved)} MiB with it; ` +
          "use a smaller batch, smaller pictures, or checkpoint()",
        { total: reserved - size },
      )
    );
    return handle;
  }

  #open(name: string): GPUComputePassEncoder {
    this.#encoder ??= this.device.createCommandEncoder();
    if (!this.stopwatch) return this.#pass ??= this.#encoder.beginComputePass();
    this.#pass?.end();
    return this.#pass = this.#encoder.beginComputePass(this.stopwatch.pass(name));
  }
}

const blockOf = (buffer: Buffer): Block => ofGpu(buffer).block;

export function ofGpu(buffer: Buffer): GpuBuffer {
  if (buffer instanceof GpuBuffer) return buffer;
  throw new Error("webgpu: the tensor lives on another device; make both after the same device()");
}

/** What floats a buffer holds. */
export const dtypeOf = (buffer: Buffer): "f32" | "f16" => ofGpu(buffer).isHalf ? "f16" : "f32";
