// Copies between any strides, and copies that pad rows to whole vectors.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import { type Dispatch, isHalf } from "./source.ts";
import { ceil, div, each, groupsOf, mod, repeat, THREADS } from "./wgsl.ts";

/** Copies words as bits, whether they are i32 or f32. If one side is f16, it converts numbers. */
export function copy({ x, xStrides, out, outStrides, shape }: Calls["copy"]): Dispatch {
  const n = shape.reduce((a, b) => a * b, 1);
  const type = isHalf(x) || isHalf(out) ? "f32" : "u32";
  return {
    name: `copy ${type} ${shape}: ${xStrides} to ${outStrides}`,
    operands: [x, out],
    groups: groupsOf(n),
    params: { n, begin: x.offset, to: out.offset },
    source: () => {
      const lines: string[] = [];
      let rest = "i";
      for (let d = shape.length - 1; d >= 0; d--) {
        if (shape[d] === 1) continue;
        lines.push(`  let i${d} = ${mod(rest, shape[d])};`);
        lines.push(`  let r${d} = ${div(rest, shape[d])};`);
        rest = `r${d}`;
      }
      const at = (offset: string, strides: readonly number[]) =>
        [offset, ...shape.flatMap((size, d) => size === 1 ? [] : [`i${d} * ${strides[d]}u`])].join(" + ");
      return {
        inputs: { x: type },
        outputs: { out: type },
        params: { n: "u32", begin: "u32", to: "u32" },
        threads: THREADS,
        body: `${each("p.n")}
${lines.join("\n")}
  out[${at("p.to", outStrides)}] = out_t(x[${at("p.begin", xStrides)}]);`,
      };
    },
  };
}

/** Copies rows of `columns` numbers, and pads each with zeros to whole vectors. */
export function padRows(x: Slot, out: Slot, rows: number, columns: number): Dispatch {
  const vectors = ceil(columns, 4), n = rows * vectors;
  return {
    name: `padRows ${columns}`,
    operands: [x, out],
    groups: groupsOf(n),
    params: { n, begin: x.offset },
    source: () => ({
      inputs: { x: "f32" },
      outputs: { out: "vec4f" },
      params: { n: "u32", begin: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  let first = ${mod("i", vectors)} * 4u;
  let at = p.begin + ${div("i", vectors)} * ${columns}u + first;
  var v = vec4f();
${repeat(4, (e) => `  if (first + ${e}u < ${columns}u) { v[${e}] = f32(x[at + ${e}u]); }`)}
  out[i] = out_t(v);`,
    }),
  };
}
