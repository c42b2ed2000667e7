// WebGPU's objects for kernels: a pipeline for each combination of f32 and f16 operands that a kernel is called with, and
// bind groups for the buffers of its calls. Each is made once.
import { type Dispatch, isHalf, shader, type Source } from "../kernels/source.ts";
import type { Faults } from "./faults.ts";
import type { Block } from "./memory.ts";

/** A kernel, compiled for one combination of f32 and f16 operands. */
export interface Variant {
  readonly pipeline: GPUComputePipeline;
  readonly layout: { readonly id: number; readonly group: GPUBindGroupLayout };
  readonly params: readonly (readonly [name: string, type: "u32" | "f32"])[];
}

/** Bytes for the params of a call: the largest alignment that WebGPU may require. */
export const PARAMS = 256;
/** WebGPU's GPUShaderStage.COMPUTE; Bun does not have the name. */
const COMPUTE = 4;

export class Pipelines {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #params: GPUBuffer;
  /** Variants by the kernel's name, and then by which of its operands hold f16. */
  readonly #variants = new Map<string, Map<string, Variant>>();
  readonly #layouts = new Map<string, Variant["layout"] & { readonly pipeline: GPUPipelineLayout }>();
  readonly #groups = new Map<string, GPUBindGroup>();
  #made = 0;

  /** @param params the buffer that holds the params of calls */
  constructor(device: GPUDevice, faults: Faults, params: GPUBuffer) {
    this.#device = device;
    this.#faults = faults;
    this.#params = params;
  }

  get counts(): { pipelines: number; bindGroups: number } {
    return { pipelines: this.#made, bindGroups: this.#groups.size };
  }

  /** The pipeline for a call. It is compiled at the first call of its kind. */
  variant({ name, source, operands }: Dispatch): Variant {
    let variants = this.#variants.get(name);
    if (!variants) this.#variants.set(name, variants = new Map());
    let key = "";
    for (const slot of operands) key += isHalf(slot) ? "h" : "f";
    let variant = variants.get(key);
    if (!variant) variants.set(key, variant = this.#compile(name, source(), operands.map(isHalf)));
    return variant;
  }

  #compile(name: string, source: Source, isHalf: readonly boolean[]): Variant {
    const params = Object.entries(source.params ?? {});
    const [inputs, outputs] = [source.inputs, source.outputs].map((list) => Object.keys(list).length);
    const layout = this.#layout(inputs, outputs, params.length > 0);
    const watch = this.#faults.watch("validation");
    const module = this.#device.createShaderModule({ label: name, code: shader(source, isHalf) });
    const pipeline = this.#device.createComputePipeline({
      label: name,
      layout: layout.pipeline,
      compute: { module, entryPoint: "main" },
    });
    watch((message) => new Error(`kernel ${name}: ${message}`));
    this.#made++;
    return { pipeline, layout, params };
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
      const group = this.#device.createBindGroupLayout({ entries });
      const pipeline = this.#device.createPipelineLayout({ bindGroupLayouts: [group] });
      layout = { id: this.#layouts.size, group, pipeline };
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  bindGroup({ layout, params }: Variant, blocks: readonly Block[]): GPUBindGroup {
    let key = `${layout.id}`;
    for (const { id } of blocks) key += ` ${id}`;
    let group = this.#groups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = blocks.map(({ handle }, binding) => ({
        binding,
        resource: { buffer: handle },
      }));
      if (params.length > 0) {
        entries.push({ binding: blocks.length, resource: { buffer: this.#params, size: PARAMS } });
      }
      group = this.#device.createBindGroup({ layout: layout.group, entries });
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Call this when blocks are destroyed, because bind groups refer to them. */
  forgetBindGroups(): void {
    this.#groups.clear();
  }
}
