// Launches products: it chooses a tile, packs the weights, and runs the kernel.
import type { Slot } from "../../buffer.ts";
import type { Gpu } from "../device/gpu.ts";
import { packedLength, type Weights } from "../kernels/pack.ts";
import { type Product, productBy } from "../kernels/product.ts";
import { tileName } from "../kernels/tile.ts";
import { packed } from "./factors.ts";
import { inParts, partsFor } from "./split.ts";
import { tilesFor } from "./tiles.ts";

/**
 * Computes the product of `a` and the weights `w`, with the tile that was the fastest so far.
 * @param itemBytes the bytes per element of the packed weights: 2 rounds them to f16, and with matrices also `a`
 */
export function multiply(
  gpu: Gpu,
  a: Slot,
  w: Slot,
  weights: Weights,
  product: Product,
  itemBytes: Slot["itemBytes"] = a.itemBytes,
): void {
  const wanted = partsFor(gpu, product);
  if (wanted > 1) {
    return inParts(gpu, product, wanted, (parts) => multiply(gpu, a, w, weights, parts, itemBytes));
  }
  const { name, rows, columns, quads, taps, parts } = product, isHalf = itemBytes === 2;
  const tiles = tilesFor(gpu, rows, columns, quads, isHalf, parts);
  const choices = tiles.map((tile) => ({
    name: tileName(tile),
    trial: () => {
      const length = packedLength(weights, tile);
      const b = { buffer: { bytes: length * itemBytes }, offset: 0, length, itemBytes };
      return productBy(tile, product, gpu.madd, a, b);
    },
  }));
  const question = `${name} ${rows}x${columns}x${quads}x${taps} ${isHalf ? "f16" : "f32"}`;
  const tile = tiles[gpu.tuner.choose(question, 4 * rows * columns * quads * taps, choices)];
  packed(gpu, w, weights, tile, itemBytes, (b) => gpu.run(productBy(tile, product, gpu.madd, a, b)));
}
