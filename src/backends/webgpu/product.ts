// Kernels of one product: a tile of out [rows, columns] for each workgroup, and what becomes of its sums. Shapes are numbers
// to them: all convolutions share a few long texts, whose compiling takes longer than many calls.
import type { Buffer, DType } from "../backend.ts";
import {
  ceil,
  extensionsOf,
  packedColumns,
  places,
  prepareRows,
  product,
  rowOf,
  type Rows,
  threadsOf,
  type Tile,
  tileMemory,
  tileName,
  tilesFor,
  tilesOf,
  vectorOf,
} from "./gemm.ts";
import { dtypeOf, type Gpu, ofGpu } from "./gpu.ts";
import { matrixProduct } from "./subgroup_matrix.ts";
import { packed, packedBytes, type Weights } from "./pack.ts";
import type { Params } from "./pipelines.ts";
import { inParts, partLength, partsOf } from "./split.ts";
import type { Trial } from "./tuner.ts";
import { repeat, type Source, u32s } from "./wgsl.ts";

export interface Product {
  /** Tells everything that the text depends on, but for the tile. */
  readonly name: string;
  /** Of `out`. */
  readonly rows: number;
  readonly columns: number;
  /** Vectors of a row of `a`, or of each of its taps. */
  readonly quads: number;
  readonly taps: number;
  readonly flops: number;
  /** What both factors are rounded to, if not to that of `a`. */
  readonly dtype?: DType;
  /** Where the vectors of `a` come from. */
  readonly source: Rows;
  readonly store: Store;
  /** Buffers bound after the two factors, by name, and what they hold; the last is `out`. */
  readonly others: readonly (readonly [name: string, type: "vec4f" | "f32", buffer: Buffer])[];
  /** Numbers that `source` and `store` read beside those of `numbersOf`. */
  readonly params: Params;
  /** The name of the kernel of its parts, if it may be split: tells everything that the text of `source` depends on. */
  readonly partsName?: string;
  /** That each tile is split into over the depth, if it is. */
  readonly parts?: number;
}

/** What becomes of the sums of a tile: text that knows `row`, and `column<c>` of each vector. */
export interface Store {
  /** Once a vector of columns. */
  readonly columns?: (c: number) => string;
  /** Once a row. */
  readonly row: string;
  readonly store: (acc: string, c: number) => string;
}

/** Computes it of a and of the weights from element `offset` of w, by the tile that is quickest as far as was measured. */
export function multiply(
  gpu: Gpu,
  a: Buffer,
  w: Buffer,
  offset: number,
  weights: Weights,
  product: Product,
): void {
  if (partsOf(gpu, product) > 1) {
    return inParts(gpu, product, (sums) => multiply(gpu, a, w, offset, weights, sums));
  }
  const { name, rows, columns, quads, flops, others, parts, dtype = dtypeOf(a) } = product;
  const tiles = tilesFor(gpu, rows, columns, quads, dtype, parts);
  const buffers = others.map(([, , buffer]) => buffer);
  const choices = tiles.map((tile) => ({
    name: tileName(tile),
    trial: () => {
      const b = { bytes: packedBytes(weights, tile, dtype), isHalf: dtype === "f16" };
      return { ...callOf(gpu, tile, product), buffers: [ofGpu(a), b, ...buffers.map(ofGpu)] };
    },
  }));
  const shape = `${rows}x${columns}x${quads} ${flops}`;
  const tile = tiles[gpu.tuner.choose(`${name} ${shape} ${dtype}`, flops, choices)];
  const { kernel, groups, params } = callOf(gpu, tile, product);
  packed(gpu, w, offset, weights, tile, dtype, (b) => {
    gpu.run(kernel, [a, b, ...buffers], groups, params, flops);
  });
}

/** What is to be called for it. */
export function callOf(gpu: Gpu, tile: Tile, product: Product): Omit<Trial, "buffers"> {
  const params = numbersOf(tile, product);
  const name = `${product.name} by ${tileName(tile)}`;
  return {
    kernel: gpu.kernel(name, () => sourceOf(gpu, tile, product, params)),
    groups: params.groups,
    params,
  };
}

