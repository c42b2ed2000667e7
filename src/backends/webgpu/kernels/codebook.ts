// Kernels on codebooks: rows by index, and the search for the code nearest to each row. It computes the argmin over j of
// |e_j|^2 - 2 z.e_j; |z|^2 is left out, because it is the same for all codes. Each workgroup finds the best of a stretch of
// codes, so that the matrix of distances is never stored. A second kernel compares the stretches.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import { extensionsOf, tileMemory, tileProduct } from "./gemm.ts";
import { plainRows } from "./product.ts";
import { type Dispatch, u32s } from "./source.ts";
import {
  eachSum,
  type Madd,
  packedColumns,
  places,
  prepareRows,
  rowOf,
  threadsAcross,
  threadsOf,
  type Tile,
  vectorOf,
} from "./tile.ts";
import { ceil, div, each, groupsOf, mod, repeat, THREADS } from "./wgsl.ts";

export function gather({ indices, table, out, columns }: Calls["gather"]): Dispatch {
  const n = indices.length * columns;
  return {
    name: `gather ${columns}`,
    operands: [indices, table, out],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: { indices: "u32", table: "f32" },
      outputs: { out: "f32" },
      params: { n: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  out[i] = table[indices[${div("i", columns)}] * ${columns}u + ${mod("i", columns)}];`,
    }),
  };
}

/** Each thread computes one column, so that rows are added in the order of the indices. */
export function scatterAdd({ indices, rows, table, columns }: Calls["scatterAdd"]): Dispatch {
  return {
    name: `scatterAdd ${columns}`,
    operands: [indices, rows, table],
    groups: ceil(columns, 64),
    params: { count: indices.length },
    source: () => ({
      inputs: { indices: "u32", rows: "f32" },
      outputs: { table: "f32" },
      params: { count: "u32" },
      threads: 64,
      body: `  let column = group * 64u + lid;
  if (column >= ${columns}u) { return; }
  for (var i = 0u; i < p.count; i++) {
    let at = indices[i] * ${columns}u + column;
    table[at] += rows[i * ${columns}u + column];
  }`,
    }),
  };
}

/** Codes of a stretch. */
const STRETCH = 1024;
/** A score larger than that of any code, because WGSL cannot write infinity. */
const FAR = "3.4028234e38f";

export const stretchesOf = (codes: number): number => ceil(codes, STRETCH);

type Call = Calls["nearestCode"];

/** |e|^2 of the packed codes; each thread computes four. Places after the last code get `FAR`. */
export function codeNorms({ codes, channels }: Call, tile: Tile, book: Slot, norms: Slot): Dispatch {
  const vectors = packedColumns(codes, tile) / 4;
  return {
    name: `codeNorms ${codes} ${channels}`,
    operands: [book, norms],
    groups: groupsOf(vectors),
    source: () => ({
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
    }),
  };
}

/**
 * The lowest score of each row of z in each stretch, and the bits of its code: best is [count, stretches, 2].
 * @param z rows that are padded to whole vectors
 */
export function bestOfStretches(
  { count, codes, channels }: Call,
  tile: Tile,
  madd: Madd,
  z: Slot,
  book: Slot,
  norms: Slot,
  best: Slot,
): Dispatch {
  const across = tile.columns / 4, columns = packedColumns(codes, tile), stretches = stretchesOf(codes);
  const groups = ceil(count, tile.rows) * stretches;
  const params = { rows: count, quads: ceil(channels, 4), start: z.offset / 4 };
  return {
    name: `nearestCode ${count} ${codes} ${channels}`,
    operands: [z, book, norms, best],
    groups,
    params,
    source: () => {
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
${tileProduct(tile, rows, `${columns / 4}u`, madd)}
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
    },
  };
}

/** The code with the lowest score for each row. Among equal scores it takes the first stretch. */
export function bestOfAll({ count, codes, out }: Call, best: Slot): Dispatch {
  const stretches = stretchesOf(codes);
  return {
    name: `lowestScore ${stretches}`,
    operands: [best, out],
    groups: groupsOf(count),
    params: { n: count },
    source: () => ({
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
    }),
  };
}
