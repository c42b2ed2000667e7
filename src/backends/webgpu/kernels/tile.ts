// A tile is the part of a product out [rows, columns] = a [rows, depth] b that a workgroup computes. This file has its
// arithmetic and the texts that all kinds of tile share.
import { ceil, div, mod, repeat } from "./wgsl.ts";

/** Writes a sum and a product as text. */
export type Madd = (sum: string, a: string, b: string) => string;

/** What subgroup matrices multiply: left [m, k] times right [k, n], by the threads of one subgroup. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Threads for each of the subgroups that multiply. Where subgroups are smaller than the largest, the others wait. */
  readonly lanes: number;
}

/** Each thread has `perThread` rows of `vectors` times four columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly perThread: number;
  readonly vectors: number;
  /**
   * How the factors are loaded. "shared": all threads load them into the workgroup's memory. "matrix": likewise, and
   * subgroup matrices multiply them there (subgroup_matrix.ts). "quad": four neighbouring threads, which have the same
   * rows, each load a quarter of these for the others. "direct": each thread loads what it needs.
   */
  readonly kind: "shared" | "matrix" | "quad" | "direct";
  readonly matrix?: MatrixShape;
}

/** Vectors of four along the depth that a workgroup holds at a time, and the same for matrices. */
export const QUADS = 4, MATRIX_QUADS = 8;

export function tilesOf(tile: Tile, rows: number, columns: number): number {
  return ceil(rows, tile.rows) * ceil(columns, tile.columns);
}

/** Threads of a tile side by side, and in all. */
export const threadsAcross = (tile: Tile): number => tile.columns / 4 / tile.vectors;
export const threadsOf = (tile: Tile): number => (tile.rows / tile.perThread) * threadsAcross(tile);

/** Distinguishes a tile from its rivals. */
export const tileName = ({ rows, columns, perThread, vectors, kind }: Tile): string =>
  `${rows}x${columns}/${perThread}x${4 * vectors} ${kind}`;

/** Columns of `b` as it is packed (pack.ts): whole tiles. */
export const packedColumns = (columns: number, tile: Tile): number =>
  ceil(columns, tile.columns) * tile.columns;

/** Where the vectors of `a` lie, as texts. A row consists of the vectors of its taps, one tap behind the other. */
export interface Rows {
  /**
   * The first of the row's vectors to multiply, and the one behind the last. The texts may use `rowTile`, and `part` in
   * kernels that compute one product.
   */
  readonly start: string;
  readonly end: string;
  /** Vectors of a tap. */
  readonly channels: string;
  /** Declarations for the `j`-th row of a thread, whose number is `row`; before the loops. */
  readonly prepare: (j: number, row: string) => string;
  /** Declarations for all rows, at each `tap`. */
  readonly step: string;
  /**
   * Declares `at<j>`, where the tap of the `j`-th row begins, and `has<j>`, whether it exists; if not, it counts as 0.
   */
  readonly find: (j: number) => string;
}

/** The number of a thread's i-th row within its tile. */
export const rowOf = (tile: Tile, i: number): string => `ty + ${i * (tile.rows / tile.perThread)}u`;
/** The number of its c-th vector of columns. */
export const vectorOf = (tile: Tile, c: number): string => `tx + ${c * threadsAcross(tile)}u`;

/** Text for each sum of a thread, `acc<i>_<c>`. */
export function eachSum(tile: Tile, text: (i: number, c: number) => string): string {
  return repeat(tile.perThread, (i) => repeat(tile.vectors, (c) => text(i, c)));
}

/** Vectors along the depth that are in the workgroup's memory at a time. */
const quadsOf = (tile: Tile): number => tile.kind === "matrix" ? MATRIX_QUADS : QUADS;

/** Declares the thread's place in its tile, `tx` and `ty`, and which one of several loads it does, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", threadsAcross(tile))};
  let ty = ${div("lid", threadsAcross(tile))};
  let lane = ${mod("lid", quadsOf(tile))};`;
}

/** Rows of `a` that a thread loads. */
export function loadsOf(tile: Tile): number {
  if (tile.kind === "direct") return tile.perThread;
  return tile.kind === "quad" ? tile.perThread / 4 : (tile.rows * quadsOf(tile)) / threadsOf(tile);
}

/** Declares what a thread needs to load its rows of `a`, in the row of tiles `rowTile`. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const own = (j: number) => {
    if (tile.kind === "direct") return rowOf(tile, j);
    if (tile.kind === "quad") return `ty + (${4 * j}u + lane) * ${tile.rows / tile.perThread}u`;
    return div(`lid + ${j * threadsOf(tile)}u`, quadsOf(tile));
  };
  return repeat(loadsOf(tile), (j) => rows.prepare(j, `rowTile * ${tile.rows}u + (${own(j)})`));
}

/**
 * The loop over taps. Its body may use `base`, the tap's first vector, and the range of the tap's channels that count:
 * `first` to `last` - 1.
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
