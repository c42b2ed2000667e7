// The product behind convolutions, matrix products and the search of codes: out [rows, columns] = a [rows, depth] b. A
// workgroup computes a tile of the output. How its threads come by the factors depends on the kind of tile.
import type { DType } from "../backend.ts";
import type { Gpu } from "./gpu.ts";
import {
  MATRIX_QUADS,
  matrixExtensions,
  matrixMemory,
  type MatrixShape,
  matrixTile,
} from "./subgroup_matrix.ts";
import { div, mod, repeat } from "./wgsl.ts";

export const ceil = (n: number, by: number): number => Math.ceil(n / by);

/** The text of a sum and a product. */
export type Madd = (sum: string, a: string, b: string) => string;

/** Part of the output that a workgroup computes; a thread has `perThread` rows of `vectors` times four columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly perThread: number;
  readonly vectors: number;
  /**
   * Who brings the factors: all threads, through the workgroup's memory, or through it to matrices (matrix.ts); four
   * neighbours, which have the same rows, one row of four each for the others; or each thread for itself.
   */
  readonly kind: "shared" | "matrix" | "quad" | "direct";
  readonly matrix?: MatrixShape;
}

/** Vectors of four along the depth that a workgroup holds at a time. */
export const QUADS = 4;
const HUGE: Tile = { rows: 128, columns: 128, perThread: 8, vectors: 2, kind: "shared" };
const LARGE: Tile = { rows: 64, columns: 64, perThread: 8, vectors: 2, kind: "shared" };
const MIDDLE: Tile = { rows: 64, columns: 64, perThread: 4, vectors: 1, kind: "shared" };
const SMALL: Tile = { rows: 32, columns: 32, perThread: 4, vectors: 1, kind: "shared" };
const NARROW: Tile = { rows: 128, columns: 4, perThread: 2, vectors: 1, kind: "shared" };
/** For a CPU that plays GPU: four threads in all. */
const QUAD: Tile = { rows: 16, columns: 64, perThread: 16, vectors: 4, kind: "quad" };
/** Workgroups that keep a GPU busy. */
const MANY = 256;

/**
 * The tiles that may be best, the likeliest first. Matrices have no rival: they add in another order than the other tiles,
 * and results are not to depend on what was measured.
 * @param depth vectors of a row, or of each of its taps
 * @param parts that each tile is split into over the depth (split.ts)
 */
export function tilesFor(
  gpu: Gpu,
  rows: number,
  columns: number,
  depth: number,
  dtype: DType,
  parts = 1,
): Tile[] {
  if (gpu.matrix && dtype === "f16" && takesMatrices(columns, depth)) {
    return [matrixTile(gpu.matrix, parts * rows, columns)];
  }
  const direct = directTile(gpu, rows, columns), shared = sharedTiles(rows, columns, parts);
  // a CPU that plays GPU pays dearly for each barrier; a GPU waits long for what each thread reads for itself
  if (gpu.report.isSoftware) return depth % QUADS === 0 ? [direct, ...shared] : [direct];
  return depth % QUADS === 0 ? shared : [direct];
}

/** Whether matrices multiply f16 factors of this shape, where there are any. */
export const takesMatrices = (columns: number, depth: number): boolean =>
  depth % MATRIX_QUADS === 0 && columns > SMALL.columns;

/** For so many columns, if rows are neither few nor very many. */
export function usualTile(columns: number): Tile {
  return columns <= NARROW.columns ? NARROW : columns <= SMALL.columns ? SMALL : LARGE;
}

function sharedTiles(rows: number, columns: number, parts: number): Tile[] {
  if (columns <= SMALL.columns) return [usualTile(columns)];
  const first = [HUGE, LARGE, MIDDLE].find((tile) => tilesOf(tile, rows, columns) * parts >= MANY) ?? SMALL;
  return [first, ...[HUGE, LARGE, MIDDLE, SMALL].filter((tile) => tile !== first)];
}

/** The smallest that takes all rows or columns, up to 64x64. */
function directTile(gpu: Gpu, rows: number, columns: number): Tile {
  const least = (sizes: number[], wanted: number) => sizes.find((size) => wanted <= size) ?? 64;
  const width = least([4, 8, 16, 32], columns), vectors = Math.min(4, width / 4);
  // a load costs a CPU that plays GPU more than ten multiplications
  if (width === 64 && rows > 8 && gpu.hasQuads) return QUAD;
  return { rows: least([8, 16, 32], rows), columns: width, perThread: 8, vectors, kind: "direct" };
}

export function tilesOf(tile: Tile, rows: number, columns: number): number {
  return ceil(rows, tile.rows) * ceil(columns, tile.columns);
}

/** Threads side by side. */
export const threadsAcross = (tile: Tile): number => tile.columns / 4 / tile.vectors;
export const threadsOf = (tile: Tile): number => (tile.rows / tile.perThread) * threadsAcross(tile);

