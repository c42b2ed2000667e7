// The code nearest to each row: argmin over j of |e_j|^2 - 2 z.e_j, as |z|^2 is the same for all codes. A workgroup keeps
// the best of a stretch of codes as it goes, so the matrix of distances is never stored; a second kernel compares stretches.
import type { Buffer } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import {
  ceil,
  eachSum,
  extensionsOf,
  packedColumns,
  places,
  prepareRows,
  product,
  rowOf,
  threadsAcross,
  threadsOf,
  type Tile,
  tileMemory,
  tilesFor,
  vectorOf,
} from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import { ONE_TAP, packed } from "./pack.ts";
import { plainRows } from "./product.ts";
import { div, mod, repeat, THREADS, u32s } from "./wgsl.ts";

/** Codes of a stretch. */
const STRETCH = 1024;
/** Further than any code: WGSL has no word for infinity. */
const FAR = "3.4028234e38f";

/** Index of the row of codebook [codes, channels] nearest to each row of z [count, channels]; the lowest wins ties. */
export function nearestCode(
  gpu: Gpu,
  z: Buffer,
  codebook: Buffer,
  out: Buffer,
  count: number,
  codes: number,
  channels: number,
): void {
  const weights = {
    inputs: channels,
    outputs: codes,
    outStride: channels,
    inStride: 1,
    down: ONE_TAP,
    across: ONE_TAP,
  };
  // the largest tiles leave no memory of the workgroup's for the comparison
  const tile = tilesFor(gpu, count, codes, ceil(channels, 4), "f32").find(({ columns }) => columns <= 64)!;
  const columns = packedColumns(codes, tile), stretches = ceil(codes, STRETCH);
  wholeVectors(gpu, z, 0, count, channels, (rows, start) => {
    packed(gpu, codebook, 0, weights, tile, "f32", (book) => {
      gpu.with(columns * 4, (norms) => {
        codeNorms(gpu, tile, book, norms, codes, channels);
        gpu.with(count * stretches * 8, (best) => {
          search(gpu, tile, rows, start, book, norms, best, count, codes, channels);
          lowest(gpu, best, out, count, stretches);
        });
      });
    });
  });
}

/** |e|^2 of the packed codes, four a thread; places beyond the last are infinitely far. */
function codeNorms(
  gpu: Gpu,
  tile: Tile,
  book: Buffer,
  norms: Buffer,
  codes: number,
  channels: number,
): void {
  const vectors = packedColumns(codes, tile) / 4;
  const kernel = gpu.kernel(`codeNorms ${codes} ${channels}`, () => ({
    inputs: { book: "vec4f" },
    outputs: { norms: "vec4f" },
    threads: THREADS,
    body: `${each(`${vectors}u`)}
  var total = vec4f();
  for (var c = 0u; c < ${channels}u; c++) {
    let e = book[c * ${vectors}u + i];
    total = fma(e, e, total);
  }
  let code = vec4u(i * 4u) + vec4u(0u, 1u, 2u, 3u);
  norms[i] = select(vec4f(${FAR}), total, code < vec4u(${codes}u));`,
  }));
  gpu.run(kernel, [book, norms], groupsOf(vectors));
}

/** The best score and code of each row in each stretch: [count, stretches], the code as bits. */
function search(
  gpu: Gpu,
  tile: Tile,
  z: Buffer,
  start: number,
  book: Buffer,
  norms: Buffer,
  best: Buffer,
  count: number,
  codes: number,
  channels: number,
): void {
  const across = tile.columns / 4, columns = packedColumns(codes, tile), stretches = ceil(codes, STRETCH);
  const groups = ceil(count, tile.rows) * stretches,
    params = { rows: count, quads: ceil(channels, 4), start };
  const kernel = gpu.kernel(`nearestCode ${count} ${codes} ${channels}`, () => {
    const rows = { ...plainRows("p.start"), start: "0u", end: "p.quads" };
    return {
      inputs: { a: "vec4f", b: "vec4f", norms: "vec4f" },
      outputs: { best: "vec2f" },
      params: u32s(params),
      extensions: extensionsOf(tile),
      threads: threadsOf(tile),
      globals: `${tileMemory(tile)}
var<workgroup> slots: array<vec2f, ${threadsOf(tile)}>;
fn better(a: vec2f, b: vec2f) -> vec2f {
  let isTie = a.x == b.x && bitcast<u32>(b.y) < bitcast<u32>(a.y);
  return select(a, b, b.x < a.x || isTie);
}`,
      body: `  if (group >= ${groups}u) { return; }
  let rowTile = ${div("group", stretches)};
  let stretch = ${mod("group", stretches)};
${places(tile)}
${prepareRows(tile, rows)}
${repeat(tile.perThread, (i) => `  var best${i} = ${FAR};\n  var code${i} = 0u;`)}
  let last = min((stretch + 1u) * ${STRETCH / tile.columns}u, ${columns / tile.columns}u);
  for (var columnTile = stretch * ${STRETCH / tile.columns}u; columnTile < last; columnTile++) {
${product(tile, rows, `${columns / 4}u`, gpu.madd)}
${
        repeat(tile.vectors, (c) =>
          `    let vector${c} = columnTile * ${across}u + ${vectorOf(tile, c)};
    let norm${c} = norms[vector${c}];`)
      }
${
        eachSum(tile, (i, c) =>
          `    { let score = fma(acc${i}_${c}, vec4f(-2.0), norm${c});
${
            repeat(4, (e) =>
              `    if (score[${e}] < best${i}) { best${i} = score[${e}]; code${i} = vector${c} * 4u + ${e}u; }`)
          } }`)
      }
  }
${
        repeat(tile.perThread, (i) =>
          `  workgroupBarrier();
  slots[lid] = vec2f(best${i}, bitcast<f32>(code${i}));
  workgroupBarrier();
  if (tx == 0u) {
    var mine = slots[lid];
    for (var t = 1u; t < ${threadsAcross(tile)}u; t++) { mine = better(mine, slots[lid + t]); }
    let row = rowTile * ${tile.rows}u + ${rowOf(tile, i)};
    if (row < ${count}u) { best[row * ${stretches}u + stretch] = mine; }
  }`)
      }`,
    };
  });
  gpu.run(kernel, [z, book, norms, best], groups, params, 2 * count * codes * channels);
}

/** The first of the lowest scores of each row, stretch by stretch. */
function lowest(gpu: Gpu, best: Buffer, out: Buffer, count: number, stretches: number): void {
  const kernel = gpu.kernel(`lowestScore ${stretches}`, () => ({
    inputs: { best: "vec2f" },
    outputs: { out: "i32" },
    params: { n: "u32" },
    threads: THREADS,
    body: `${each("p.n")}
  var mine = best[i * ${stretches}u];
  for (var s = 1u; s < ${stretches}u; s++) {
    let other = best[i * ${stretches}u + s];
    if (other.x < mine.x) { mine = other; }
  }
  out[i] = bitcast<i32>(mine.y);`,
  }));
  gpu.run(kernel, [best, out], groupsOf(count), { n: count });
}
