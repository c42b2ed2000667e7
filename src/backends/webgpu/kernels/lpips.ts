// The LPIPS distance of feature maps (Zhang et al. 2018), pixel by pixel, and its gradient.
import type { Calls } from "../../kernels.ts";
import type { Dispatch } from "./source.ts";
import { ceil, div, mod } from "./wgsl.ts";

/**
 * What both kernels share. Several threads of a workgroup of `team` compute a pixel together, so that they read neighbouring
 * channels at the same time.
 */
function pixelTiles(team: number, channels: number) {
  const isVector = channels % 4 === 0, type = isVector ? "vec4f" : "f32";
  const columns = isVector ? channels / 4 : channels;
  let across = 1;
  while (across < columns && across < Math.min(64, team)) across *= 2;
  const add = (e: string) => isVector ? `dot(${e}, vec4f(1.0))` : e;
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
  // threads after the last pixel repeat its work, because all threads must reach the barriers
  const begin = `  let pixel = group * ${team / across}u + ${div("lid", across)};
  let lane = ${mod("lid", across)};
  let row = min(pixel, p.pixels - 1u) * ${columns}u;
  var mine = vec2f();
  ${eachColumn(`mine += vec2f(${add("u * u")}, ${add("v * v")});`)}
  let lengths = sqrt(total(mine, lid));
  let inverse = 1.0 / (lengths + 1e-10);
  mine = vec2f();`;
  return { type, add, eachColumn, globals, begin, groupsOf: (pixels: number) => ceil(pixels * across, team) };
}

/** d = sum over c of w_c (a_c / (|a| + 1e-10) - b_c / (|b| + 1e-10))^2. */
export function lpipsDistance(
  team: number,
  { a, b, weight, out, pixels, channels }: Calls["lpipsDistance"],
): Dispatch {
  const { type, add, eachColumn, globals, begin, groupsOf } = pixelTiles(team, channels);
  return {
    name: `lpips ${channels}`,
    operands: [a, b, weight, out],
    groups: groupsOf(pixels),
    params: { pixels },
    source: () => ({
      inputs: { a: type, b: type, weight: type },
      outputs: { out: "f32" },
      params: { pixels: "u32" },
      threads: team,
      globals,
      body: `${begin}
  ${eachColumn(`let d = u * inverse.x - v * inverse.y;\n    mine.x += ${add("d * d * weight[c]")};`)}
  let distance = total(mine, lid).x;
  if (lane == 0u && pixel < p.pixels) { out[pixel] = distance; }`,
    }),
  };
}

/** With q = 2 w (a/|a| - b/|b|): da = g (q - a (q.a) / |a|^2) / |a|, and 0 where |a| is 0. */
export function lpipsDistanceGrad(
  team: number,
  { a, b, weight, g, out, pixels, channels }: Calls["lpipsDistanceGrad"],
): Dispatch {
  const { type, add, eachColumn, globals, begin, groupsOf } = pixelTiles(team, channels);
  const q = "let q = 2.0 * weight[c] * (u * inverse.x - v * inverse.y);";
  return {
    name: `lpipsGrad ${channels}`,
    operands: [a, b, weight, g, out],
    groups: groupsOf(pixels),
    params: { pixels },
    source: () => ({
      inputs: { a: type, b: type, weight: type, g: "f32" },
      outputs: { out: type },
      params: { pixels: "u32" },
      threads: team,
      globals,
      body: `${begin}
  ${eachColumn(`${q}\n    mine.x += ${add("q * u")};`)}
  let dots = total(mine, lid).x;
  if (pixel >= p.pixels) { return; }
  let isZero = lengths.x == 0.0;
  let along = select(dots / lengths.x * inverse.x, 0.0, isZero);
  let scale = select(g[pixel] * inverse.x, 0.0, isZero);
  ${eachColumn(`${q}\n    out[row + c] = out_t(scale * (q - along * u));`)}`,
    }),
  };
}
