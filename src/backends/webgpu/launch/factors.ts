// Brings both factors of a product to the layout that tiles read: rows in whole vectors, and packed weights.
import type { Slot } from "../../buffer.ts";
import type { Gpu } from "../device/gpu.ts";
import { padRows } from "../kernels/copy.ts";
import { pack, packedLength, type Weights } from "../kernels/pack.ts";
import type { Tile } from "../kernels/tile.ts";
import { ceil } from "../kernels/wgsl.ts";

/** Calls `body` with x [rows, columns] in rows of whole vectors: with x itself if its rows are so, otherwise with a copy. */
export function wholeVectors(
  gpu: Gpu,
  x: Slot,
  rows: number,
  columns: number,
  body: (whole: Slot) => void,
): void {
  if (columns % 4 === 0 && x.offset % 4 === 0) return body(x);
  gpu.with(rows * ceil(columns, 4) * 4, (whole) => {
    gpu.run(padRows(x, whole, rows, columns));
    body(whole);
  }, x.itemBytes);
}

/** Calls `body` with the weights w packed for `tile`. @param itemBytes the bytes per element of the packed weights */
export function packed(
  gpu: Gpu,
  w: Slot,
  weights: Weights,
  tile: Tile,
  itemBytes: Slot["itemBytes"],
  body: (packed: Slot) => void,
): void {
  gpu.with(packedLength(weights, tile), (to) => {
    gpu.run(pack(w, weights, tile, to));
    body(to);
  }, itemBytes);
}
