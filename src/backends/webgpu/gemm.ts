// The product behind convolutions, matrix products and the search of codes: out [rows, columns] = a [rows, depth] b. A
// workgroup computes a tile of the output; its threads bring both factors to the workgroup's memory, 16 steps of depth at a
// time, or, in tiles of another kind, read what they need by themselves.
import type { Gpu } from "./gpu.ts";
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
   * Who brings the factors: all threads, through the workgroup's memory; four neighbours, which have the same rows, one row
   * of four each for the others; or each thread for itself.
   */
  readonly sharing: "workgroup" | "quad" | "none";
}

/** Vectors of four along the depth that a workgroup holds at a time. */
const QUADS = 4;
const LARGE: Tile = { rows: 128, columns: 64, perThread: 8, vectors: 1, sharing: "workgroup" };
const MIDDLE: Tile = { rows: 64, columns: 64, perThread: 4, vectors: 1, sharing: "workgroup" };
const SMALL: Tile = { rows: 32, columns: 32, perThread: 4, vectors: 1, sharing: "workgroup" };
const NARROW: Tile = { rows: 128, columns: 4, perThread: 2, vectors: 1, sharing: "workgroup" };
const QUAD: Tile = { rows: 16, columns: 64, perThread: 16, vectors: 4, sharing: "quad" };
/** Tiles that keep a GPU busy. */
const MANY = 256;

/**
 * The tiles that may be best, the likeliest first.
 * @param depth vectors of a row, or of each of its taps
 */
export function tilesFor(gpu: Gpu, rows: number, columns: number, depth: number): Tile[] {
  const direct = directTile(gpu, columns), shared = depth % QUADS === 0 ? sharedTiles(rows, columns) : [];
  // a CPU that plays GPU pays dearly for each barrier
  return gpu.report.isSoftware ? [direct, ...shared] : [...shared, direct];
}

function sharedTiles(rows: number, columns: number): Tile[] {
  if (columns <= NARROW.columns) return [NARROW];
  if (columns <= SMALL.columns) return [SMALL];
  const first = [LARGE, MIDDLE].find((tile) => tilesOf(tile, rows, columns) >= MANY) ?? SMALL;
  return [first, ...[LARGE, MIDDLE, SMALL].filter((tile) => tile !== first)];
}

function directTile(gpu: Gpu, columns: number): Tile {
  const wanted = [4, 8, 16, 32].find((n) => columns <= n) ?? 64, vectors = Math.min(4, wanted / 4);
  // and each load costs it more than ten multiplications
  if (wanted === QUAD.columns && gpu.report.isSoftware && gpu.hasQuads) return QUAD;
  return { rows: 64, columns: wanted, perThread: 8, vectors, sharing: "none" };
}

export function tilesOf(tile: Tile, rows: number, columns: number): number {
  return ceil(rows, tile.rows) * ceil(columns, tile.columns);
}

/** Threads side by side. */
export const threadsAcross = (tile: Tile): number => tile.columns / 4 / tile.vectors;
export const threadsOf = (tile: Tile): number => (tile.rows / tile.perThread) * threadsAcross(tile);

