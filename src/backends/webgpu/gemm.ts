// The product behind convolutions, matrix products and the search of codes: out [rows, columns] = a [rows, depth] b. A
// workgroup has a tile of the output; it brings vectors of four of both factors to its memory, 16 steps of depth at a time.
import { type Buffer, type DType, itemBytes } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

export const ceil = (n: number, by: number): number => Math.ceil(n / by);

/** Part of the output that a workgroup computes; a thread has `perThread` rows of four columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly perThread: number;
}

/** Vectors of four along the depth that a workgroup holds at a time. */
const QUADS = 4;
const LARGE: Tile = { rows: 128, columns: 64, perThread: 8 };
export const MIDDLE: Tile = { rows: 64, columns: 64, perThread: 4 };
const SMALL: Tile = { rows: 32, columns: 32, perThread: 4 };
const NARROW: Tile = { rows: 128, columns: 4, perThread: 2 };
/** Tiles that keep a GPU busy. */
const MANY = 256;

export function tileFor(rows: number, columns: number): Tile {
  if (columns <= NARROW.columns) return NARROW;
  if (columns <= SMALL.columns) return SMALL;
  return [LARGE, MIDDLE].find((tile) => tilesOf(tile, rows, columns) >= MANY) ?? SMALL;
}

export function tilesOf(tile: Tile, rows: number, columns: number): number {
  return ceil(rows, tile.rows) * ceil(columns, tile.columns);
}

export const threadsOf = (tile: Tile): number => (tile.rows / tile.perThread) * (tile.columns / 4);

/** Where the vectors of `a` come from, as text; `quad` is the number of the vector within the row. */
export interface Rows {
  /** Vectors of a row. */
  readonly quads: number;
  /** Declarations for the `j`-th row that a thread loads, whose number is `row`; before the loop. */
  readonly prepare: (j: number, row: string) => string;
  /** Declarations for all rows, at each step of the loop. */
  readonly step: string;
  /** Statements that set `v`, which is 0, to vector `quad` of the `j`-th row. */
  readonly load: (j: number) => string;
}

/** Columns of `b` as `pack` lays them out: whole tiles. */
export const packedColumns = (columns: number, tile: Tile): number =>
  ceil(columns, tile.columns) * tile.columns;

/** Workgroup memory of `product`. */
export function tileMemory(tile: Tile): string {
  return `var<workgroup> aTile: array<vec4f, ${tile.rows * QUADS}>;
var<workgroup> bTile: array<vec4f, ${tile.columns * QUADS}>;`;
}

/** The number of the i-th row of a thread within its tile. */
export const rowOf = (tile: Tile, i: number): string => `ty + ${i * (tile.rows / tile.perThread)}u`;

/** What `product` knows before its loop: the thread's place `tx`, `ty` in its tile, and the vector it loads, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", tile.columns / 4)};
  let ty = ${div("lid", tile.columns / 4)};
  let lane = ${mod("lid", QUADS)};`;
}

/** What a thread's loads of `a` need, for the tile of rows `rowTile`. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const threads = threadsOf(tile);
  return repeat(
    (tile.rows * QUADS) / threads,
    (j) => rows.prepare(j, `rowTile * ${tile.rows}u + ${div(`lid + ${j * threads}u`, QUADS)}`),
  );
}

/** Computes acc0, acc1 ...: the thread's rows of the tile at (`rowTile`, `columnTile`). `columns` are those of `b`. */
export function product(tile: Tile, rows: Rows, columns: number): string {
  const threads = threadsOf(tile), across = tile.columns / 4;
  const bVectors = tile.columns * QUADS;
  const loadA = (j: number) =>
    `    { var v = vec4f();\n${rows.load(j)}\n    aTile[lid + ${j * threads}u] = v; }`;
  const loadB = (j: number) => {
    const at = `(lid + ${j * threads}u)`;
    const text = `bTile[${at}] = vec4f(b[(step * ${4 * QUADS}u + ${div(at, across)}) * ${columns / 4}u + ` +
      `columnTile * ${across}u + ${mod(at, across)}]);`;
    return bVectors < threads ? `    if (lid < ${bVectors}u) { ${text} }` : `    ${text}`;
  };
  const multiply = (quad: number) =>
    [
      "    {",
      repeat(4, (e) => `    let b${e} = bTile[${(4 * quad + e) * across}u + tx];`),
      repeat(tile.perThread, (i) => {
        const terms = ["x", "y", "z", "w"].map((e, k) => `acc${i} = fma(vec4f(a.${e}), b${k}, acc${i});`);
        return `    { let a = aTile[(${rowOf(tile, i)}) * ${QUADS}u + ${quad}u]; ${terms.join(" ")} }`;
      }),
      "    }",
    ].join("\n");
  return `${repeat(tile.perThread, (i) => `  var acc${i} = vec4f();`)}
  for (var step = 0u; step < ${ceil(rows.quads, QUADS)}u; step++) {
    let quad = step * ${QUADS}u + lane;
${rows.step}
    workgroupBarrier();
${repeat((tile.rows * QUADS) / threads, loadA)}
${repeat(ceil(bVectors, threads), loadB)}
    workgroupBarrier();
${repeat(QUADS, multiply)}
  }`;
}

