// Weight gradients: out [o, c, ky, kx] = sum over pixels of g[pixel, o] x[pixel at that tap, c], a product whose depth is
// the pixels. They are split among workgroups by the shape alone, and a second kernel adds the parts in order.
import type { Buffer, ConvSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import { dtypeOf, type Gpu, ofGpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import type { Trial } from "./tune.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

/** What a workgroup computes, in vectors of four: of rows (tap and input channel) and columns (output channel). */
interface Tile {
  readonly down: number;
  readonly across: number;
  /** Vectors of either that a thread has. */
  readonly perThread: readonly [down: number, across: number];
  /** Pixels whose vectors go through the workgroup's memory at a time; 0: each thread reads what it needs. */
  readonly depth: number;
}

const MIDDLE: Tile = { down: 16, across: 16, perThread: [1, 1], depth: 16 };
const SMALL: Tile = { down: 8, across: 8, perThread: [1, 1], depth: 16 };
const NARROW: Tile = { down: 64, across: 1, perThread: [1, 1], depth: 8 };
const threadsOf = ({ down, across, perThread: [m, n] }: Tile) => (down / m) * (across / n);

/** Those that may be best, the likeliest first (gemm.ts says why). @param rows vectors of both sides */
function tilesFor(gpu: Gpu, rows: number, columns: number): Tile[] {
  const direct = directTile(columns);
  const shared = columns === 1 ? NARROW : Math.min(rows, columns) <= SMALL.across ? SMALL : MIDDLE;
  return gpu.report.isSoftware ? [direct, shared] : [shared, direct];
}

function directTile(columns: number): Tile {
  const wide = columns > 2 ? 4 : columns, across = columns > 4 ? 16 : wide;
  return { down: 16, across, perThread: [2, wide], depth: 0 };
}

/** Workgroups that keep a GPU busy; pixels of a part at least, and at most lest the sum loses digits. */
const MANY = 256, SHORTEST = 128, LONGEST = 8192;
/** Memory of the parts at most. */
const PARTS_BYTES = 64 * 2 ** 20;

export function conv2dWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, kernel: [kh, kw] } = spec;
  const pixels = batch * outHeight * outWidth;
  const inputs = ceil(inChannels, 4), outputs = ceil(outChannels, 4), rows = kh * kw * inputs;
  const choices = tilesFor(gpu, rows, outputs);
  const tilesOf = ({ down, across }: Tile) => ceil(rows, down) * ceil(outputs, across);
  const bytes = rows * outputs * 64;
  // by the shape alone: the sums are to be the same whatever the tile
  const wanted = Math.min(
    ceil(MANY, tilesOf(MIDDLE)),
    ceil(pixels, SHORTEST),
    Math.floor(PARTS_BYTES / bytes),
  );
  const part = ceil(pixels, Math.max(1, wanted, ceil(pixels, LONGEST)));
  const parts = ceil(pixels, part);

  const { stride, padTop, padLeft, upsample } = spec;
  const name = `weightGrad ${[batch, height, width, inChannels, outHeight, outWidth, outChannels, kh, kw]} ` +
    `${[stride, padTop, padLeft, upsample]}`;
  const kernel = (tile: Tile) =>
    gpu.kernel(`${name} by ${tile.down}x${tile.across}${tile.depth === 0 ? ", each for itself" : ""}`, () => {
      const { down, across, perThread: [m, n], depth } = tile;
      const tiles = tilesOf(tile), tilesAcross = ceil(outputs, across);
      const rowsApart = down / m, columnsApart = across / n;
      /** Vector `row` at a pixel, where its tap is in the picture. */
      const find = (row: string) => `
      let y${row} = ${mod("line", outHeight)} * ${stride}u + dy${row};
      let x${row} = ${mod("pixel", outWidth)} * ${stride}u + dx${row};
      let has${row} = isRow${row} && y${row} < ${height * upsample}u && x${row} < ${width * upsample}u;
      let from${row} = ${div("line", outHeight)} * ${height}u + ${div(`y${row}`, upsample)};
      let at${row} = (from${row} * ${width}u + ${div(`x${row}`, upsample)}) * ${inputs}u + channel${row};`;
      const loadRow = (row: string) =>
        `select(vec4f(), vec4f(a[select(0u, at${row}, has${row})]), has${row})`;
      /** What stays the same for a vector of rows. Places above the image wrap round to huge ones. */
      const prepare = (row: string, number: string) => `
  let mine${row} = rowTile * ${down}u + ${number};
  let isRow${row} = mine${row} < ${rows}u;
  let channel${row} = ${mod(`mine${row}`, inputs)};
  let tap${row} = ${div(`mine${row}`, inputs)};
  let dy${row} = ${div(`tap${row}`, kw)} - ${padTop}u;
  let dx${row} = ${mod(`tap${row}`, kw)} - ${padLeft}u;`;
      const eachSum = (text: (i: number, c: number) => string) =>
        repeat(m, (i) => repeat(n, (c) => text(i, c)));
      const multiply = (i: number, c: number) =>
        ["x", "y", "z", "w"].map((e, k) => {
          const sum = `acc${i}_${c}[${k}]`;
          return `${sum} = ${gpu.madd(sum, `u${i}.${e}`, `v${c}`)};`;
        }).join(" ");
      const loop = depth === 0
        ? `
  for (var pixel = start; pixel < end; pixel++) {
    let line = ${div("pixel", outWidth)};
${repeat(m, (i) => `${find(`${i}`)}\n    let u${i} = ${loadRow(`${i}`)};`)}
${
          repeat(n, (c) =>
            `    let v${c} = select(vec4f(), vec4f(g[pixel * ${outputs}u + min(column${c}, ${
              outputs - 1
            }u)]), ` +
            `column${c} < ${outputs}u);`)
        }
${eachSum(multiply)}
  }`
        : sharedLoop();
      function sharedLoop(): string {
        const threads = threadsOf(tile);
        const loads = (vectors: number, text: (at: string) => string) =>
          repeat(ceil(vectors, threads), (j) => {
            const statements = text(`(lid + ${j * threads}u)`);
            return vectors < threads ? `    if (lid < ${vectors}u) {${statements}}` : `    {${statements}}`;
          });
        // the thread's row stays the same, as whole rows of the tile are loaded at a time
        const loadA = (at: string) => `
      var v = vec4f();
      let pixel = first + ${div(at, down)};
      if (pixel < end) {
        let line = ${div("pixel", outWidth)};${find("L")}
        v = ${loadRow("L")};
      }
      aTile[${at}] = v; `;
        const loadB = (at: string) => `
      var v = vec4f();
      let pixel = first + ${div(at, across)};
      let column = columnTile * ${across}u + ${mod(at, across)};
      if (pixel < end && column < ${outputs}u) { v = vec4f(g[pixel * ${outputs}u + column]); }
      bTile[${at}] = v; `;
        return `
  for (var first = start; first < end; first += ${depth}u) {
    workgroupBarrier();
${loads(down * depth, loadA)}
${loads(across * depth, loadB)}
    workgroupBarrier();
${
          repeat(
            depth,
            (d) =>
              `    { let u0 = aTile[${d * down}u + ty]; let v0 = bTile[${d * across}u + tx]; ${
                multiply(0, 0)
              } }`,
          )
        }
  }`;
      }
      return {
        inputs: { a: "vec4f", g: "vec4f" },
        outputs: { out: "vec4f" },
        threads: threadsOf(tile),
        flops: 2 * pixels * kh * kw * inChannels * outChannels,
        globals: depth === 0 ? "" : `var<workgroup> aTile: array<vec4f, ${down * depth}>;
var<workgroup> bTile: array<vec4f, ${across * depth}>;`,
        body: `  if (group >= ${tiles * parts}u) { return; }
  let place = ${mod("group", tiles)};
  let rowTile = ${div("place", tilesAcross)};
  let columnTile = ${mod("place", tilesAcross)};
  let start = ${div("group", tiles)} * ${part}u;
  let end = min(start + ${part}u, ${pixels}u);
  let tx = ${mod("lid", columnsApart)};
  let ty = ${div("lid", columnsApart)};
${depth === 0 ? "" : prepare("L", mod("lid", down))}
${repeat(m, (i) => prepare(`${i}`, `ty + ${i * rowsApart}u`))}
${repeat(n, (c) => `  let column${c} = columnTile * ${across}u + tx + ${c * columnsApart}u;`)}
${eachSum((i, c) => `  var acc${i}_${c} = array<vec4f, 4>();`)}
${loop}
${
          eachSum((i, c) =>
            `  if (isRow${i} && column${c} < ${outputs}u) {
    let at = (${div("group", tiles)} * ${rows}u + mine${i}) * ${outputs * 4}u + column${c};
${
              repeat(4, (e) =>
                `    out[at + ${e * outputs}u] = acc${i}_${c}[${e}];`)
            }
  }`
          )
        }`,
      };
    });
  wholeVectors(gpu, x, 0, batch * height * width, inChannels, (a) => {
    wholeVectors(gpu, g, 0, pixels, outChannels, (whole) => {
      gpu.with(parts * bytes, (partial) => {
        const buffers = [a, whole, partial];
        const trials = choices.map((tile) => (): Trial => ({
          kernel: kernel(tile),
          groups: tilesOf(tile) * parts,
          buffers: buffers.map(ofGpu),
        }));
        const tile = choices[
          gpu.tuner.choose(`${name} ${dtypeOf(a)} ${dtypeOf(whole)}`, rows * 4 * outputs * pixels, trials)
        ];
        gpu.run(kernel(tile), buffers, tilesOf(tile) * parts);
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
