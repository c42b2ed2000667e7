// The kernels of weight gradients: out [o, c, ky, kx] = sum over pixels of g[pixel, o] x[pixel at that tap, c]. This is a
// product whose depth is the pixels. They are cut into parts; the parts are computed with tiles and then added in order.
import type { Slot } from "../../buffer.ts";
import type { ConvSpec } from "../../kernels.ts";
import { type Dispatch, type Source, u32s } from "./source.ts";
import { matrixExtensions, matrixMemory } from "./subgroup_matrix.ts";
import type { Madd } from "./tile.ts";
import {
  directLoop,
  type GradTile,
  hoisted,
  matrixLoop,
  plainLoop,
  quadLoop,
  threadsOf,
} from "./weight_gradient_loops.ts";
import { ceil, div, each, groupsOf, mod, repeat, THREADS } from "./wgsl.ts";

/** A name that is different for every tile. */
export function gradTileName({ down, across, perThread: [m, n], depth, isQuad, matrix }: GradTile): string {
  const kind = matrix ? "matrix" : depth > 0 ? "shared" : isQuad ? "quad" : "direct";
  return `${4 * down}x${4 * across}/${4 * m}x${4 * n} ${kind}`;
}

/** The number of vectors of rows, which are taps and input channels, and of columns, which are output channels. */
export function gradVectors({ inChannels, outChannels, kernel: [kh, kw] }: ConvSpec): [number, number] {
  return [kh * kw * ceil(inChannels, 4), ceil(outChannels, 4)];
}

/** The number of elements of one part. */
export function partElements(spec: ConvSpec): number {
  const [rows, columns] = gradVectors(spec);
  return rows * columns * 16;
}

/** The params of a shape that the kernel of parts reads. @param part the number of pixels of a part */
export function gradShape(spec: ConvSpec, part: number) {
  const { batch, height, width, inChannels, outHeight, outWidth, kernel: [, kw] } = spec;
  const { stride, padTop, padLeft } = spec, [rows, outputs] = gradVectors(spec);
  const pixels = batch * outHeight * outWidth, inputs = ceil(inChannels, 4);
  return {
    height,
    width,
    inputs,
    outHeight,
    outWidth,
    outputs,
    rows,
    pixels,
    part,
    kw,
    stride,
    padTop,
    padLeft,
  };
}