/** A kernel's body: computes the tile of this workgroup of out [height, width]; `store` then has `row` and `column` of acc<i>. */
export function tiledProduct(
  tile: Tile,
  rows: Rows,
  height: number,
  width: number,
  store: (i: number) => string,
): string {
  const across = ceil(width, tile.columns);
  return `  if (group >= ${tilesOf(tile, height, width)}u) { return; }
  let rowTile = ${div("group", across)};
  let columnTile = ${mod("group", across)};
${places(tile)}
${prepareRows(tile, rows)}
${product(tile, rows, packedColumns(width, tile))}
  let column = columnTile * ${tile.columns}u + tx * 4u;
${
    repeat(tile.perThread, (i) =>
      `  { let row = rowTile * ${tile.rows}u + ${rowOf(tile, i)};
  if (row < ${height}u && column < ${width}u) {
${store(i)}
  } }`)
  }`;
}

/** Rows of whole vectors, one behind the other, from vector `start` of a. */
export function plainRows(rows: number, quads: number, start: string): Rows {
  const inside = quads % QUADS === 0 ? "" : ` && quad < ${quads}u`;
  return {
    quads,
    prepare: (j, row) => `  let row${j} = ${row};`,
    step: "",
    load: (j) =>
      `    if (row${j} < ${rows}u${inside}) { v = vec4f(a[${start} + row${j} * ${quads}u + quad]); }`,
  };
}

/** One side of a filter: tap t of `count` is the sum of the weights from + slope t and the `reach` - 1 behind it. */
export interface Taps {
  readonly count: number;
  readonly from: number;
  readonly slope: number;
  readonly reach: number;
  /** Weights there are; sums leave out what lies beyond. */
  readonly kernel: number;
}

export const ONE_TAP: Taps = { count: 1, from: 0, slope: 1, reach: 1, kernel: 1 };

/** The filters of a product: a weight lies at output * outStride + input * inStride + y * width + x. */
export interface Weights {
  readonly inputs: number;
  readonly outputs: number;
  readonly outStride: number;
  readonly inStride: number;
  readonly down: Taps;
  readonly across: Taps;
}

/**
 * Lays weights out as `product` reads them, [tap, input, output] with zeros around, for the length of `body`; as f16 where
 * they are to meet f16.
 */
export function packed(
  gpu: Gpu,
  w: Buffer,
  offset: number,
  weights: Weights,
  tile: Tile,
  dtype: DType,
  body: (packed: Buffer) => void,
): void {
  const { inputs, outputs, outStride, inStride, down, across } = weights;
  const quads = ceil(inputs, 4), taps = down.count * across.count;
  const depth = ceil(taps * quads, QUADS) * QUADS * 4, vectors = packedColumns(outputs, tile) / 4;
  const loop = (name: string, { from, slope, reach, kernel }: Taps, tap: string) =>
    `let ${name}From = ${from} + ${slope} * i32(${tap});
  let ${name}To = min(${name}From + ${reach}, ${kernel});
  for (var ${name} = max(${name}From, 0); ${name} < ${name}To; ${name}++)`;
  const kernel = gpu.kernel(`pack ${JSON.stringify(weights)} ${vectors}`, () => ({
    inputs: { w: "f32" },
    outputs: { out: "vec4f" },
    params: { start: "u32" },
    threads: THREADS,
    body: `${each(`${depth * vectors}u`)}
  let output = ${mod("i", vectors)} * 4u;
  let row = ${div("i", vectors)};
  let input = ${mod("row", quads * 4)};
  let tap = ${div("row", quads * 4)};
  var v = vec4f();
  if (input < ${inputs}u && tap < ${taps}u) {
  let at = p.start + output * ${outStride}u + input * ${inStride}u;
  ${loop("y", down, div("tap", across.count))} {
  ${loop("x", across, mod("tap", across.count))} {
  let place = at + u32(y) * ${across.kernel}u + u32(x);
${repeat(4, (e) => `  if (output + ${e}u < ${outputs}u) { v[${e}] += f32(w[place + ${e * outStride}u]); }`)}
  } } }
  out[i] = out_t(v);`,
  }));
  gpu.with(depth * vectors * 4 * itemBytes[dtype], (to) => {
    gpu.run(kernel, [w, to], groupsOf(depth * vectors), [offset]);
    body(to);
  }, dtype);
}
