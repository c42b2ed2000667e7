// A kernel as data: its text in WGSL, and a dispatch of it. Nothing in this folder needs a GPU: texts are made from shapes
// and from facts about a device. The files in device/ compile and record them.
import type { Slot } from "../../buffer.ts";

/** A kernel as its author writes it; `shader` adds the declarations. Outputs are written, inputs are only read. */
export interface Source {
  /**
   * Storage buffers in order of binding, by name and element type. If a buffer holds f16, its f32 and vec4f become f16 and
   * vec4h. To work with both, write a load as `f32(x[i])` or `vec4f(x[i])`, and convert what is stored to `out` with
   * `out_t(...)`.
   */
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  /**
   * Numbers that change from call to call, read as `p.name`. Long texts get their shapes here, because compiling them again
   * for each shape would take longer than many steps. Short texts contain their shapes, so that they divide by constants.
   */
  readonly params?: Readonly<Record<string, "u32" | "f32">>;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Extensions of WGSL other than f16. With "subgroups" the body may use `lanes`, the number of threads of a subgroup. */
  readonly extensions?: readonly string[];
  /** Functions and workgroup memory. */
  readonly globals?: string;
  /** Statements. They may use `group`, the number of the workgroup, and `lid`, the number of the thread within it. */
  readonly body: string;
}

/** A kernel. Two kernels with the same name must have the same text, except for which buffers hold f16. */
export interface Kernel {
  readonly name: string;
  readonly source: () => Source;
}

/** The numbers of a call by name. */
export type Params = Readonly<Record<string, number>>;

/** One call of a kernel. */
export interface Dispatch extends Kernel {
  /**
   * What is bound, in the order of the source's inputs and outputs. Buffers are bound from their beginning. A kernel whose
   * operand may begin elsewhere gets the offset in `params`.
   */
  readonly operands: readonly Slot[];
  /** The number of workgroups. */
  readonly groups: number;
  readonly params?: Params;
}

/** Whether an operand holds f16. */
export const isHalf = ({ itemBytes }: Slot): boolean => itemBytes === 2;

/** Types for params that are all whole numbers. */
export function u32s(params: Params): Record<string, "u32"> {
  return Object.fromEntries(Object.keys(params).map((name) => [name, "u32"]));
}

const halves: Readonly<Record<string, string>> = { f32: "f16", vec4f: "vec4h" };

/** The whole text of a kernel. @param isHalf which buffers hold f16, in order of binding */
export function shader(source: Source, isHalf: readonly boolean[]): string {
  const { inputs, outputs, params, threads, globals = "", body, extensions = [] } = source;
  let binding = 0;
  const declare = (space: string, entries: Readonly<Record<string, string>>) =>
    Object.entries(entries).flatMap(([name, type]) => {
      const stored = isHalf[binding] ? halves[type] ?? type : type;
      return [
        `alias ${name}_t = ${stored};`,
        `@group(0) @binding(${binding++}) var<${space}> ${name}: array<${name}_t>;`,
      ];
    });
  const lines = [...declare("storage, read", inputs), ...declare("storage, read_write", outputs)];
  const enabled = isHalf.includes(true) ? ["f16", ...extensions] : extensions;
  lines.unshift(...enabled.map((name) => `enable ${name};`));
  if (params) {
    const fields = Object.entries(params).map(([name, type]) => `${name}: ${type}`).join(", ");
    lines.push(`struct Params { ${fields} }`, `@group(0) @binding(${binding}) var<uniform> p: Params;`);
  }
  return `${lines.join("\n")}
${globals}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) lid: u32${
    extensions.includes("subgroups") ? ", @builtin(subgroup_size) lanes: u32" : ""
  }) {
  let group = wid.y * grid.x + wid.x;
${body}
}`;
}