function numbersOf(tile: Tile, { rows, columns, quads, taps, params, parts = 1 }: Product) {
  const tiles = tilesOf(tile, rows, columns);
  return {
    groups: tiles * parts,
    tiles,
    part: partLength(taps * quads, parts),
    tilesAcross: ceil(columns, tile.columns),
    vectors: packedColumns(columns, tile) / 4,
    rows,
    columns,
    quads,
    ...params,
  };
}

function sourceOf(gpu: Gpu, tile: Tile, { source, store, others }: Product, params: Params): Source {
  const declared = others.map(([name, type]) => [name, type] as const);
  const { columns = () => "", row } = store;
  const storeLine = (line: string, acc: (c: number) => string) =>
    `  { let row = rowTile * ${tile.rows}u + ${line};
  if (row < p.rows) {
${row}
${repeat(tile.vectors, (c) => `  if (column${c} < p.columns) { ${store.store(acc(c), c)} }`)}
  } }`;
  return {
    inputs: { a: "vec4f", b: "vec4f", ...Object.fromEntries(declared.slice(0, -1)) },
    outputs: Object.fromEntries(declared.slice(-1)),
    params: u32s(params),
    extensions: extensionsOf(tile),
    threads: threadsOf(tile),
    globals: tileMemory(tile),
    body: `  if (group >= p.groups) { return; }
  let part = group / p.tiles;
  let rowTile = group % p.tiles / p.tilesAcross;
  let columnTile = group % p.tiles % p.tilesAcross;
${places(tile)}
${prepareRows(tile, source)}
${tile.matrix ? "" : product(tile, source, "p.vectors", gpu.madd)}
${
      repeat(tile.vectors, (c) =>
        `  let column${c} = columnTile * ${tile.columns}u + (${vectorOf(tile, c)}) * 4u;\n${columns(c)}`)
    }
${
      tile.matrix
        ? matrixProduct(tile, tile.matrix, source, "p.vectors", storeLine("line", () => "sum"))
        : repeat(tile.perThread, (i) => storeLine(rowOf(tile, i), (c) => `acc${i}_${c}`))
    }`,
  };
}

/** Of rows of `depth` vectors, those of a part. */
export const partRange = (depth: string) => ({
  start: "part * p.part",
  end: `min((part + 1u) * p.part, ${depth})`,
});

/** `p.rows` rows of `p.quads` vectors, one behind the other, from vector `start` of a. */
export function plainRows(start: string): Rows {
  return {
    ...partRange("p.quads"),
    channels: "p.quads",
    prepare: (j, row) => `  let row${j} = ${row};`,
    step: "",
    find: (j) =>
      `  let has${j} = row${j} < p.rows;
  let at${j} = select(0u, ${start} + row${j} * p.quads, has${j});`,
  };
}

/** Vector `column` to `column` + 3 of the row that begins at element `at` of a buffer that is read. */
export function loadVector(buffer: string, at: string, isVector: boolean): string {
  if (isVector) return `vec4f(${buffer}[(${at}) >> 2u])`;
  const number = (e: number) => `f32(${buffer}[min(${at} + ${e}u, arrayLength(&${buffer}) - 1u)])`;
  return `vec4f(${[0, 1, 2, 3].map(number).join(", ")})`;
}

/** The statements that store vector `value` in columns `column` to `column` + 3 of the row that begins at element `at` of out. */
export function storeVector(
  at: string,
  column: string,
  columns: string,
  isVector: boolean,
  value: string,
): string {
  if (isVector) return `out[(${at} + ${column}) >> 2u] = out_t(${value});`;
  return repeat(
    4,
    (e) =>
      `if (${column} + ${e}u < ${columns}) { out[${at} + ${column} + ${e}u] = out_t((${value})[${e}]); }`,
  );
}
