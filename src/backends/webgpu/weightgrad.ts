// Weight gradients: out [o, c, ky, kx] = sum over pixels of g[pixel, o] x[pixel at that tap, c], a product whose depth is
// the pixels. They are split among workgroups by the shape alone, and a second kernel adds the parts in order.
import type { Buffer, ConvSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

/** Rows (tap and input channel) and columns (output channel) of a workgroup, and pixels it holds at a time. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

const MIDDLE: Tile = { rows: 64, columns: 64, depth: 16 };
const SMALL: Tile = { rows: 32, columns: 32, depth: 16 };
const NARROW: Tile = { rows: 256, columns: 4, depth: 8 };

/** Workgroups that keep a GPU busy; pixels of a part at least, and at most lest the sum loses digits. */
const MANY = 256, SHORTEST = 128, LONGEST = 8192;
/** Memory of the parts at most. */
const PARTS_BYTES = 64 * 2 ** 20;

/** A thread has four rows of four columns. */
export function conv2dWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, kernel: [kh, kw] } = spec;
  const pixels = batch * outHeight * outWidth;
  const inputs = ceil(inChannels, 4), outputs = ceil(outChannels, 4), rows = kh * kw * inputs;
  const tile = outputs === 1 ? NARROW : Math.min(rows, outputs) * 4 <= SMALL.columns ? SMALL : MIDDLE;
  const tilesAcross = ceil(outputs * 4, tile.columns);
  const tiles = ceil(rows * 4, tile.rows) * tilesAcross;
  const bytes = rows * outputs * 64;
  const wanted = Math.min(ceil(MANY, tiles), ceil(pixels, SHORTEST), Math.floor(PARTS_BYTES / bytes));
  const part = ceil(pixels, Math.max(1, wanted, ceil(pixels, LONGEST)));
  const parts = ceil(pixels, part);
  const groups = tiles * parts;

  const { stride, padTop, padLeft, upsample } = spec;
  const kernel = gpu.kernel(
    `weightGrad ${[batch, height, width, inChannels, outHeight, outWidth, outChannels, kh, kw]} ` +
      `${[stride, padTop, padLeft, upsample]}`,
    () => {
      const threads = (tile.rows / 4) * (tile.columns / 4);
      const down = tile.rows / 4, across = tile.columns / 4;
      const loads = (vectors: number, text: (at: string) => string) =>
        repeat(ceil(vectors, threads), (j) => {
          const statements = text(`(lid + ${j * threads}u)`);
          return vectors < threads ? `    if (lid < ${vectors}u) {${statements}}` : `    {${statements}}`;
        });
      // the thread's row stays the same, as whole rows of the tile are loaded at a time
      const loadA = (at: string) => `
      var v = vec4f();
      let pixel = first + ${div(at, down)};
      if (isRow && pixel < end) {
        let line = ${div("pixel", outWidth)};
        let y = ${mod("line", outHeight)} * ${stride}u + dy;
        let x = ${mod("pixel", outWidth)} * ${stride}u + dx;
        if (y < ${height * upsample}u && x < ${width * upsample}u) {
          let row = ${div("line", outHeight)} * ${height}u + ${div("y", upsample)};
          v = vec4f(a[(row * ${width}u + ${div("x", upsample)}) * ${inputs}u + channel]);
        }
      }
      aTile[${at}] = v; `;
      const loadB = (at: string) => `
      var v = vec4f();
      let pixel = first + ${div(at, across)};
      let column = columnTile * ${across}u + ${mod(at, across)};
      if (pixel < end && column < ${outputs}u) { v = vec4f(g[pixel * ${outputs}u + column]); }
      bTile[${at}] = v; `;
      return {
        inputs: { a: "vec4f", g: "vec4f" },
        outputs: { out: "vec4f" },
        threads,
        globals: `var<workgroup> aTile: array<vec4f, ${down * tile.depth}>;
var<workgroup> bTile: array<vec4f, ${across * tile.depth}>;`,
        body: `  if (group >= ${groups}u) { return; }
  let place = ${mod("group", tiles)};
  let rowTile = ${div("place", tilesAcross)};
  let columnTile = ${mod("place", tilesAcross)};
  let start = ${div("group", tiles)} * ${part}u;
  let end = min(start + ${part}u, ${pixels}u);
  let tx = ${mod("lid", across)};
  let ty = ${div("lid", across)};
  let mine = rowTile * ${down}u + ${mod("lid", down)};
  let isRow = mine < ${rows}u;
  let channel = ${mod("mine", inputs)};
  let tap = ${div("mine", inputs)};
  // places above the image wrap round to huge ones
  let dy = ${div("tap", kw)} - ${padTop}u;
  let dx = ${mod("tap", kw)} - ${padLeft}u;
${repeat(4, (i) => `  var acc${i} = vec4f();`)}
  for (var first = start; first < end; first += ${tile.depth}u) {
    workgroupBarrier();
${loads(down * tile.depth, loadA)}
${loads(across * tile.depth, loadB)}
    workgroupBarrier();
${
          repeat(tile.depth, (d) =>
            `    { let u = aTile[${d * down}u + ty]; let v = bTile[${d * across}u + tx]; ` +
            ["x", "y", "z", "w"].map((e, i) => `acc${i} = fma(vec4f(u.${e}), v, acc${i});`).join(" ") + " }")
        }
  }
  let row = rowTile * ${down}u + ty;
  let column = columnTile * ${across}u + tx;
  if (row < ${rows}u && column < ${outputs}u) {
    let at = (${div("group", tiles)} * ${rows}u + row) * ${outputs * 4}u + column;
${repeat(4, (i) => `    out[at + ${i * outputs}u] = acc${i};`)}
  }`,
      };
    },
  );
  wholeVectors(gpu, x, 0, batch * height * width, inChannels, (a) => {
    wholeVectors(gpu, g, 0, pixels, outChannels, (whole) => {
      gpu.with(parts * bytes, (partial) => {
        gpu.run(kernel, [a, whole, partial], groups);
        addParts(gpu, partial, out, parts, spec);
      });
    });
  });
}

/** Adds the parts [part, tap, input, output], whose channels are whole vectors, to weights [output, input, tap]. */
function addParts(gpu: Gpu, partial: Buffer, out: Buffer, parts: number, spec: ConvSpec): void {
  const { inChannels, outChannels, kernel: [kh, kw] } = spec;
  const taps = kh * kw, inputs = ceil(inChannels, 4) * 4, outputs = ceil(outChannels, 4) * 4;
  const n = taps * inChannels * outChannels;
  const kernel = gpu.kernel(`addParts ${parts}: ${taps} ${inChannels} ${outChannels}`, () => ({
    inputs: { partial: "f32" },
    outputs: { out: "f32" },
    threads: THREADS,
    body: `${each(`${n}u`)}
  let output = ${mod("i", outChannels)};
  let row = ${div("i", outChannels)};
  let input = ${mod("row", inChannels)};
  let tap = ${div("row", inChannels)};
  let at = (tap * ${inputs}u + input) * ${outputs}u + output;
  var total = 0.0;
  for (var part = 0u; part < ${parts}u; part++) { total += partial[part * ${taps * inputs * outputs}u + at]; }
  out[(output * ${inChannels}u + input) * ${taps}u + tap] = total;`,
  }));
  gpu.run(kernel, [partial, out], groupsOf(n));
}
