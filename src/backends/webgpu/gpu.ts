// The GPU as kernels see it: calls are recorded into one command encoder, which reads and pauses submit. Pipelines and
// bind groups are made once, pipelines for each combination of f32 and f16 buffers that a kernel meets. Faults of the GPU come late: they are thrown at the next read or pause, with the kernel's name.
import { type Buffer, type DType, OutOfMemoryError, type TypedArray, type Values } from "../backend.ts";
import type { AdapterReport, FoundAdapter } from "./adapter.ts";
import { type Block, mib, Pool } from "./pool.ts";
import { cacheFile, type Trial, Tuner } from "./tune.ts";
import { shader, type Source } from "./wgsl.ts";

export class GpuBuffer implements Buffer {
  constructor(readonly block: Block, readonly bytes: number, readonly isHalf: boolean) {}
}

export interface Kernel {
  readonly name: string;
  readonly source: () => Source;
  /** By which of its buffers hold f16. */
  readonly variants: Map<string, Variant>;
}

interface Variant {
  readonly pipeline: GPUComputePipeline;
  readonly layout: { readonly id: number; readonly group: GPUBindGroupLayout };
  readonly params: readonly ("u32" | "f32")[];
  readonly flops: number;
}

// WebGPU's flags, whose names Bun does not have
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, UNIFORM = 0x40, STORAGE = 0x80, QUERY_RESOLVE = 0x200;
const COMPUTE = 4;
/** Kernel calls in an encoder at most, so that the GPU begins before the whole step is recorded. */
const CALLS = 2048;
/** Bytes of the numbers that accompany a call: the largest alignment that WebGPU may ask for. */
const PARAMS = 256;
/** The feature of GPUs that know f16. */
const F16 = "shader-f16";
/** That of those that tell how long a pass took. */
const TIME = "timestamp-query";
/** DEBUG=2 prints every kernel as it is recorded. */
const debug = Number(globalThis.process?.env.DEBUG) >= 2;

export class Gpu {
  readonly report: AdapterReport;
  /** Hears of every kernel call: the bytes of the tensors that it binds, which must move at least, and its flops. */
  trace: ((name: string, bytes: number, flops: number) => void) | null = debug
    ? (name, bytes) => console.error(`webgpu ${name}: ${mib(bytes)} MiB`)
    : null;
  /** Whether convolutions are by their definition alone. Winograd's way was measured, and won, on software only. */
  exact: boolean;
  readonly #pool: Pool;
  readonly #kernels = new Map<string, Kernel>();
  readonly #layouts = new Map<string, Variant["layout"] & { readonly pipeline: GPUPipelineLayout }>();
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #readers = new Map<number, GPUBuffer[]>();
  readonly #params: GPUBuffer;
  readonly #staged = new DataView(new ArrayBuffer(CALLS * PARAMS));
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #encoders = 0;
  #pipelines = 0;
  #calls = 0;
  #totals = { calls: 0, submits: 0 };
  /** The first fault that was watched for, and the first other one, which may follow from it. */
  #cause: Error | null = null;
  #consequence: Error | null = null;
  readonly #lost: Promise<void>;
  /** When the GPU has done what it had at the last pause. */
  #done: Promise<undefined> = Promise.resolve(undefined);
  /** Answers of error scopes that are still on their way. */
  #checks: Promise<void>[] = [];

