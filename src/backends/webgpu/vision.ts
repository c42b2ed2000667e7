// Max pooling and the LPIPS distance. Gradients are gathered, never scattered: results repeat bit for bit.
import type { Buffer, PoolSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { div, mod, THREADS } from "./wgsl.ts";

/** Four channels at a time where they are whole vectors. */
const lanesOf = (channels: number): { lanes: 1 | 4; type: string } =>
  channels % 4 === 0 ? { lanes: 4, type: "vec4f" } : { lanes: 1, type: "f32" };

const poolName = (s: PoolSpec) =>
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

/** A thread has a vector of channels of an output. */
export function maxPool2d(gpu: Gpu, x: Buffer, out: Buffer, s: PoolSpec): void {
  const { lanes, type } = lanesOf(s.channels), columns = s.channels / lanes;
  const kernel = gpu.kernel(`maxPool ${poolName(s)}`, () => ({
    inputs: { x: type },
    outputs: { out: type },
    params: { n: "u32" },
    threads: THREADS,
    body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ox = ${mod("pixel", s.outWidth)};
  let line = ${div("pixel", s.outWidth)};
  let oy = ${mod("line", s.outHeight)};
  let sample = ${div("line", s.outHeight)};
  ${windowOf(s, columns, type)}
  ${eachPixel(s, columns, `best = max(best, ${type}(x[at]));`)}
  out[i] = out_t(best);`,
  }));
  const n = s.batch * s.outHeight * s.outWidth * columns;
  gpu.run(kernel, [x, out], groupsOf(n), { n });
}

/** A thread has a vector of channels of an input, and looks at every window that holds it. */
export function maxPool2dGrad(gpu: Gpu, x: Buffer, g: Buffer, out: Buffer, s: PoolSpec): void {
  const { lanes, type } = lanesOf(s.channels), columns = s.channels / lanes;
  const bool = lanes === 4 ? "vec4<bool>" : "bool";
  /** The windows that hold position `at` of a side. */
  const windows = (o: string, at: string, outSize: number, body: string) =>
    `let first_${o} = select(0u, (${at} - ${s.size}u) / ${s.stride}u + 1u, ${at} >= ${s.size}u);
  for (var ${o} = first_${o}; ${o} <= min(${div(at, s.stride)}, ${outSize - 1}u); ${o}++) {
  ${body}
  }`;
  const update = `let value = ${type}(x[at]);
      let higher = value > best;
      best = select(best, value, higher);
      mine = select(mine, ${bool}(at == i), higher);`;
  const gradient =
    `${type}(g[((sample * ${s.outHeight}u + oy) * ${s.outWidth}u + ox) * ${columns}u + column])`;
  const gather = `${windowOf(s, columns, type)}
  var mine = ${bool}(corner == i);
  ${eachPixel(s, columns, update)}
  total += select(${type}(), ${gradient}, mine);`;
  const kernel = gpu.kernel(`maxPoolGrad ${poolName(s)}`, () => ({
    inputs: { x: type, g: type },
    outputs: { out: type },
    params: { n: "u32" },
    threads: THREADS,
    body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ix = ${mod("pixel", s.width)};
  let line = ${div("pixel", s.width)};
  let iy = ${mod("line", s.height)};
  let sample = ${div("line", s.height)};
  var total = ${type}();
  ${windows("oy", "iy", s.outHeight, windows("ox", "ix", s.outWidth, gather))}
  out[i] = out_t(total);`,
  }));
  const n = s.batch * s.height * s.width * columns;
  gpu.run(kernel, [x, g, out], groupsOf(n), { n });
}

/** So many threads share a pixel, so that they read its channels side by side. */
function pixelTiles({ team }: Gpu, channels: number) {
  const { lanes, type } = lanesOf(channels), columns = channels / lanes;
  let across = 1;
  while (across < columns && across < Math.min(64, team)) across *= 2;
  const add = (e: string) => lanes === 4 ? `dot(${e}, vec4f(1.0))` : e;
  const eachColumn = (body: string) =>
    `for (var c = lane; c < ${columns}u; c += ${across}u) {
    let u = ${type}(a[row + c]);
    let v = ${type}(b[row + c]);
    ${body}
  }`;
  const globals = `
var<workgroup> slots: array<vec2f, ${team}>;
fn total(mine: vec2f, lid: u32) -> vec2f {
  workgroupBarrier();
  slots[lid] = mine;
  workgroupBarrier();
  let lane = ${mod("lid", across)};
  for (var half = ${across >> 1}u; half > 0u; half >>= 1u) {
    if (lane < half) { slots[lid] += slots[lid + half]; }
    workgroupBarrier();
  }
  return slots[lid - lane];
}`;
  // threads beyond the last pixel repeat its work: all must meet at the barriers
  const body = `  let pixel = group * ${team / across}u + ${div("lid", across)};
  let lane = ${mod("lid", across)};
  let row = min(pixel, p.pixels - 1u) * ${columns}u;
  var mine = vec2f();
  ${eachColumn(`mine += vec2f(${add("u * u")}, ${add("v * v")});`)}
  let lengths = sqrt(total(mine, lid));
  let inverse = 1.0 / (lengths + 1e-10);
  mine = vec2f();`;
  return {
    type,
    add,
    eachColumn,
    globals,
    body,
    groups: (pixels: number) => Math.ceil(pixels * across / team),
  };
}

/** d = sum over c of w_c (a_c / (|a| + 1e-10) - b_c / (|b| + 1e-10))^2 (Zhang et al. 2018), pixel by pixel. */
export function lpipsDistance(
  gpu: Gpu,
  a: Buffer,
  b: Buffer,
  weight: Buffer,
  out: Buffer,
  pixels: number,
  channels: number,
): void {
  const tiles = pixelTiles(gpu, channels), { type, add, eachColumn } = tiles;
  const kernel = gpu.kernel(`lpips ${channels}`, () => ({
    inputs: { a: type, b: type, weight: type },
    outputs: { out: "f32" },
    params: { pixels: "u32" },
    threads: gpu.team,
    globals: tiles.globals,
    body: `${tiles.body}
  ${eachColumn(`let d = u * inverse.x - v * inverse.y;\n    mine.x += ${add("d * d * weight[c]")};`)}
  let distance = total(mine, lid).x;
  if (lane == 0u && pixel < p.pixels) { out[pixel] = distance; }`,
  }));
  gpu.run(kernel, [a, b, weight, out], tiles.groups(pixels), { pixels });
}

/** With q = 2 w (a/|a| - b/|b|): da = g (q - a (q.a) / |a|^2) / |a|, and 0 where |a| is 0. */
export function lpipsDistanceGrad(
  gpu: Gpu,
  a: Buffer,
  b: Buffer,
  weight: Buffer,
  g: Buffer,
  out: Buffer,
  pixels: number,
  channels: number,
): void {
  const tiles = pixelTiles(gpu, channels), { type, add, eachColumn } = tiles;
  const q = "let q = 2.0 * weight[c] * (u * inverse.x - v * inverse.y);";
  const kernel = gpu.kernel(`lpipsGrad ${channels}`, () => ({
    inputs: { a: type, b: type, weight: type, g: "f32" },
    outputs: { out: type },
    params: { pixels: "u32" },
    threads: gpu.team,
    globals: tiles.globals,
    body: `${tiles.body}
  ${eachColumn(`${q}\n    mine.x += ${add("q * u")};`)}
  let dots = total(mine, lid).x;
  if (pixel >= p.pixels) { return; }
  let isZero = lengths.x == 0.0;
  let along = select(dots / lengths.x * inverse.x, 0.0, isZero);
  let scale = select(g[pixel] * inverse.x, 0.0, isZero);
  ${eachColumn(`${q}\n    out[row + c] = out_t(scale * (q - along * u));`)}`,
  }));
  gpu.run(kernel, [a, b, weight, g, out], tiles.groups(pixels), { pixels });
}