/** What tells a tile from its rivals. */
export const tileName = ({ rows, columns, perThread, vectors, kind }: Tile): string =>
  `${rows}x${columns}/${perThread}x${4 * vectors} ${kind}`;

/** Where the vectors of `a` come from, as text: a row is the vectors of its taps, one after another. */
export interface Rows {
  /**
   * The first of the row's vectors that is multiplied, and the one behind the last, as text that knows `rowTile`, and
   * `part` in kernels of one product.
   */
  readonly start: string;
  readonly end: string;
  /** Vectors of a tap, as text. */
  readonly channels: string;
  /** Declarations for the `j`-th row of a thread, whose number is `row`; before the loops. */
  readonly prepare: (j: number, row: string) => string;
  /** Declarations for all rows, at each `tap`. */
  readonly step: string;
  /** Declares `at<j>`, where the tap of the `j`-th row begins, and `has<j>`, whether it is there; else it is 0. */
  readonly find: (j: number) => string;
}

/** Columns of `b` as `pack` lays them out: whole tiles. */
export const packedColumns = (columns: number, tile: Tile): number =>
  ceil(columns, tile.columns) * tile.columns;

/** Extensions of WGSL that the tile's text uses. */
export function extensionsOf({ kind }: Tile): readonly string[] {
  return kind === "matrix" ? matrixExtensions : kind === "quad" ? ["subgroups"] : [];
}

/** Workgroup memory of `product`. */
export function tileMemory(tile: Tile): string {
  if (tile.kind === "matrix") return matrixMemory(tile.columns, false);
  if (tile.kind !== "shared") return "";
  return `var<workgroup> aTile: array<vec4f, ${tile.rows * QUADS}>;
var<workgroup> bTile: array<vec4f, ${tile.columns * QUADS}>;`;
}

/** The number of the i-th row of a thread within its tile. */
export const rowOf = (tile: Tile, i: number): string => `ty + ${i * (tile.rows / tile.perThread)}u`;
/** That of its c-th vector of columns. */
export const vectorOf = (tile: Tile, c: number): string => `tx + ${c * threadsAcross(tile)}u`;

/** Text for each sum of a thread, `acc<i>_<c>`. */
export function eachSum(tile: Tile, text: (i: number, c: number) => string): string {
  return repeat(tile.perThread, (i) => repeat(tile.vectors, (c) => text(i, c)));
}

/** Vectors along the depth that the tile has in the workgroup's memory. */
const quadsOf = (tile: Tile): number => tile.kind === "matrix" ? MATRIX_QUADS : QUADS;

/** What `product` knows before its loop: the thread's place `tx`, `ty` in its tile, and which of several loads is its, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", threadsAcross(tile))};
  let ty = ${div("lid", threadsAcross(tile))};
  let lane = ${mod("lid", quadsOf(tile))};`;
}

/** Rows that a thread loads. */
export function loadsOf(tile: Tile): number {
  if (tile.kind === "direct") return tile.perThread;
  return tile.kind === "quad" ? tile.perThread / 4 : (tile.rows * quadsOf(tile)) / threadsOf(tile);
}

/** What a thread's loads of `a` need, for the tile of rows `rowTile`. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const own = (j: number) => {
    if (tile.kind === "direct") return rowOf(tile, j);
    if (tile.kind === "quad") return `ty + (${4 * j}u + lane) * ${tile.rows / tile.perThread}u`;
    return div(`lid + ${j * threadsOf(tile)}u`, quadsOf(tile));
  };
  return repeat(loadsOf(tile), (j) => rows.prepare(j, `rowTile * ${tile.rows}u + (${own(j)})`));
}

/**
 * Computes the thread's sums in the tile at (`rowTile`, `columnTile`); with matrices, matrixProduct does.
 * @param vectors of a row of `b`, as text
 */
export function product(tile: Tile, rows: Rows, vectors: string, madd: Madd): string {
  const loop = tile.kind === "quad" ? quadLoop : tile.kind === "direct" ? directLoop : sharedLoop;
  return `${eachSum(tile, (i, c) => `  var acc${i}_${c} = vec4f();`)}
${eachTap(tile, rows, loop(tile, vectors, madd))}`;
}

/** The loop over taps. Its body knows `base`, the tap's first vector, and which of its channels count: `first` to `last` - 1. */
export function eachTap(tile: Tile, { start, end, channels, step, find }: Rows, body: string): string {
  return `  let start = ${start};
  let end = ${end};
  for (var tap = start / ${channels}; tap * ${channels} < end; tap++) {
    let base = tap * ${channels};
    let first = max(start, base) - base;
    let last = min(end - base, ${channels});
${step}
${repeat(loadsOf(tile), find)}
${body}
  }`;
}

