// Kernels that compute one product: each workgroup computes a tile of out [rows, columns], and then stores its sums in the
// way that the operation needs. Shapes are params and not part of the text, so that all convolutions share a few long
// texts; compiling such a text takes longer than many calls.
import type { Slot } from "../../buffer.ts";
import { extensionsOf, tileMemory, tileProduct } from "./gemm.ts";
import { type Dispatch, type Params, type Source, u32s } from "./source.ts";
import { matrixProduct } from "./subgroup_matrix.ts";
import {
  type Madd,
  MATRIX_QUADS,
  packedColumns,
  places,
  prepareRows,
  rowOf,
  type Rows,
  threadsOf,
  type Tile,
  tileName,
  tilesOf,
  vectorOf,
} from "./tile.ts";
import { ceil, each, groupsOf, repeat, THREADS } from "./wgsl.ts";

/** A product of two factors, a and b, where b is packed for a tile that is chosen later. */
export interface Product {
  /** Must be different for every text, except for the tile. */
  readonly name: string;
  /** The size of `out`. */
  readonly rows: number;
  readonly columns: number;
  /** The number of vectors in a row of `a`, or in each of the row's taps. */
  readonly quads: number;
  readonly taps: number;
  /** How the vectors of `a` are found. */
  readonly source: Rows;
  readonly store: Store;
  /** The buffers that are bound after the two factors, by name and element type. The last one is `out`. */
  readonly others: readonly (readonly [name: string, type: "vec4f" | "f32", slot: Slot])[];
  /** Params that `source` and `store` read, in addition to those of `numbersOf`. */
  readonly params: Params;
  /**
   * The name of the kernel that computes parts, if the product may be split. It must be different for every text of
   * `source`.
   */
  readonly partsName?: string;
  /** The number of parts into which the depth of each tile is split. Default: 1. */
  readonly parts?: number;
}

/** How the sums of a tile are stored, as texts that may use `row`, and `column<c>` of each vector. */
export interface Store {
  /** Text for each vector of columns. */
  readonly columns?: (c: number) => string;
  /** Text for each row. */
  readonly row: string;
  readonly store: (acc: string, c: number) => string;
}

/** The call that computes a product with tiles of one kind, from the packed weights `b`. */
export function productBy(tile: Tile, product: Product, madd: Madd, a: Slot, b: Slot): Dispatch {
  const params = numbersOf(tile, product);
  return {
    name: `${product.name} by ${tileName(tile)}`,
    operands: [a, b, ...product.others.map(([, , slot]) => slot)],
    groups: params.groups,
    params,
    source: () => sourceOf(tile, product, madd, params),
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

function sourceOf(tile: Tile, { source, store, others }: Product, madd: Madd, params: Params): Source {
  const { columns = () => "", row } = store, { inputs, outputs } = bindingsOf(others);
  const storeLine = (line: string, acc: (c: number) => string) =>
    `  { let row = rowTile * ${tile.rows}u + ${line};
  if (row < p.rows) {
${row}
${repeat(tile.vectors, (c) => `  if (column${c} < p.columns) { ${store.store(acc(c), c)} }`)}
  } }`;
  return {
    inputs: { a: "vec4f", b: "vec4f", ...inputs },
    outputs,
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
${tile.matrix ? "" : tileProduct(tile, source, "p.vectors", madd)}
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

function bindingsOf(others: Product["others"]) {
  const declared = others.map(([name, type]) => [name, type] as const);
  return {
    inputs: Object.fromEntries(declared.slice(0, -1)),
    outputs: Object.fromEntries(declared.slice(-1)),
  };
}

/** The number of vectors in a part: a multiple of what a workgroup with any tile loads at a time. */
export function partLength(depth: number, parts: number): number {
  return ceil(ceil(depth, parts), MATRIX_QUADS) * MATRIX_QUADS;
}

/** The product that computes the parts of another product: sums is [part, row, column], in whole vectors. */
export function partsOf(product: Product, parts: number, sums: Slot): Product {
  return {
    ...product,
    name: product.partsName ?? product.name,
    store: {
      row: "    let at = (part * p.rows + row) * ((p.columns + 3u) >> 2u);",
      store: (acc, c) => `out[at + (column${c} >> 2u)] = ${acc};`,
    },
    others: [["out", "vec4f", sums]],
    parts,
    partsName: undefined,
  };
}

/** Adds the parts in order, and stores the sums in the way that the product does. */
export function addParts(
  { name, rows, columns, others, store, params }: Product,
  parts: number,
  sums: Slot,
): Dispatch {
  const vectors = ceil(columns, 4), n = rows * vectors;
  const numbers = { ...params, n, parts, vectors, columns };
  return {
    name: `${name} from parts`,
    operands: [sums, ...others.map(([, , slot]) => slot)],
    groups: groupsOf(n),
    params: numbers,
    source: () => {
      const { inputs, outputs } = bindingsOf(others);
      return {
        inputs: { parts: "vec4f", ...inputs },
        outputs,
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
      };
    },
  };
}

/** The vectors that belong to a part, in rows of `depth` vectors. */
export const partRange = (depth: string): { start: string; end: string } => ({
  start: "part * p.part",
  end: `min((part + 1u) * p.part, ${depth})`,
});

/** `p.rows` rows of `p.quads` vectors each, one after another, from vector `start` of a. */
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