/** Computes the parts [part, tap, input, output] from x and g, whose pixels are whole vectors. */
export function gradParts(
  { upsample }: ConvSpec,
  shape: ReturnType<typeof gradShape>,
  tile: GradTile,
  madd: Madd,
  x: Slot,
  g: Slot,
  partial: Slot,
): Dispatch {
  const tilesAcross = ceil(shape.outputs, tile.across), tiles = ceil(shape.rows, tile.down) * tilesAcross;
  const params = { ...shape, tiles, tilesAcross, groups: tiles * ceil(shape.pixels, shape.part) };
  return {
    name: `weightGrad ${upsample} by ${gradTileName(tile)}`,
    operands: [x, g, partial],
    groups: params.groups,
    params,
    // shapes are params, so that all convolutions share the text
    source: () => ({
      inputs: { a: "vec4f", g: "vec4f" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: threadsOf(tile),
      ...textOf(tile, upsample, madd),
    }),
  };
}

function textOf(
  tile: GradTile,
  upsample: number,
  madd: Madd,
): Pick<Source, "extensions" | "globals" | "body"> {
  const { down, across, perThread: [m, n], depth, matrix, isQuad } = tile;
  const rowsApart = down / m, columnsApart = across / n;
  /** Declares what stays the same for a vector of rows. */
  const row = (name: string, number: string) =>
    `  let mine${name} = rowTile * ${down}u + ${number};
  let isRow${name} = mine${name} < p.rows;
  let channel${name} = mine${name} % inputs;
  let tap${name} = mine${name} / inputs;
  let dy${name} = tap${name} / p.kw - p.padTop;
  let dx${name} = tap${name} % p.kw - p.padLeft;
  let apart${name} = (dy${name} * width + dx${name}) * inputs + channel${name};`;
  const eachSum = (text: (i: number, c: number) => string) => repeat(m, (i) => repeat(n, (c) => text(i, c)));
  const multiply = (i: number, c: number) =>
    ["x", "y", "z", "w"].map((e, k) => {
      const sum = `acc${i}_${c}[${k}]`;
      return `${sum} = ${madd(sum, `u${i}.${e}`, `v${c}`)};`;
    }).join(" ");
  const loop = () => {
    if (isQuad) return quadLoop(tile, upsample, madd);
    return (depth === 0 ? directLoop : plainLoop)(tile, upsample, eachSum(multiply));
  };
  const storeSum = `  let row = rowTile * ${4 * down}u + line;
  if (row < 4u * p.rows && column0 < p.outputs) { out[(part * p.rows * 4u + row) * p.outputs + column0] = sum; }`;
  const body = matrix
    ? matrixLoop(tile, matrix, upsample, storeSum)
    : `${eachSum((i, c) => `  var acc${i}_${c} = array<vec4f, 4>();`)}
${loop()}
${
      eachSum((i, c) =>
        `  if (isRow${i} && column${c} < p.outputs) {
    let at = (part * p.rows + mine${i}) * p.outputs * 4u + column${c};
${repeat(4, (e) => `    out[at + ${e}u * p.outputs] = acc${i}_${c}[${e}];`)}
  }`
      )
    }`;
  const memory = `var<workgroup> aTile: array<vec4f, ${down * depth}>;
var<workgroup> bTile: array<vec4f, ${across * depth}>;`;
  return {
    extensions: matrix ? matrixExtensions : isQuad ? ["subgroups"] : [],
    globals: matrix ? matrixMemory(4 * across, true) : depth === 0 ? "" : memory,
    body: `  if (group >= p.groups) { return; }
  let place = group % p.tiles;
  let rowTile = place / p.tilesAcross;
  let columnTile = place % p.tilesAcross;
  let part = group / p.tiles;
  let start = part * p.part;
  let end = min(start + p.part, p.pixels);
  let tx = ${mod("lid", columnsApart)};
  let ty = ${div("lid", columnsApart)};
${hoisted(upsample)}
${depth === 0 ? "" : row("L", mod("lid", down))}
${matrix ? "" : repeat(m, (i) => row(`${i}`, `ty + ${i * rowsApart}u`))}
${repeat(n, (c) => `  let column${c} = columnTile * ${across}u + tx + ${c * columnsApart}u;`)}
${body}`,
  };
}

/** Adds the parts [part, tap, input, output], whose channels are whole vectors, to weights [output, input, tap]. */
export function addGradParts(
  { inChannels, outChannels, kernel: [kh, kw] }: ConvSpec,
  parts: number,
  partial: Slot,
  out: Slot,
): Dispatch {
  const taps = kh * kw, n = inChannels * outChannels, outputs = ceil(outChannels, 4) * 4;
  const params = { n, parts, inChannels, outChannels, outputs, step: ceil(inChannels, 4) * 4 * outputs };
  return {
    name: `addParts ${taps}`,
    operands: [partial, out],
    groups: groupsOf(n),
    params,
    // a thread adds all taps of a weight, because these are neighbours in memory
    source: () => ({
      inputs: { partial: "f32" },
      outputs: { out: "f32" },
      params: u32s(params),
      threads: THREADS,
      body: `${each("p.n")}
  let output = i % p.outChannels;
  let input = i / p.outChannels;
  let to = (output * p.inChannels + input) * ${taps}u;
${repeat(taps, (tap) => `  var total${tap} = 0.0;`)}
  for (var part = 0u; part < p.parts; part++) {
    let first = part * ${taps}u * p.step + input * p.outputs + output;
${repeat(taps, (tap) => `    total${tap} += partial[first + ${tap}u * p.step];`)}
  }
${repeat(taps, (tap) => `  out[to + ${tap}u] = total${tap};`)}`,
    }),
  };
}
