// Max pooling. Its gradient is gathered, never scattered, so that results repeat bit for bit.
import type { Calls, PoolSpec } from "../../kernels.ts";
import type { Dispatch } from "./source.ts";
import { div, each, groupsOf, mod, THREADS } from "./wgsl.ts";

/** Channels are taken four at a time where they are whole vectors. */
function lanesOf({ channels }: PoolSpec): { type: "vec4f" | "f32"; columns: number; bool: string } {
  return channels % 4 === 0
    ? { type: "vec4f", columns: channels / 4, bool: "vec4<bool>" }
    : { type: "f32", columns: channels, bool: "bool" };
}

const nameOf = (s: PoolSpec) =>
  `${s.height} x ${s.width} x ${s.channels} to ${s.outHeight} x ${s.outWidth}: ${s.size} / ${s.stride}`;

/** The window of output (oy, ox) of a sample: the part of it that lies in the picture, and its first pixel. */
const windowOf = (s: PoolSpec, columns: number, type: string) =>
  `let rows = min(${s.size}u, ${s.height}u - oy * ${s.stride}u);
  let across = min(${s.size}u, ${s.width}u - ox * ${s.stride}u);
  let corner = ((sample * ${s.height}u + oy * ${s.stride}u) * ${s.width}u + ox * ${s.stride}u) * ${columns}u + column;
  var best = ${type}(x[corner]);`;

const eachPixel = (s: PoolSpec, columns: number, body: string) =>
  `for (var r = 0u; r < rows; r++) {
    for (var c = 0u; c < across; c++) {
      let at = corner + (r * ${s.width}u + c) * ${columns}u;
      ${body}
    }
  }`;

/** Each thread has a vector of channels of an output. */
export function maxPool2d({ x, out, spec }: Calls["maxPool2d"]): Dispatch {
  const { type, columns } = lanesOf(spec), n = spec.batch * spec.outHeight * spec.outWidth * columns;
  return {
    name: `maxPool ${nameOf(spec)}`,
    operands: [x, out],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: { x: type },
      outputs: { out: type },
      params: { n: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ox = ${mod("pixel", spec.outWidth)};
  let line = ${div("pixel", spec.outWidth)};
  let oy = ${mod("line", spec.outHeight)};
  let sample = ${div("line", spec.outHeight)};
  ${windowOf(spec, columns, type)}
  ${eachPixel(spec, columns, `best = max(best, ${type}(x[at]));`)}
  out[i] = out_t(best);`,
    }),
  };
}

/** Each thread has a vector of channels of an input, and looks at every window that holds it. */
export function maxPool2dGrad({ x, g, out, spec }: Calls["maxPool2dGrad"]): Dispatch {
  const { type, columns, bool } = lanesOf(spec), { size, stride, outHeight, outWidth } = spec;
  const n = spec.batch * spec.height * spec.width * columns;
  /** Goes through the windows that hold position `at` of a side. */
  const windows = (o: string, at: string, outSize: number, body: string) =>
    `let first_${o} = select(0u, (${at} - ${size}u) / ${stride}u + 1u, ${at} >= ${size}u);
  for (var ${o} = first_${o}; ${o} <= min(${div(at, stride)}, ${outSize - 1}u); ${o}++) {
  ${body}
  }`;
  const update = `let value = ${type}(x[at]);
      let higher = value > best;
      best = select(best, value, higher);
      mine = select(mine, ${bool}(at == i), higher);`;
  const gradient = `${type}(g[((sample * ${outHeight}u + oy) * ${outWidth}u + ox) * ${columns}u + column])`;
  const gather = `${windowOf(spec, columns, type)}
  var mine = ${bool}(corner == i);
  ${eachPixel(spec, columns, update)}
  total += select(${type}(), ${gradient}, mine);`;
  return {
    name: `maxPoolGrad ${nameOf(spec)}`,
    operands: [x, g, out],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: { x: type, g: type },
      outputs: { out: type },
      params: { n: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ix = ${mod("pixel", spec.width)};
  let line = ${div("pixel", spec.width)};
  let iy = ${mod("line", spec.height)};
  let sample = ${div("line", spec.height)};
  var total = ${type}();
  ${windows("oy", "iy", outHeight, windows("ox", "ix", outWidth, gather))}
  out[i] = out_t(total);`,
    }),
  };
}
