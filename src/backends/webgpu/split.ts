// Products with too few tiles to keep a real GPU busy are split over their depth; a second kernel adds the parts in a fixed
// order. The shape alone decides: results do not depend on what was measured.
import { each, groupsOf } from "./elementwise.ts";
import { ceil, QUADS, tilesOf, usualTile } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { MATRIX_QUADS } from "./subgroup_matrix.ts";
import type { Product } from "./product.ts";
import { THREADS, u32s } from "./wgsl.ts";

/** Workgroups: several for each multiprocessor of a large GPU. */
const WANTED = 512;
/** Parts at most, vectors along the depth of each at least, and bytes of all at most. */
const PARTS = 16, SHORTEST = 128, BYTES = 16 * 2 ** 20;
/** Vectors of `a`: maps larger than some MiB are computed in strips too, which are not split (strips.ts). */
const LARGEST = 2 ** 20;

/** Vectors of a part: what a workgroup loads at a time, whatever its tile, is of one part. */
export function partLength(depth: number, parts: number): number {
  return ceil(ceil(depth, parts), MATRIX_QUADS) * MATRIX_QUADS;
}

/** How many parts it is to be split into; 1: none. A CPU that plays GPU is always busy. */
export function partsOf(gpu: Gpu, { rows, columns, quads, taps, partsName }: Product): number {
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

/** Has `multiply` compute the parts of it [part, row, column], and stores their sums as it would. */
export function inParts(gpu: Gpu, product: Product, multiply: (parts: Product) => void): void {
  const { name, rows, columns, others, store, params, partsName = "" } = product;
  const parts = partsOf(gpu, product), vectors = ceil(columns, 4), n = rows * vectors;
  const declared = others.map(([name, type]) => [name, type] as const);
  const numbers = { ...params, n, parts, vectors, columns };
  gpu.with(parts * n * 16, (sums) => {
    multiply({
      ...product,
      name: partsName,
      store: {
        row: "    let at = (part * p.rows + row) * ((p.columns + 3u) >> 2u);",
        store: (acc, c) => `out[at + (column${c} >> 2u)] = ${acc};`,
      },
      others: [["out", "vec4f", sums]],
      parts,
      partsName: undefined,
    });
    const kernel = gpu.kernel(`${name} from parts`, () => ({
      inputs: { parts: "vec4f", ...Object.fromEntries(declared.slice(0, -1)) },
      outputs: Object.fromEntries(declared.slice(-1)),
      params: u32s(numbers),
      threads: THREADS,
      body: `${each("p.n")}
  let row = i / p.vectors;
  let column0 = i % p.vectors * 4u;
  var sum = parts[i];
  for (var part = 1u; part < p.parts; part++) { sum += parts[part * p.n + i]; }
${store.columns?.(0) ?? ""}
${store.row}
  ${store.store("sum", 0)}`,
    }));
    gpu.run(kernel, [sums, ...others.map(([, , buffer]) => buffer)], groupsOf(n), numbers);
  });
}
