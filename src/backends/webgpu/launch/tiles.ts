// Lists the tiles that a product may use. On real GPUs the tuner measures which of them is the fastest.
import type { Gpu } from "../device/gpu.ts";
import { matrixTile } from "../kernels/subgroup_matrix.ts";
import { MATRIX_QUADS, QUADS, type Tile, tilesOf } from "../kernels/tile.ts";

const HUGE: Tile = { rows: 128, columns: 128, perThread: 8, vectors: 2, kind: "shared" };
const LARGE: Tile = { rows: 64, columns: 64, perThread: 8, vectors: 2, kind: "shared" };
const MIDDLE: Tile = { rows: 64, columns: 64, perThread: 4, vectors: 1, kind: "shared" };
const SMALL: Tile = { rows: 32, columns: 32, perThread: 4, vectors: 1, kind: "shared" };
const NARROW: Tile = { rows: 128, columns: 4, perThread: 2, vectors: 1, kind: "shared" };
/** The tile for software GPUs, with only four threads. */
const QUAD: Tile = { rows: 16, columns: 64, perThread: 16, vectors: 4, kind: "quad" };
/** The number of workgroups that keeps a GPU busy. */
const MANY = 256;

/**
 * The tiles that may be the fastest, the most likely one first. A tile with matrices is the only choice where it fits,
 * because it adds in another order than the other tiles, and results must not depend on measurements.
 * @param depth the number of vectors of a row, or of each of its taps
 * @param isHalf whether both factors are f16
 * @param parts the number of parts into which the depth is split (split.ts)
 */
export function tilesFor(
  gpu: Gpu,
  rows: number,
  columns: number,
  depth: number,
  isHalf: boolean,
  parts = 1,
): Tile[] {
  if (gpu.matrix && isHalf && takesMatrices(columns, depth)) {
    return [matrixTile(gpu.matrix, parts * rows, columns)];
  }
  const direct = directTile(gpu, rows, columns), shared = sharedTiles(rows, columns, parts);
  // barriers are slow on software GPUs; on real GPUs it is slow if each thread loads what it needs
  if (gpu.report.isSoftware) return depth % QUADS === 0 ? [direct, ...shared] : [direct];
  return depth % QUADS === 0 ? shared : [direct];
}

/** Whether f16 factors of this shape are multiplied by matrices, if the GPU has them. */
export const takesMatrices = (columns: number, depth: number): boolean =>
  depth % MATRIX_QUADS === 0 && columns > SMALL.columns;

/** The tile for a number of columns, if the number of rows is neither small nor very large. */
export function usualTile(columns: number): Tile {
  return columns <= NARROW.columns ? NARROW : columns <= SMALL.columns ? SMALL : LARGE;
}

function sharedTiles(rows: number, columns: number, parts: number): Tile[] {
  if (columns <= SMALL.columns) return [usualTile(columns)];
  const first = [HUGE, LARGE, MIDDLE].find((tile) => tilesOf(tile, rows, columns) * parts >= MANY) ?? SMALL;
  return [first, ...[HUGE, LARGE, MIDDLE, SMALL].filter((tile) => tile !== first)];
}

/** The smallest tile that covers all rows or columns, up to 64x64. */
function directTile(gpu: Gpu, rows: number, columns: number): Tile {
  const least = (sizes: number[], wanted: number) => sizes.find((size) => wanted <= size) ?? 64;
  const width = least([4, 8, 16, 32], columns), vectors = Math.min(4, width / 4);
  // on a software GPU a load costs more than ten multiplications
  if (width === 64 && rows > 8 && gpu.hasQuads) return QUAD;
  return { rows: least([8, 16, 32], rows), columns: width, perThread: 8, vectors, kind: "direct" };
}
