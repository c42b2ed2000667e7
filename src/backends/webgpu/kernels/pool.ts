// Max and average pooling. Gradients are gathered, never scattered, so that results repeat bit for bit.
import type { Slot } from "../../buffer.ts";
import type { AvgPoolSpec, Calls, PoolSpec } from "../../kernels.ts";
import type { Dispatch } from "./source.ts";
import { div, each, groupsOf, mod, THREADS } from "./wgsl.ts";

/** Channels are computed four at a time if their number is a multiple of four. */
function lanesOf({ channels }: PoolSpec): { type: "vec4f" | "f32"; columns: number; bool: string } {
  return channels % 4 === 0
    ? { type: "vec4f", columns: channels / 4, bool: "vec4<bool>" }
    : { type: "f32", columns: channels, bool: "bool" };
}

const nameOf = (s: PoolSpec) =>
  `${s.height} x ${s.width} x ${s.channels} to ${s.outHeight} x ${s.outWidth}: ${s.size} / ${s.stride}`;

const avgNameOf = (s: AvgPoolSpec) => `${nameOf(s)}, ${s.padding} zeros, ${s.counted} counted`;

/** The height and width of a picture, and the names of a pixel's coordinates in the text. */
interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly y: string;
  readonly x: string;
}
const outPixels = (s: PoolSpec): Pixels => ({ height: s.outHeight, width: s.outWidth, y: "oy", x: "ox" });
const inPixels = (s: PoolSpec): Pixels => ({ height: s.height, width: s.width, y: "iy", x: "ix" });

/** Each thread computes vector `column` of the channels of a pixel, and writes it as element `i`. */
function eachVector(
  name: string,
  spec: PoolSpec,
  { height, width, y, x }: Pixels,
  inputs: Readonly<Record<string, Slot>>,
  out: Slot,
  body: () => string,
): Dispatch {
  const { type, columns } = lanesOf(spec), n = spec.batch * height * width * columns;
  return {
    name,
    operands: [...Object.values(inputs), out],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: Object.fromEntries(Object.keys(inputs).map((key) => [key, type])),
      outputs: { out: type },
      params: { n: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ${x} = ${mod("pixel", width)};
  let line = ${div("pixel", width)};
  let ${y} = ${mod("line", height)};
  let sample = ${div("line", height)};
  ${body()}`,
    }),
  };
}

/**
 * Where window `o` along a side begins and ends, limited to the side and `border` more places at both ends. Places are
 * counted from the beginning of the padding, so that none is negative.
 */
const spanOf = ({ size, stride }: PoolSpec, o: string, side: number, padding: number, border: number) => ({
  from: `max(${o} * ${stride}u, ${padding - border}u)`,
  until: `min(${o} * ${stride}u + ${size}u, ${side + padding + border}u)`,
});

/** Declares the window of output (oy, ox) of a sample: the part of it that is in the picture, and its first pixel. */
function windowOf(s: PoolSpec, padding = 0): string {
  const vertical = spanOf(s, "oy", s.height, padding, 0), horizontal = spanOf(s, "ox", s.width, padding, 0);
  const { columns } = lanesOf(s);
  return `let top = ${vertical.from};
  let left = ${horizontal.from};
  let rows = ${vertical.until} - top;
  let across = ${horizontal.until} - left;
  let corner = ((sample * ${s.height}u + top - ${padding}u) * ${s.width}u + left - ${padding}u) * ${columns}u + column;`;
}

const eachPixel = (s: PoolSpec, body: string) =>
  `for (var r = 0u; r < rows; r++) {
    for (var c = 0u; c < across; c++) {
      let at = corner + (r * ${s.width}u + c) * ${lanesOf(s).columns}u;
      ${body}
    }
  }`;

/** A loop over the windows (oy, ox) that contain pixel (iy, ix). */
function eachWindow(s: PoolSpec, body: string, padding = 0): string {
  const along = (o: string, at: string, windows: number, body: string) =>
    `let at_${o} = ${at} + ${padding}u;
  let first_${o} = select(0u, (at_${o} - ${s.size}u) / ${s.stride}u + 1u, at_${o} >= ${s.size}u);
  for (var ${o} = first_${o}; ${o} <= min(${div(`at_${o}`, s.stride)}, ${windows - 1}u); ${o}++) {
  ${body}
  }`;
  return along("oy", "iy", s.outHeight, along("ox", "ix", s.outWidth, body));
}

/** The gradient of output (oy, ox). */
function gradientOf(s: PoolSpec): string {
  const { type, columns } = lanesOf(s);
  return `${type}(g[((sample * ${s.outHeight}u + oy) * ${s.outWidth}u + ox) * ${columns}u + column])`;
}

export function maxPool2d({ x, out, spec }: Calls["maxPool2d"]): Dispatch {
  const { type } = lanesOf(spec);
  return eachVector(`maxPool ${nameOf(spec)}`, spec, outPixels(spec), { x }, out, () =>
    `${windowOf(spec)}
  var best = ${type}(x[corner]);
  ${eachPixel(spec, `best = max(best, ${type}(x[at]));`)}
  out[i] = out_t(best);`);
}

/** Each thread adds up the gradients from the windows in which its pixel is the maximum. */
export function maxPool2dGrad({ x, g, out, spec }: Calls["maxPool2dGrad"]): Dispatch {
  const { type, bool } = lanesOf(spec);
  const update = `let value = ${type}(x[at]);
      let higher = value > best;
      best = select(best, value, higher);
      mine = select(mine, ${bool}(at == i), higher);`;
  const gather = `${windowOf(spec)}
  var best = ${type}(x[corner]);
  var mine = ${bool}(corner == i);
  ${eachPixel(spec, update)}
  total += select(${type}(), ${gradientOf(spec)}, mine);`;
  return eachVector(
    `maxPoolGrad ${nameOf(spec)}`,
    spec,
    inPixels(spec),
    { x, g },
    out,
    () =>
      `var total = ${type}();
  ${eachWindow(spec, gather)}
  out[i] = out_t(total);`,
  );
}

/** The divisor of the sum of window (oy, ox). */
function divisorOf(s: AvgPoolSpec): string {
  const vertical = spanOf(s, "oy", s.height, s.padding, s.counted);
  const horizontal = spanOf(s, "ox", s.width, s.padding, s.counted);
  return `f32((${vertical.until} - ${vertical.from}) * (${horizontal.until} - ${horizontal.from}))`;
}

export function avgPool2d({ x, out, spec }: Calls["avgPool2d"]): Dispatch {
  const { type } = lanesOf(spec);
  return eachVector(
    `avgPool ${avgNameOf(spec)}`,
    spec,
    outPixels(spec),
    { x },
    out,
    () =>
      `${windowOf(spec, spec.padding)}
  var total = ${type}();
  ${eachPixel(spec, `total += ${type}(x[at]);`)}
  out[i] = out_t(total / ${divisorOf(spec)});`,
  );
}

/** Each thread adds up the gradients from the windows that contain its pixel. */
export function avgPool2dGrad({ g, out, spec }: Calls["avgPool2dGrad"]): Dispatch {
  const { type } = lanesOf(spec);
  const gather = `total += ${gradientOf(spec)} / ${divisorOf(spec)};`;
  return eachVector(
    `avgPoolGrad ${avgNameOf(spec)}`,
    spec,
    inPixels(spec),
    { g },
    out,
    () =>
      `var total = ${type}();
  ${eachWindow(spec, gather, spec.padding)}
  out[i] = out_t(total);`,
  );
}
