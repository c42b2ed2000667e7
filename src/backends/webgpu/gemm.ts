// The product behind convolutions, matrix products and the search of codes: out [rows, columns] = a [rows, depth] b. A
// workgroup computes a tile of the output; its threads bring both factors to the workgroup's memory, 16 steps of depth at a
// time, or, in tiles of another kind, read what they need by themselves.
import { type Buffer, type DType, itemBytes } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { dtypeOf, type Gpu, type Kernel, ofGpu } from "./gpu.ts";
import type { Trial } from "./tune.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

export const ceil = (n: number, by: number): number => Math.ceil(n / by);

/** Text that adds a product to a sum. */
export type Madd = (sum: string, a: string, b: string) => string;

/** Part of the output that a workgroup computes; a thread has `perThread` rows of `vectors` times four columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly perThread: number;
  readonly vectors: number;
  /** Whether factors go through the workgroup's memory. */
  readonly isShared: boolean;
}

/** Vectors of four along the depth that a workgroup holds at a time. */
const QUADS = 4;
const LARGE: Tile = { rows: 128, columns: 64, perThread: 8, vectors: 1, isShared: true };
const MIDDLE: Tile = { rows: 64, columns: 64, perThread: 4, vectors: 1, isShared: true };
const SMALL: Tile = { rows: 32, columns: 32, perThread: 4, vectors: 1, isShared: true };
const NARROW: Tile = { rows: 128, columns: 4, perThread: 2, vectors: 1, isShared: true };
/** Tiles that keep a GPU busy. */
const MANY = 256;

/**
 * The tiles that may be best, the likeliest first.
 * @param depth vectors of a row, or of each of its taps
 */
export function tilesFor(gpu: Gpu, rows: number, columns: number, depth: number): Tile[] {
  const direct = directTile(columns), shared = depth % QUADS === 0 ? sharedTiles(rows, columns) : [];
  // a CPU that plays GPU pays dearly for each barrier, and not at all for reading what its caches hold
  return gpu.report.isSoftware ? [direct, ...shared] : [...shared, direct];
}

function sharedTiles(rows: number, columns: number): Tile[] {
  if (columns <= NARROW.columns) return [NARROW];
  if (columns <= SMALL.columns) return [SMALL];
  const first = [LARGE, MIDDLE].find((tile) => tilesOf(tile, rows, columns) >= MANY) ?? SMALL;
  return [first, ...[LARGE, MIDDLE, SMALL].filter((tile) => tile !== first)];
}