/** Where the vectors of `a` come from, as text: a row is the vectors of its taps, one after another. */
export interface Rows {
  readonly taps: number;
  /** Vectors of a tap. */
  readonly channels: number;
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

/** Workgroup memory of `product`. */
export function tileMemory(tile: Tile): string {
  if (tile.sharing !== "workgroup") return "";
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

/** What `product` knows before its loop: the thread's place `tx`, `ty` in its tile, and which of four loads is its, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", threadsAcross(tile))};
  let ty = ${div("lid", threadsAcross(tile))};
  let lane = ${mod("lid", QUADS)};`;
}

/** Rows that a thread loads. */
const loadsOf = (tile: Tile) =>
  tile.sharing === "workgroup"
    ? (tile.rows * QUADS) / threadsOf(tile)
    : tile.perThread / (tile.sharing === "quad" ? 4 : 1);

/** What a thread's loads of `a` need, for the tile of rows `rowTile`. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const own = {
    workgroup: (j: number) => div(`lid + ${j * threadsOf(tile)}u`, QUADS),
    quad: (j: number) => `ty + (${4 * j}u + lane) * ${tile.rows / tile.perThread}u`,
    none: (j: number) => rowOf(tile, j),
  }[tile.sharing];
  return repeat(loadsOf(tile), (j) => rows.prepare(j, `rowTile * ${tile.rows}u + (${own(j)})`));
}

/** Computes the thread's sums in the tile at (`rowTile`, `columnTile`). `columns` are those of `b`. */
export function product(tile: Tile, rows: Rows, columns: number, madd: Madd): string {
  return `${eachSum(tile, (i, c) => `  var acc${i}_${c} = vec4f();`)}
  for (var tap = 0u; tap < ${rows.taps}u; tap++) {
${rows.step}
${repeat(loadsOf(tile), rows.find)}
${{ workgroup: sharedLoop, quad: quadLoop, none: directLoop }[tile.sharing](tile, rows, columns, madd)}
  }`;
}

const load = (j: number, channel: string) => `select(vec4f(), vec4f(a[at${j} + ${channel}]), has${j})`;

function directLoop(tile: Tile, rows: Rows, columns: number, madd: Madd): string {
  const across = columns / 4;
  const multiply = (e: "x" | "y" | "z" | "w", step: number) => {
    const factors = repeat(
      tile.vectors,
      (c) => `    let b${c} = vec4f(b[place + ${step * across + c * threadsAcross(tile)}u]);`,
    );
    return `    {\n${factors}\n${
      eachSum(tile, (i, c) => `    acc${i}_${c} = ${madd(`acc${i}_${c}`, `a${i}.${e}`, `b${c}`)};`)
    }\n    }`;
  };
  return `  var place = tap * ${rows.channels * 4 * across}u + columnTile * ${tile.columns / 4}u + tx;
  for (var channel = 0u; channel < ${rows.channels}u; channel++) {
${repeat(tile.perThread, (i) => `    let a${i} = ${load(i, "channel")};`)}
${(["x", "y", "z", "w"] as const).map(multiply).join("\n")}
    place += ${4 * across}u;
  }`;
}

/** Sums are read and written once for four products: where they do not fit the registers, that counts. */
function quadLoop(tile: Tile, rows: Rows, columns: number, madd: Madd): string {
  const across = columns / 4;
  const loadB = (e: number) =>
    repeat(
      tile.vectors,
      (c) => `    let b${e}_${c} = vec4f(b[place + ${e * across + c * threadsAcross(tile)}u]);`,
    );
  const multiply = (i: number) => {
    const sum = (c: number) =>
      ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}_${c}`), `acc${i}_${c}`);
    return `    { let a = quadBroadcast(four${i >> 2}, ${i & 3}u);
${repeat(tile.vectors, (c) => `    acc${i}_${c} = ${sum(c)};`)} }`;
  };
  return `  var place = tap * ${rows.channels * 4 * across}u + columnTile * ${tile.columns / 4}u + tx;
  for (var channel = 0u; channel < ${rows.channels}u; channel++) {
${repeat(4, loadB)}
${repeat(loadsOf(tile), (j) => `    let four${j} = ${load(j, "channel")};`)}
${repeat(tile.perThread, multiply)}
    place += ${4 * across}u;
  }`;
}

function sharedLoop(tile: Tile, rows: Rows, columns: number, madd: Madd): string {
  const threads = threadsOf(tile), across = tile.columns / 4, vectors = tile.columns * QUADS;
  const loadB = (j: number) => {
    const at = `(lid + ${j * threads}u)`;
    const text =
      `bTile[${at}] = vec4f(b[(tap * ${rows.channels * 4}u + channel * 4u + ${div(at, across)}) * ` +
      `${columns / 4}u + columnTile * ${across}u + ${mod(at, across)}]);`;
    return vectors < threads ? `    if (lid < ${vectors}u) { ${text} }` : `    ${text}`;
  };
  const multiply = (quad: number) =>
    [
      "    {",
      repeat(4, (e) => `    let b${e} = bTile[${(4 * quad + e) * across}u + tx];`),
      repeat(tile.perThread, (i) => {
        const sum = ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}`), `acc${i}_0`);
        return `    { let a = aTile[(${rowOf(tile, i)}) * ${QUADS}u + ${quad}u]; acc${i}_0 = ${sum}; }`;
      }),
      "    }",
    ].join("\n");
  return `  for (var channel = 0u; channel < ${rows.channels}u; channel += ${QUADS}u) {
    workgroupBarrier();
${repeat(loadsOf(tile), (j) => `    aTile[lid + ${j * threads}u] = ${load(j, "channel + lane")};`)}
${repeat(ceil(vectors, threads), loadB)}
    workgroupBarrier();
${repeat(QUADS, multiply)}
  }`;
}

/** What becomes of the sums of a tile: text that knows `row`, and `column<c>` of each vector. */
export interface Store {
  /** Once a vector of columns. */
  readonly columns?: (c: number) => string;
  /** Once a row. */
  readonly row: string;
  readonly store: (acc: string, c: number) => string;
}

/** A kernel's body: computes the tile of this workgroup of out [height, width]. */
export function tiledProduct(
  tile: Tile,
  rows: Rows,
  height: number,
  width: number,
  { columns = () => "", row, store }: Store,
  madd: Madd,
): string {
  const across = ceil(width, tile.columns);
  return `  if (group >= ${tilesOf(tile, height, width)}u) { return; }
  let rowTile = ${div("group", across)};
  let columnTile = ${mod("group", across)};
${places(tile)}
${prepareRows(tile, rows)}
${product(tile, rows, packedColumns(width, tile), madd)}
${
    repeat(tile.vectors, (c) =>
      `  let column${c} = columnTile * ${tile.columns}u + (${vectorOf(tile, c)}) * 4u;\n${columns(c)}`)
  }
${
    repeat(tile.perThread, (i) =>
      `  { let row = rowTile * ${tile.rows}u + ${rowOf(tile, i)};
  if (row < ${height}u) {
${row}
${repeat(tile.vectors, (c) => `  if (column${c} < ${width}u) { ${store(`acc${i}_${c}`, c)} }`)}
  } }`)
  }`;
}

/** Rows of whole vectors, one behind the other, from vector `start` of a. */
export function plainRows(rows: number, quads: number, start: string): Rows {
  return {
    taps: 1,
    channels: quads,
    prepare: (j, row) => `  let row${j} = ${row};`,
    step: "",
    find: (j) =>
      `  let has${j} = row${j} < ${rows}u;
  let at${j} = select(0u, ${start} + row${j} * ${quads}u, has${j});`,
  };
}

/** The name of a kernel of this tile. */
export const named = (name: string, { rows, columns, sharing }: Tile): string =>
  `${name} by ${rows}x${columns}${{ workgroup: "", quad: ", by fours", none: ", each for itself" }[sharing]}`;
