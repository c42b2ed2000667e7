// A tile is the part of a product out [rows, columns] = a [rows, depth] b that one workgroup computes. This file has the
// geometry of tiles, and the texts that all kinds of tiles share.
import { ceil, div, mod, repeat } from "./wgsl.ts";

/** Returns the text of a multiply-add. */
export type Madd = (sum: string, a: string, b: string) => string;

/** The sizes of subgroup matrices: the threads of a subgroup multiply left [m, k] by right [k, n]. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** How many threads each multiplying subgroup is given. If subgroups are smaller than this, the other threads wait. */
  readonly lanes: number;
}

/** A tile, in which each thread computes `perThread` rows of `vectors` times four columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly perThread: number;
  readonly vectors: number;
  /**
   * How the factors are loaded. "shared": all threads load them into the workgroup's memory. "matrix": the same, and then
   * subgroup matrices multiply them (subgroup_matrix.ts). "quad": four neighbouring threads, which have the same rows, each
   * load a quarter of them and share it. "direct": each thread loads what it needs.
   */
  readonly kind: "shared" | "matrix" | "quad" | "direct";
  readonly matrix?: MatrixShape;
}

/** How many vectors of four along the depth a workgroup holds at a time, and how many with matrices. */
export const QUADS = 4, MATRIX_QUADS = 8;

export function tilesOf(tile: Tile, rows: number, columns: number): number {
  return ceil(rows, tile.rows) * ceil(columns, tile.columns);
}

/** The number of threads across a tile, and of all its threads. */
export const threadsAcross = (tile: Tile): number => tile.columns / 4 / tile.vectors;
export const threadsOf = (tile: Tile): number => (tile.rows / tile.perThread) * threadsAcross(tile);

/** A name that is different for every tile. */
export const tileName = ({ rows, columns, perThread, vectors, kind }: Tile): string =>
  `${rows}x${columns}/${perThread}x${4 * vectors} ${kind}`;

/** The number of columns of the packed `b` (pack.ts), rounded up to whole tiles. */
export const packedColumns = (columns: number, tile: Tile): number =>
  ceil(columns, tile.columns) * tile.columns;

/** Texts that find the vectors of `a`. A row consists of the vectors of its taps, one tap after another. */
export interface Rows {
  /**
   * The first of the row's vectors to multiply, and the one after the last. The texts may use `rowTile`, and in the kernels
   * of product.ts also `part`.
   */
  readonly start: string;
  readonly end: string;
  /** The number of vectors of a tap. */
  readonly channels: string;
  /** Declarations before the loops, for the `j`-th row of a thread, whose number is `row`. */
  readonly prepare: (j: number, row: string) => string;
  /** Declarations for all rows, at each `tap`. */
  readonly step: string;
  /**
   * Declares `at<j>`, where the tap of the `j`-th row begins, and `has<j>`, whether it exists; a tap that does not is 0.
   */
  readonly find: (j: number) => string;
}

/** The number of a thread's i-th row within its tile. */
export const rowOf = (tile: Tile, i: number): string => `ty + ${i * (tile.rows / tile.perThread)}u`;
/** The number of a thread's c-th vector of columns within its tile. */
export const vectorOf = (tile: Tile, c: number): string => `tx + ${c * threadsAcross(tile)}u`;

/** Text for each sum of a thread, `acc<i>_<c>`. */
export function eachSum(tile: Tile, text: (i: number, c: number) => string): string {
  return repeat(tile.perThread, (i) => repeat(tile.vectors, (c) => text(i, c)));
}

/** How many vectors along the depth are in the workgroup's memory at a time. */
const quadsOf = (tile: Tile): number => tile.kind === "matrix" ? MATRIX_QUADS : QUADS;

/** Declares the thread's place in its tile, `tx` and `ty`, and the number of the vector that it loads, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", threadsAcross(tile))};
  let ty = ${div("lid", threadsAcross(tile))};
  let lane = ${mod("lid", quadsOf(tile))};`;
}

/** How many rows of `a` a thread loads. */
export function loadsOf(tile: Tile): number {
  if (tile.kind === "direct") return tile.perThread;
  return tile.kind === "quad" ? tile.perThread / 4 : (tile.rows * quadsOf(tile)) / threadsOf(tile);
}

/** Declares what a thread needs to load its rows of `a`, for row `rowTile` of tiles. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const own = (j: number) => {
    if (tile.kind === "direct") return rowOf(tile, j);
    if (tile.kind === "quad") return `ty + (${4 * j}u + lane) * ${tile.rows / tile.perThread}u`;
    return div(`lid + ${j * threadsOf(tile)}u`, quadsOf(tile));
  };
  return repeat(loadsOf(tile), (j) => rows.prepare(j, `rowTile * ${tile.rows}u + (${own(j)})`));
}

/**
 * The loop over taps. Its body may use `base`, the tap's first vector, and the range of the tap's channels to multiply,
 * which is `first` to `last` - 1.
 */
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