function directTile(columns: number): Tile {
  const wanted = [4, 8, 16, 32].find((n) => columns <= n) ?? 64, vectors = Math.min(4, wanted / 4);
  return { rows: 64, columns: wanted, perThread: 8, vectors, isShared: false };
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
  /** The first of them, where each tile of rows has its own: text that knows `rowTile`. */
  readonly firstTap?: string;
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
  if (!tile.isShared) return "";
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

/** What `product` knows before its loop: the thread's place `tx`, `ty` in its tile, and the vector it loads, `lane`. */
export function places(tile: Tile): string {
  return `  let tx = ${mod("lid", threadsAcross(tile))};
  let ty = ${div("lid", threadsAcross(tile))};
  let lane = ${mod("lid", QUADS)};`;
}

/** Rows that a thread loads. */
const loadsOf = (tile: Tile) => tile.isShared ? (tile.rows * QUADS) / threadsOf(tile) : tile.perThread;

/** What a thread's loads of `a` need, for the tile of rows `rowTile`. */
export function prepareRows(tile: Tile, rows: Rows): string {
  const own = (j: number) =>
    tile.isShared ? div(`lid + ${j * threadsOf(tile)}u`, QUADS) : `(${rowOf(tile, j)})`;
  return repeat(loadsOf(tile), (j) => rows.prepare(j, `rowTile * ${tile.rows}u + ${own(j)}`));
}

/** Computes the thread's sums in the tile at (`rowTile`, `columnTile`). `columns` are those of `b`. */
export function product(tile: Tile, rows: Rows, columns: number, madd: Madd): string {
  return `${eachSum(tile, (i, c) => `  var acc${i}_${c} = vec4f();`)}
  let firstTap = ${rows.firstTap ?? "0u"};
  for (var tap = firstTap; tap < firstTap + ${rows.taps}u; tap++) {
${rows.step}
${repeat(loadsOf(tile), rows.find)}
${(tile.isShared ? sharedLoop : directLoop)(tile, rows, columns, madd)}
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
      eachSum(tile, (i, c) => `    ${madd(`acc${i}_${c}`, `a${i}.${e}`, `b${c}`)}`)
    }\n    }`;
  };
  return `  var place = tap * ${rows.channels * 4 * across}u + columnTile * ${tile.columns / 4}u + tx;
  for (var channel = 0u; channel < ${rows.channels}u; channel++) {
${repeat(tile.perThread, (i) => `    let a${i} = ${load(i, "channel")};`)}
${(["x", "y", "z", "w"] as const).map(multiply).join("\n")}
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
        const terms = ["x", "y", "z", "w"].map((e, k) => madd(`acc${i}_0`, `a.${e}`, `b${k}`));
        return `    { let a = aTile[(${rowOf(tile, i)}) * ${QUADS}u + ${quad}u]; ${terms.join(" ")} }`;
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

/** One side of a filter: tap t of `count` is the sum of the weights from + slope t and the `reach` - 1 behind it. */
export interface Taps {
  readonly count: number;
  readonly from: number;
  readonly slope: number;
  readonly reach: number;
  /** Weights there are; sums leave out what lies beyond. */
  readonly kernel: number;
}

export const ONE_TAP: Taps = { count: 1, from: 0, slope: 1, reach: 1, kernel: 1 };

/** The filters of a product: a weight lies at output * outStride + input * inStride + y * width + x. */
export interface Weights {
  readonly inputs: number;
  readonly outputs: number;
  readonly outStride: number;
  readonly inStride: number;
  readonly down: Taps;
  readonly across: Taps;
}

export function packedBytes({ inputs, outputs, down, across }: Weights, tile: Tile, dtype: DType): number {
  return down.count * across.count * ceil(inputs, 4) * 4 * packedColumns(outputs, tile) * itemBytes[dtype];
}

/** The name of a kernel of this tile. */
export const named = (name: string, { rows, columns, isShared }: Tile): string =>
  `${name} by ${rows}x${columns}${isShared ? "" : ", each for itself"}`;

/**
 * The tile that is quickest for a product of `size` [rows, columns, vectors of a tap], as far as was measured.
 * @param others the kernel's buffers after the two factors
 */
export function chooseTile(
  gpu: Gpu,
  name: string,
  [rows, columns, depth]: readonly [number, number, number],
  kernel: (tile: Tile) => Kernel,
  weights: Weights,
  a: Buffer,
  others: readonly Buffer[],
): Tile {
  const tiles = tilesFor(gpu, rows, columns, depth);
  if (tiles.length === 1) return tiles[0];
  const dtype = dtypeOf(a);
  const trial = (tile: Tile) => (): Trial => {
    const b = { bytes: packedBytes(weights, tile, dtype), isHalf: dtype === "f16" };
    const buffers = [ofGpu(a), b, ...others.map(ofGpu)].map(({ bytes, isHalf }) => ({ bytes, isHalf }));
    return { kernel: kernel(tile), groups: tilesOf(tile, rows, columns), buffers };
  };
  const work = rows * columns * depth * weights.down.count * weights.across.count;
  return tiles[gpu.tuner.choose(`${name} ${dtype}`, work, tiles.map(trial))];
}

/**
 * Lays weights out as `product` reads them, [tap, input, output] with zeros around, for the length of `body`; as f16 where
 * they are to meet f16.
 */
export function packed(
  gpu: Gpu,
  w: Buffer,
  offset: number,
  weights: Weights,
  tile: Tile,
  dtype: DType,
  body: (packed: Buffer) => void,
): void {
  const { inputs, outputs, outStride, inStride, down, across } = weights;
  const quads = ceil(inputs, 4), taps = down.count * across.count;
  const depth = taps * quads * 4, vectors = packedColumns(outputs, tile) / 4;
  const loop = (name: string, { from, slope, reach, kernel }: Taps, tap: string) =>
    `let ${name}From = ${from} + ${slope} * i32(${tap});
  let ${name}To = min(${name}From + ${reach}, ${kernel});
  for (var ${name} = max(${name}From, 0); ${name} < ${name}To; ${name}++)`;
  const kernel = gpu.kernel(`pack ${JSON.stringify(weights)} ${vectors}`, () => ({
    inputs: { w: "f32" },
    outputs: { out: "vec4f" },
    params: { start: "u32" },
    threads: THREADS,
    body: `${each(`${depth * vectors}u`)}
  let output = ${mod("i", vectors)} * 4u;
  let row = ${div("i", vectors)};
  let input = ${mod("row", quads * 4)};
  let tap = ${div("row", quads * 4)};
  var v = vec4f();
  if (input < ${inputs}u) {
  let at = p.start + output * ${outStride}u + input * ${inStride}u;
  ${loop("y", down, div("tap", across.count))} {
  ${loop("x", across, mod("tap", across.count))} {
  let place = at + u32(y) * ${across.kernel}u + u32(x);
${repeat(4, (e) => `  if (output + ${e}u < ${outputs}u) { v[${e}] += f32(w[place + ${e * outStride}u]); }`)}
  } } }
  out[i] = out_t(v);`,
  }));
  gpu.with(packedBytes(weights, tile, dtype), (to) => {
    gpu.run(kernel, [w, to], groupsOf(depth * vectors), [offset]);
    body(to);
  }, dtype);
}
