// Splits products that have too few tiles to keep a real GPU busy. They are split over their depth, and a second kernel adds
// the parts in a fixed order. The shape alone decides, so that results do not depend on measurements.
import type { Gpu } from "../device/gpu.ts";
import { addParts, partLength, partsOf, type Product } from "../kernels/product.ts";
import { QUADS, tilesOf } from "../kernels/tile.ts";
import { ceil } from "../kernels/wgsl.ts";
import { usualTile } from "./tiles.ts";

/** The wanted number of workgroups: several for each multiprocessor of a large GPU. */
const WANTED = 512;
/** The most parts, the least vectors along the depth of a part, and the most bytes of all parts. */
const PARTS = 16, SHORTEST = 128, BYTES = 16 * 2 ** 20;
/** The most vectors of `a`. Larger maps are also computed in strips (ops/strips.ts), which must not be split. */
const LARGEST = 2 ** 20;

/** The number of parts into which a product is split; 1 means that it is not. A software GPU is always busy. */
export function partsFor(gpu: Gpu, { rows, columns, quads, taps, partsName }: Product): number {
  if (!partsName || gpu.report.isSoftware || quads % QUADS !== 0 || rows * quads > LARGEST) return 1;
  const depth = taps * quads;
  const parts = Math.min(
    Math.floor(WANTED / tilesOf(usualTile(columns), rows, columns)),
    Math.floor(depth / SHORTEST),
    Math.floor(BYTES / (16 * rows * ceil(columns, 4))),
    PARTS,
  );
  return parts > 1 ? ceil(depth, partLength(depth, parts)) : 1;
}

/** Computes the parts of a product with `multiply`, and adds them. */
export function inParts(
  gpu: Gpu,
  product: Product,
  parts: number,
  multiply: (parts: Product) => void,
): void {
  gpu.with(parts * product.rows * ceil(product.columns, 4) * 4, (sums) => {
    multiply(partsOf(product, parts, sums));
    gpu.run(addParts(product, parts, sums));
  });
}
