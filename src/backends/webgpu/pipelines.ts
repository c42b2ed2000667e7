// Kernels and what WebGPU makes of them: pipelines for each combination of f32 and f16 buffers that a kernel meets, and
// bind groups for the buffers of its calls. Each is made once.
import type { Faults } from "./faults.ts";
import type { Block } from "./memory.ts";
import { shader, type Source } from "./wgsl.ts";

export interface Kernel {
  readonly name: string;
  readonly source: () => Source;
  /** By which of its buffers hold f16. */
  readonly variants: Map<string, Variant>;
}

export interface Variant {
  readonly pipeline: GPUComputePipeline;
  readonly layout: { readonly id: number; readonly group: GPUBindGroupLayout };
  readonly params: readonly (readonly [name: string, type: "u32" | "f32"])[];
}

/** Numbers of a call by name. */
export type Params = Readonly<Record<string, number>>;

/** Bytes of the numbers that accompany a call: the largest alignment that WebGPU may ask for. */
export const PARAMS = 256;
/** WebGPU's GPUShaderStage.COMPUTE, which Bun has no name for. */
const COMPUTE = 4;

export class Pipelines {
  readonly device: GPUDevice;
  readonly faults: Faults;
  readonly params: GPUBuffer;

  readonly #kernels = new Map<string, Kernel>();
  readonly #layouts = new Map<string, Variant["layout"] & { readonly pipeline: GPUPipelineLayout }>();
  readonly #groups = new Map<string, GPUBindGroup>();
  #made = 0;

  /** @param params where the numbers of calls lie */
  constructor(device: GPUDevice, faults: Faults, params: GPUBuffer) {
    this.device = device;
    this.faults = faults;
    this.params = params;
  }

  get counts(): { pipelines: number; bindGroups: number } {
    return { pipelines: this.#made, bindGroups: this.#groups.size };
  }

  /** The kernel of this name. The name tells everything that its text depends on, but for what is f16. */
  kernel(name: string, source: () => Source): Kernel {
    let kernel = this.#kernels.get(name);
    if (!kernel) this.#kernels.set(name, kernel = { name, source, variants: new Map() });
    return kernel;
  }

  /** What computes with such buffers, compiled on first use. */
  variant({ name, source, variants }: Kernel, buffers: readonly { readonly isHalf: boolean }[]): Variant {
    let key = "";
    for (const { isHalf } of buffers) key += isHalf ? "h" : "f";
    const known = variants.get(key);
    if (known) return known;
    const text = source();
    const params = Object.entries(text.params ?? {});
    const [inputs, outputs] = [text.inputs, text.outputs].map((list) => Object.keys(list).length);
    const layout = this.#layout(inputs, outputs, params.length > 0);
    const watch = this.faults.watch("validation");
    const code = shader(text, buffers.map(({ isHalf }) => isHalf));
    const module = this.device.createShaderModule({ label: name, code });
    const pipeline = this.device.createComputePipeline({
      label: name,
      layout: layout.pipeline,
      compute: { module, entryPoint: "main" },
    });
    watch((message) => new Error(`kernel ${name}: ${message}`));
    const variant = { pipeline, layout, params };
    variants.set(key, variant);
    this.#made++;
    return variant;
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
        entries.push({ binding: blocks.length, resource: { buffer: this.params, size: PARAMS } });
      }
      group = this.device.createBindGroup({ layout: layout.group, entries });
      this.#groups.set(key, group);
    }
    return group;
  }

  /** To be called when blocks are destroyed. */
  forgetBindGroups(): void {
    this.#groups.clear();
  }
}