const load = (j: number, channel: string) => `select(vec4f(), vec4f(a[at${j} + ${channel}]), has${j})`;

/** The loop over vectors of `a`, each of which meets four rows of `b`, the first of them at `place`. */
function eachVector(tile: Tile, vectors: string, body: string): string {
  return `  var place = (base + first) * 4u * ${vectors} + columnTile * ${tile.columns / 4}u + tx;
  for (var channel = first; channel < last; channel++) {
${body}
    place += 4u * ${vectors};
  }`;
}

/** Vector c of row e of the four. */
const loadB = (tile: Tile, vectors: string, e: number, c: number) =>
  `vec4f(b[place + ${e}u * ${vectors} + ${c * threadsAcross(tile)}u])`;

function directLoop(tile: Tile, vectors: string, madd: Madd): string {
  const multiply = (e: number) => {
    const sum = (i: number, c: number) => madd(`acc${i}_${c}`, `a${i}.${"xyzw"[e]}`, `b${c}`);
    return `    {
${repeat(tile.vectors, (c) => `    let b${c} = ${loadB(tile, vectors, e, c)};`)}
${eachSum(tile, (i, c) => `    acc${i}_${c} = ${sum(i, c)};`)}
    }`;
  };
  const loads = repeat(tile.perThread, (i) => `    let a${i} = ${load(i, "channel")};`);
  return eachVector(tile, vectors, `${loads}\n${repeat(4, multiply)}`);
}

/** Sums are read and written once for four products: where they do not fit the registers, that counts. */
function quadLoop(tile: Tile, vectors: string, madd: Madd): string {
  const multiply = (i: number) => {
    const sum = (c: number) =>
      ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}_${c}`), `acc${i}_${c}`);
    return `    { let a = quadBroadcast(four${i >> 2}, ${i & 3}u);
${repeat(tile.vectors, (c) => `    acc${i}_${c} = ${sum(c)};`)} }`;
  };
  const loads = [
    repeat(4, (e) => repeat(tile.vectors, (c) => `    let b${e}_${c} = ${loadB(tile, vectors, e, c)};`)),
    repeat(loadsOf(tile), (j) => `    let four${j} = ${load(j, "channel")};`),
  ];
  return eachVector(tile, vectors, [...loads, repeat(tile.perThread, multiply)].join("\n"));
}

/** What the next step needs is on its way while this one's is multiplied. */
function sharedLoop(tile: Tile, vectors: string, madd: Madd): string {
  const threads = threadsOf(tile), across = tile.columns / 4, all = tile.columns * QUADS;
  const loadsA = loadsOf(tile), loadsB = ceil(all, threads);
  const place = (j: number) => `lid + ${j * threads}u`;
  const ask = (channel: string) => {
    const b = (j: number) =>
      `b[((base + ${channel}) * 4u + ${div(`(${place(j)})`, across)}) * ${vectors} + ` +
      `columnTile * ${across}u + ${mod(`(${place(j)})`, across)}]`;
    return `${repeat(loadsA, (j) => `    nextA${j} = ${load(j, `${channel} + lane`)};`)}
${repeat(loadsB, (j) => `    nextB${j} = vec4f(${b(j)});`)}`;
  };
  const storeB = (j: number) => {
    const text = `bTile[${place(j)}] = nextB${j};`;
    return (j + 1) * threads > all ? `    if (${place(j)} < ${all}u) { ${text} }` : `    ${text}`;
  };
  const multiply = (quad: number) => {
    const b = (e: number, c: number) =>
      `    let b${e}_${c} = bTile[${(4 * quad + e) * across + c * threadsAcross(tile)}u + tx];`;
    const sum = (i: number, c: number) =>
      ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}_${c}`), `acc${i}_${c}`);
    const row = (i: number) =>
      `    { let a = aTile[(${rowOf(tile, i)}) * ${QUADS}u + ${quad}u];
${repeat(tile.vectors, (c) => `    acc${i}_${c} = ${sum(i, c)};`)} }`;
    return `    {
${repeat(4, (e) => repeat(tile.vectors, (c) => b(e, c)))}
${repeat(tile.perThread, row)}
    }`;
  };
  return `${repeat(loadsA, (j) => `    var nextA${j} = vec4f();`)}
${repeat(loadsB, (j) => `    var nextB${j} = vec4f();`)}
${ask("first")}
  for (var channel = first; channel < last; channel += ${QUADS}u) {
    workgroupBarrier();
${repeat(loadsA, (j) => `    aTile[${place(j)}] = nextA${j};`)}
${repeat(loadsB, storeB)}
    workgroupBarrier();
    let next = min(channel + ${QUADS}u, last - ${QUADS}u);
${ask("next")}
${repeat(QUADS, multiply)}
  }`;
}
