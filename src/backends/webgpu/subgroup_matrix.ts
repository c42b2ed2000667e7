// The product of f16 factors by subgroup matrices, the units that GPUs have for it; sums in f32. An experimental feature of
// Dawn, and of Chrome by a flag: used where small products have proved right (prove.ts).
import type { FoundAdapter } from "./adapter.ts";
import { ceil, eachTap, loadsOf, type Rows, threadsOf, type Tile } from "./gemm.ts";
import { div, mod, repeat } from "./wgsl.ts";

export const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";
export const matrixExtensions: readonly string[] = ["subgroups", "chromium_experimental_subgroup_matrix"];

/** left [m, k] times right [k, n] by the threads of one subgroup. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Threads for each of the subgroups that multiply: where subgroups are smaller than the largest, the others wait. */
  readonly lanes: number;
}

/** Vectors of four along the depth in the workgroup's memory. */
export const MATRIX_QUADS = 8;
export const DEPTH = 4 * MATRIX_QUADS;
/** Rows, and columns, of a tile. */
type Side = 64 | 128;
/** Columns of a subgroup, which has half of the tile's rows. */
const WIDTH = 32;
/** Numbers that are left out behind each line in the workgroup's memory, so that lines begin in other banks. */
const GAP = 8;
/** Rows of the tile whose sums go through the workgroup's memory at a time. */
const STRIP = 16;
/** Bytes of workgroup memory of the larger tile. */
export const MATRIX_MEMORY = 2 * 128 * (DEPTH + GAP) + 2 * DEPTH * (128 + GAP) + 4 * STRIP * 128;

const subgroupsOf = (side: number): number => 2 * (side / WIDTH);

interface Configs {
  readonly subgroupMatrixConfigs?: Iterable<
    { componentType: string; resultComponentType: string; M: number; N: number; K: number }
  >;
}

/**
 * What the adapter offers for f16 factors and f32 sums, or null. Software, where they take a minute to compile and gain
 * nothing, is asked only with TESSERA_MATRIX=1; TESSERA_MATRIX=0 asks nobody.
 */
export function matrixShapeOf(
  { adapter: { features, info, limits }, report }: FoundAdapter,
): MatrixShape | null {
  const { TESSERA_MATRIX = report.isSoftware ? "0" : "1" } = globalThis.process?.env ?? {};
  const names: { has(name: string): boolean } = features, most = info.subgroupMaxSize ?? 0;
  if (!Number(TESSERA_MATRIX) || !names.has(MATRIX_FEATURE) || !names.has("shader-f16") || most === 0) {
    return null;
  }
  const lanes = Math.max(32, most);
  if (subgroupsOf(64) * lanes > MOST_THREADS) return null;
  if (limits.maxComputeWorkgroupStorageSize < MATRIX_MEMORY) return null;
  const found = [...(info as Configs).subgroupMatrixConfigs ?? []].find((config) =>
    config.componentType === "f16" && config.resultComponentType === "f32" &&
    STRIP % config.M === 0 && WIDTH % config.N === 0 && DEPTH % config.K === 0
  );
  return found ? { m: found.M, n: found.N, k: found.K, lanes } : null;
}

/** Threads of a workgroup that every GPU allows. */
const MOST_THREADS = 256;
/** Larger tiles read less, where there are enough of them to keep a GPU busy. */
const ENOUGH = 128;

/** The side of the tiles for so many rows and columns, and the threads of one. */
export function matrixTiling(
  { lanes }: MatrixShape,
  rows: number,
  columns: number,
): { side: Side; threads: number } {
  const fits = subgroupsOf(128) * lanes <= MOST_THREADS && columns > 64;
  const side = fits && ceil(rows, 128) * ceil(columns, 128) >= ENOUGH ? 128 : 64;
  return { side, threads: subgroupsOf(side) * lanes };
}

export function matrixTile(matrix: MatrixShape, rows: number, columns: number): Tile {
  const { side, threads } = matrixTiling(matrix, rows, columns);
  return {
    rows: side,
    columns: side,
    perThread: side * side / 4 / threads,
    vectors: 1,
    kind: "matrix",
    matrix,
  };
}

/** @param isTurned whether aTile is [DEPTH, side], like bTile, and not [side, DEPTH] */
export function matrixMemory(side: number, isTurned: boolean): string {
  const turned = DEPTH * (side + GAP);
  return `var<workgroup> aTile: array<f16, ${isTurned ? turned : side * (DEPTH + GAP)}>;
var<workgroup> bTile: array<f16, ${turned}>;
var<workgroup> sums: array<f32, ${STRIP * side}>;`;
}

/** Stores vector `v` of four as vector number `at` of an array of f16 whose lines are `width` numbers. */
export function storeHalves(array: string, at: string, width: number): string {
  const place = `${div(at, width / 4)} * ${width + GAP}u + ${mod(at, width / 4)} * 4u`;
  return `    { let to = ${place};
${repeat(4, (e) => `      ${array}[to + ${e}u] = v.${"xyzw"[e]};`)} }`;
}

// that all of a subgroup is at the same place, the compiler cannot see
const UNCHECKED = "@diagnostic(off, chromium.subgroup_matrix_uniformity)";

/** `text` of the one of these numbers that a variable is. */
function byCase(variable: string, numbers: readonly number[], text: (number: number) => string): string {
  return numbers.map((number, i) => {
    const condition = i < numbers.length - 1 ? `if (${variable} == ${number}u) ` : "";
    return `${condition}{\n${text(number)}\n    }`;
  }).join(" else ");
}

/**
 * Texts for a product of aTile and bTile. All threads load; the first subgroups multiply.
 * @returns `end` takes text that stores vector `sum`, four columns from 4 `tx` on of row `line` of the tile
 */