  private constructor(
    readonly adapter: GPUAdapter,
    readonly device: GPUDevice,
    report: AdapterReport,
    public tuner: Tuner,
  ) {
    this.report = report;
    this.exact = Boolean(Number(globalThis.process?.env.TESSERA_EXACT ?? !report.isSoftware));
    const limit = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    this.#pool = new Pool(limit, (size, label) => this.#createBlock(size, label));
    this.#params = device.createBuffer({
      label: "params",
      size: CALLS * PARAMS,
      usage: UNIFORM | COPY_DST,
    });
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#consequence ??= new Error(`WebGPU: ${(event as GPUUncapturedErrorEvent).error.message}`);
    });
    this.#lost = device.lost.then(({ message }) => {
      this.#cause ??= new Error(
        `the GPU was lost (${message || "no reason given"}): what was not saved is gone; start again`,
      );
    });
  }

  /** Opens the adapter with all that it allows. */
  static async open({ adapter, report }: FoundAdapter): Promise<Gpu> {
    const { limits } = adapter;
    const device = await adapter.requestDevice({
      label: "tessera",
      requiredFeatures: ([F16, TIME] as const).filter((feature) => adapter.features.has(feature)),
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      },
    });
    const { vendor, architecture } = adapter.info;
    const isOn = device.features.has(TIME) && !report.isSoftware;
    const name = `${report.source}, ${vendor} ${architecture} ${report.name}`;
    const tuner = await Tuner.open(name, isOn ? cacheFile() : null, isOn);
    return new Gpu(adapter, device, report, tuner);
  }

  /** What was made and done so far: flat in a training run after its second step, but for calls and submits. */
  get counts(): { buffers: number; pipelines: number; bindGroups: number; calls: number; submits: number } {
    return {
      buffers: this.#pool.made,
      pipelines: this.#pipelines,
      bindGroups: this.#groups.size,
      ...this.#totals,
    };
  }

  get reserved(): number {
    return this.#pool.reserved;
  }

  /** Joined explicitly, so that tiles of all kinds round alike; where fma is emulated, as drivers of software do, not. */
  readonly madd = (sum: string, a: string, b: string): string =>
    this.report.isSoftware ? `${sum} += ${a} * ${b};` : `${sum} = fma(vec4f(${a}), ${b}, ${sum});`;

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
    let kernel = this.#kernels.get(name);
    if (!kernel) this.#kernels.set(name, kernel = { name, source, variants: new Map() });
    return kernel;
  }

  /** What computes with these buffers, compiled on first use. */
  #variant({ name, source, variants }: Kernel, buffers: readonly GpuBuffer[]): Variant {
    let key = "";
    for (const { isHalf } of buffers) key += isHalf ? "h" : "f";
    const known = variants.get(key);
    if (known) return known;
    const text = source();
    const params = Object.values(text.params ?? {});
    const [inputs, outputs] = [text.inputs, text.outputs].map((list) => Object.keys(list).length);
    const layout = this.#layout(inputs, outputs, params.length > 0);
    const watch = this.#watch("validation");
    const code = shader(text, buffers.map(({ isHalf }) => isHalf));
    const module = this.device.createShaderModule({ label: name, code });
    const pipeline = this.device.createComputePipeline({
      label: name,
      layout: layout.pipeline,
      compute: { module, entryPoint: "main" },
    });
    watch((message) => new Error(`kernel ${name}: ${message}`));
    const variant = { pipeline, layout, params, flops: text.flops ?? 0 };
    variants.set(key, variant);
    this.#pipelines++;
    return variant;
  }

  /** Records one call: buffers in the order of the kernel's inputs and outputs. */
  run(kernel: Kernel, buffers: readonly Buffer[], groups: number, params: readonly number[] = []): void {
    if (groups === 0) return;
    if (this.#calls === CALLS) this.flush();
    this.#throwFault();
    const own = buffers.map(ofGpu), variant = this.#variant(kernel, own);
    const pass = this.#open();
    pass.setPipeline(variant.pipeline);
    const group = this.#bindGroup(variant, own.map(({ block }) => block));
    if (variant.params.length > 0) {
      const at = this.#calls * PARAMS;
      variant.params.forEach((type, i) => {
        if (type === "f32") this.#staged.setFloat32(at + 4 * i, params[i], true);
        else this.#staged.setUint32(at + 4 * i, params[i], true);
      });
      pass.setBindGroup(0, group, [at]);
    } else pass.setBindGroup(0, group);
    this.#dispatch(pass, groups);
    this.#calls++;
    this.#totals.calls++;
    this.trace?.(kernel.name, buffers.reduce((sum, { bytes }) => sum + bytes, 0), variant.flops);
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
    this.device.queue.submit([this.#encoder.finish()]);
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
      await Promise.race([this.#lost, new Promise((resolve) => setTimeout(resolve, 100))]);
      await this.settle(); // which knows more
      throw error;
    }
    const copy = reader.getMappedRange(0, bytes).slice(0);
    reader.unmap();
    free.push(reader);
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
    const queries = this.device.createQuerySet({ type: "timestamp", count: 2 * trials.length });
    const bytes = 16 * trials.length;
    const resolved = this.device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
    const reader = this.device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    const encoder = this.device.createCommandEncoder();
    trials.forEach(({ kernel, groups, buffers }, i) => {
      const own = buffers.map(({ bytes, isHalf }) => this.alloc(bytes, isHalf ? "f16" : "f32"));
      const variant = this.#variant(kernel, own);
      const group = this.#bindGroup(variant, own.map(({ block }) => block));
      // once to warm up, then for the clock
      const writes = { querySet: queries, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      for (const timestampWrites of [undefined, writes]) {
        const pass = encoder.beginComputePass({ timestampWrites });
        pass.setPipeline(variant.pipeline);
        if (variant.params.length > 0) {
          variant.params.forEach((_, n) => this.#staged.setUint32(4 * n, 0, true)); // offsets, here none
          pass.setBindGroup(0, group, [0]);
        } else pass.setBindGroup(0, group);
        for (let n = 0; n < (timestampWrites ? calls : 1); n++) this.#dispatch(pass, groups);
        pass.end();
      }
      for (const buffer of own) this.free(buffer);
    });
    encoder.resolveQuerySet(queries, 0, 2 * trials.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, reader, 0, bytes);
    this.device.queue.writeBuffer(this.#params, 0, this.#staged.buffer, 0, PARAMS);
    this.device.queue.submit([encoder.finish()]);
    await reader.mapAsync(1);
    const stamps = new BigUint64Array(reader.getMappedRange().slice(0));
    for (const used of [resolved, reader]) used.destroy();
    await this.settle();
    return trials.map((_, i) => Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6);
  }

  /** Waits for the answers of error scopes. @throws the first fault */
  async settle(): Promise<void> {
    while (this.#checks.length > 0) await Promise.all(this.#checks.splice(0));
    this.#throwFault();
  }

  #createBlock(size: number, label: string): GPUBuffer {
    if (this.#pool.isBloated) {
      this.flush();
      this.#pool.empty();
      this.#groups.clear(); // some are of blocks that are no more
    }
    const watch = this.#watch("out-of-memory");
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

  #open(): GPUComputePassEncoder {
    this.#encoder ??= this.device.createCommandEncoder();
    return this.#pass ??= this.#encoder.beginComputePass();
  }

  #layout(inputs: number, outputs: number, hasParams: boolean) {
    const key = `${inputs} ${outputs} ${hasParams}`;
    let layout = this.#layouts.get(key);
    if (!layout) {
      const entries: GPUBindGroupLayoutEntry[] = Array.from({ length: inputs + outputs }, (_, binding) => ({
        binding,
        visibility: COMPUTE,
        buffer: { type: binding < inputs ? "read-only-storage" : "storage" },
      }));
      if (hasParams) {
        const buffer: GPUBufferBindingLayout = { type: "uniform", hasDynamicOffset: true };
        entries.push({ binding: inputs + outputs, visibility: COMPUTE, buffer });
      }
      const group = this.device.createBindGroupLayout({ entries });
      const pipeline = this.device.createPipelineLayout({ bindGroupLayouts: [group] });
      layout = { id: this.#layouts.size, group, pipeline };
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  #bindGroup({ layout, params }: Variant, blocks: readonly Block[]): GPUBindGroup {
    let key = `${layout.id}`;
    for (const block of blocks) {
      key += ` ${block.id}`;
      block.usedIn = this.#encoders;
    }
    let group = this.#groups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = blocks.map(({ handle }, binding) => ({
        binding,
        resource: { buffer: handle },
      }));
      if (params.length > 0) {
        entries.push({ binding: blocks.length, resource: { buffer: this.#params, size: PARAMS } });
      }
      group = this.device.createBindGroup({ layout: layout.group, entries });
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Opens an error scope; the answer closes it and turns an error into the failure. */
  #watch(filter: GPUErrorFilter): (describe: (message: string) => Error) => void {
    this.device.pushErrorScope(filter);
    return (describe) => {
      const answer = this.device.popErrorScope().then((error) => {
        if (error) this.#cause ??= describe(error.message);
      }, () => {}); // the device is lost, which is told elsewhere
      this.#checks.push(answer);
    };
  }

  #throwFault(): void {
    const fault = this.#cause ?? this.#consequence;
    if (fault) throw fault;
  }
}

const blockOf = (buffer: Buffer): Block => ofGpu(buffer).block;

export function ofGpu(buffer: Buffer): GpuBuffer {
  if (buffer instanceof GpuBuffer) return buffer;
  throw new Error("webgpu: the tensor lives on another device; make both after the same device()");
}

/** What floats a buffer holds. */
export const dtypeOf = (buffer: Buffer): "f32" | "f16" => ofGpu(buffer).isHalf ? "f16" : "f32";
