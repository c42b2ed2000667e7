// The GPU backend: a table of the dispatches that compute each kernel. Only `read` and `pause` wait for the GPU; everything
// else is only recorded (device/gpu.ts).
import type { Backend } from "../backend.ts";
import { checkAccess, checkCall } from "../bounds.ts";
import type { Buffer, DType, Slot, TypedArray, Values } from "../buffer.ts";
import { type KernelFacts, kernels, type OperandName } from "../facts.ts";
import type { Calls, KernelName, KernelTable } from "../kernels.ts";
import { findAdapter, NoAdapterError } from "./device/adapter.ts";
import type { Gpu } from "./device/gpu.ts";
import { openGpu } from "./device/open.ts";
import { adam } from "./kernels/adam.ts";
import { gather, scatterAdd } from "./kernels/codebook.ts";
import { copy } from "./kernels/copy.ts";
import { binary, fill, unary } from "./kernels/elementwise.ts";
import { lpipsDistance, lpipsDistanceGrad } from "./kernels/lpips.ts";
import { avgPool2d, avgPool2dGrad, maxPool2d, maxPool2dGrad } from "./kernels/pool.ts";
import { argmax, softmax, softmaxGrad } from "./kernels/softmax.ts";
import { nearestCode } from "./launch/codebook.ts";
import { conv2d, conv2dInputGrad } from "./launch/conv.ts";
import { groupedConv2d, groupedConv2dInputGrad, groupedConv2dWeightGrad } from "./launch/grouped_conv.ts";
import { matmul } from "./launch/matmul.ts";
import { groupNorm, groupNormApply, groupNormGrad, groupNormStats } from "./launch/norm.ts";
import { sumColumns, sumRows } from "./launch/reduce.ts";
import { conv2dWeightGrad } from "./launch/weight_gradient.ts";
import { multipliesExactly } from "./self_test.ts";

/** Each kernel is one dispatch that `gpu` runs, or a function that runs several. */
const launches: KernelTable<Gpu> = {
  fill: (gpu, call) => gpu.run(fill(call)),
  unary: (gpu, call) => gpu.run(unary(call)),
  binary: (gpu, call) => gpu.run(binary(call)),
  copy: (gpu, call) => gpu.run(copy(call)),
  sumRows,
  sumColumns,
  gather: (gpu, call) => gpu.run(gather(call)),
  scatterAdd: (gpu, call) => gpu.run(scatterAdd(call)),
  matmul,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  groupedConv2d,
  groupedConv2dInputGrad,
  groupedConv2dWeightGrad,
  softmax: (gpu, call) => gpu.run(softmax(gpu.team, call)),
  softmaxGrad: (gpu, call) => gpu.run(softmaxGrad(gpu.team, call)),
  argmax: (gpu, call) => gpu.run(argmax(gpu.team, call)),
  nearestCode,
  groupNorm,
  groupNormStats,
  groupNormApply,
  groupNormGrad,
  maxPool2d: (gpu, call) => gpu.run(maxPool2d(call)),
  maxPool2dGrad: (gpu, call) => gpu.run(maxPool2dGrad(call)),
  avgPool2d: (gpu, call) => gpu.run(avgPool2d(call)),
  avgPool2dGrad: (gpu, call) => gpu.run(avgPool2dGrad(call)),
  lpipsDistance: (gpu, call) => gpu.run(lpipsDistance(gpu.team, call)),
  lpipsDistanceGrad: (gpu, call) => gpu.run(lpipsDistanceGrad(gpu.team, call)),
  adam: (gpu, call) => gpu.run(adam(call)),
};

/** The kernels whose operands may begin anywhere in their buffers. */
const takesParts: ReadonlySet<KernelName> = new Set(["copy", "matmul"]);

export class WebGpuBackend implements Backend {
  readonly name = "webgpu";
  readonly gpu: Gpu;

  private constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** @throws NoAdapterError if there is no usable GPU (device/adapter.ts) */
  static async open(): Promise<WebGpuBackend> {
    try {
      const backend = new WebGpuBackend(await openGpu(await findAdapter(), true));
      if (!backend.gpu.matrix || await multipliesExactly(backend)) return backend;
      backend.gpu.device.destroy();
    } catch (error) {
      if (error instanceof NoAdapterError) throw error;
      // try again without the features that only make it faster
    }
    return new WebGpuBackend(await openGpu(await findAdapter(), false));
  }

  get description(): string {
    const { name, source, isSoftware } = this.gpu.report;
    const warning = isSoftware ? "; it computes on the CPU, slower than the device cpu" : "";
    return `${name}, by ${source}${warning}`;
  }

  get exact(): boolean {
    return this.gpu.exact;
  }
  set exact(on: boolean) {
    this.gpu.exact = on;
  }

  get hasF16(): boolean {
    return this.gpu.hasF16;
  }

  alloc(bytes: number): Buffer {
    return this.gpu.alloc(bytes);
  }

  free(buffer: Buffer): void {
    this.gpu.free(buffer);
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.gpu.reserved };
  }

  write(buffer: Buffer, values: TypedArray, offset: number): void {
    checkAccess("write", buffer, offset, values.length);
    this.gpu.write(buffer, values, offset);
  }

  async read(buffer: Buffer, dtype: Exclude<DType, "f16">, offset: number, length: number): Promise<Values> {
    checkAccess("read", buffer, offset, length);
    return await this.gpu.read(buffer, dtype, offset, length);
  }

  pause(): Promise<void> {
    return this.gpu.pause();
  }

  run<K extends KernelName>(name: K, call: Calls[K]): void {
    checkCall(this, name, call);
    if (!takesParts.has(name)) checkWhole(name, call);
    launches[name](this.gpu, call);
  }
}

/** Checks offsets: buffers are bound from their beginning, and many kernels write whole vectors of four. */
function checkWhole<K extends KernelName>(name: K, call: Calls[K]): void {
  const { operands }: KernelFacts<Calls[K]> = kernels[name];
  for (const operand of Object.keys(operands) as OperandName<Calls[K]>[]) {
    const slot = call[operand] as Slot | null;
    if (!slot) continue;
    const { buffer, offset, length, itemBytes } = slot;
    const cutsVector = operands[operand].isWritten && length % 4 !== 0 && length * itemBytes !== buffer.bytes;
    if (offset === 0 && !cutsVector) continue;
    throw new RangeError(
      `webgpu: ${name} reads buffers from their beginning, and writes whole vectors, not elements ${offset} to ` +
        `${offset + length} of ${buffer.bytes / itemBytes}: copy them to a buffer of their own`,
    );
  }
}