export function matrixTexts(
  { m, n, k }: MatrixShape,
  side: number,
  threads: number,
  isTurned: boolean,
): { begin: string; multiply: string; end: (store: string) => string } {
  const across = WIDTH / n, down = side / 2 / m;
  const leftType = `subgroup_matrix_left<f16, ${k}, ${m}>`,
    rightType = `subgroup_matrix_right<f16, ${n}, ${k}>`;
  const edges = Array.from({ length: side / WIDTH }, (_, i) => i * WIDTH);
  const each = (text: (i: number, j: number) => string) =>
    repeat(down, (i) => repeat(across, (j) => text(i, j)));
  // where matrices lie is written out: else Dawn, which checks each place, chooses lines of another length at run time
  const left = (i: number, top: number, step: number) => {
    const row = top + i * m;
    const [order, at, line] = isTurned
      ? ["col_major", step * (side + GAP) + row, side + GAP]
      : ["row_major", row * (DEPTH + GAP) + step, DEPTH + GAP];
    return `      left${i} = subgroupMatrixLoad<${leftType}, ${order}>(&aTile, ${at}u, ${line}u);`;
  };
  const right = (j: number, edge: number, step: number) =>
    `      right${j} = subgroupMatrixLoad<${rightType}, row_major>(&bTile, ${
      step * (side + GAP) + edge + j * n
    }u, ${side + GAP}u);`;
  const product = (step: number) =>
    `    {
${repeat(down, (i) => `    var left${i} = ${leftType}();`)}
${repeat(across, (j) => `    var right${j} = ${rightType}();`)}
${byCase("top", [0, side / 2], (top) => repeat(down, (i) => left(i, top, step)))}
${byCase("edge", edges, (edge) => repeat(across, (j) => right(j, edge, step)))}
${each((i, j) => `    part${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, part${i}_${j});`)}
    }`;
  const strips = side / STRIP, tall = threads / (side / 4);
  const strip = (p: number, use: string) => {
    const half = p < strips / 2 ? 0 : 1, line = (i: number) => i * m - (p - half * strips / 2) * STRIP;
    const store = (edge: number) =>
      repeat(down, (i) => {
        if (line(i) < 0 || line(i) >= STRIP) return "";
        return repeat(across, (j) =>
          `      subgroupMatrixStore<row_major>(&sums, ${
            line(i) * side + edge + j * n
          }u, part${i}_${j}, ${side}u);`);
      });
    return `  workgroupBarrier();
  ${UNCHECKED} if (mine < ${subgroupsOf(side)}u && top == ${half * (side / 2)}u) {
${byCase("edge", edges, store)}
  }
  workgroupBarrier();
${
      repeat(STRIP / tall, (i) =>
        `  { let place = ty + ${i * tall}u;
  let line = ${p * STRIP}u + place;
  let begin = place * ${side}u + tx * 4u;
  let sum = vec4f(sums[begin], sums[begin + 1u], sums[begin + 2u], sums[begin + 3u]);
${use} }`)
    }`;
  };
  return {
    begin: `  let mine = lid / lanes;
  let top = ${div("mine", side / WIDTH)} * ${side / 2}u;
  let edge = ${mod("mine", side / WIDTH)} * ${WIDTH}u;
${each((i, j) => `  var part${i}_${j} = subgroup_matrix_result<f32, ${n}, ${m}>();`)}`,
    multiply: `    ${UNCHECKED} if (mine < ${subgroupsOf(side)}u) {
${repeat(DEPTH / k, (step) => product(step * k))}
    }`,
    end: (store) => repeat(strips, (p) => strip(p, store)),
  };
}

/**
 * The tile at (`rowTile`, `columnTile`) of a product.
 * @param store text that stores vector `sum` of the tile's row `line`
 */
export function matrixProduct(
  tile: Tile,
  matrix: MatrixShape,
  rows: Rows,
  vectors: string,
  store: string,
): string {
  const side = tile.columns, threads = threadsOf(tile);
  const { begin, multiply, end } = matrixTexts(matrix, side, threads, false);
  const place = (j: number) => `(lid + ${j * threads}u)`;
  const loadsA = loadsOf(tile), loadsB = DEPTH * side / 4 / threads;
  const ask = (channel: string) => {
    const b = (j: number) =>
      `b[((base + ${channel}) * 4u + ${div(place(j), side / 4)}) * ${vectors} + ` +
      `columnTile * ${side / 4}u + ${mod(place(j), side / 4)}]`;
    const a = (j: number) => `select(vec4h(), vec4h(a[at${j} + ${channel} + lane]), has${j})`;
    return `${repeat(loadsA, (j) => `    nextA${j} = ${a(j)};`)}
${repeat(loadsB, (j) => `    nextB${j} = vec4h(${b(j)});`)}`;
  };
  const storeAll = (array: string, loads: number, width: number) =>
    repeat(loads, (j) =>
      `    { let v = next${array}${j};
${storeHalves(`${array.toLowerCase()}Tile`, place(j), width)} }`);
  const loop = `${repeat(loadsA, (j) => `    var nextA${j} = vec4h();`)}
${repeat(loadsB, (j) => `    var nextB${j} = vec4h();`)}
${ask("first")}
  for (var channel = first; channel < last; channel += ${MATRIX_QUADS}u) {
    workgroupBarrier();
${storeAll("A", loadsA, DEPTH)}
${storeAll("B", loadsB, side)}
    workgroupBarrier();
    let next = min(channel + ${MATRIX_QUADS}u, last - ${MATRIX_QUADS}u);
${ask("next")}
${multiply}
  }`;
  return `${begin}
${eachTap(tile, rows, loop)}
${end(store)}`;
}
