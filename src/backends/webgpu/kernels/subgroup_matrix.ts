// The product of f16 factors by subgroup matrices, which are special units of GPUs; sums are f32. The feature is experimental
// in Dawn, and in Chrome behind a flag, so it is used only after a test has computed small products correctly (self_test.ts).
import { ceil, div, mod, repeat } from "./wgsl.ts";
import { eachTap, loadsOf, MATRIX_QUADS, type MatrixShape, type Rows, threadsOf, type Tile } from "./tile.ts";

export const matrixExtensions: readonly string[] = ["subgroups", "chromium_experimental_subgroup_matrix"];

/** How many numbers along the depth are in the workgroup's memory at a time. */
export const DEPTH = 4 * MATRIX_QUADS;
/** The number of rows of a tile, which is also its number of columns. */
type Side = 64 | 128;
/** A subgroup computes this many columns of half of the tile's rows. */
const WIDTH = 32;
/** Unused numbers after each line in the workgroup's memory, so that lines begin in different banks. */
const GAP = 8;
/** How many rows of sums go through the workgroup's memory at a time. */
const STRIP = 16;
/** The most threads of a workgroup that every GPU allows. */
const MOST_THREADS = 256;
/** With this many large tiles, a GPU is busy; then large tiles are better, because they read less. */
const ENOUGH = 128;
/** Bytes of workgroup memory that the larger tile takes. */
export const MATRIX_MEMORY = 2 * 128 * (DEPTH + GAP) + 2 * DEPTH * (128 + GAP) + 4 * STRIP * 128;

const subgroupsOf = (side: number): number => 2 * (side / WIDTH);

/** Whether tiles can consist of whole matrices of this shape, with no more threads than are allowed. */
export function fitsTiles({ m, n, k, lanes }: MatrixShape): boolean {
  return STRIP % m === 0 && WIDTH % n === 0 && DEPTH % k === 0 && subgroupsOf(64) * lanes <= MOST_THREADS;
}

/** The side of the tiles for a number of rows and columns, and the threads of a tile. */
export function matrixTiling(
  { lanes }: MatrixShape,
  rows: number,
  columns: number,
): { side: Side; threads: number } {
  const fits = subgroupsOf(128) * lanes <= MOST_THREADS && columns > 64;
  const side = fits && ceil(rows, 128) * ceil(columns, 128) >= ENOUGH ? 128 : 64;
  return { side, threads: subgroupsOf(side) * lanes };
}

/** The tile for a product with this number of rows and columns. */
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

/**
 * The workgroup memory of a tile.
 * @param isTurned whether aTile is [DEPTH, side], like bTile, instead of [side, DEPTH]
 */
export function matrixMemory(side: number, isTurned: boolean): string {
  const turned = DEPTH * (side + GAP);
  return `var<workgroup> aTile: array<f16, ${isTurned ? turned : side * (DEPTH + GAP)}>;
var<workgroup> bTile: array<f16, ${turned}>;
var<workgroup> sums: array<f32, ${STRIP * side}>;`;
}

/** Stores `v` as vector number `at` of an array of f16 with lines of `width` numbers. */
export function storeHalves(array: string, at: string, width: number): string {
  const place = `${div(at, width / 4)} * ${width + GAP}u + ${mod(at, width / 4)} * 4u`;
  return `    { let to = ${place};
${repeat(4, (e) => `      ${array}[to + ${e}u] = v.${"xyzw"[e]};`)} }`;
}

// the compiler cannot prove that all threads of a subgroup take the same branch
const UNCHECKED = "@diagnostic(off, chromium.subgroup_matrix_uniformity)";

/** A chain of ifs: runs `text(number)` for the number that the variable equals. */
function byCase(variable: string, numbers: readonly number[], text: (number: number) => string): string {
  return numbers.map((number, i) => {
    const condition = i < numbers.length - 1 ? `if (${variable} == ${number}u) ` : "";
    return `${condition}{\n${text(number)}\n    }`;
  }).join(" else ");
}

/**
 * The texts for a product of aTile and bTile. All threads load; only the first subgroups multiply.
 * @returns `end` takes text that stores the vector `sum`, which is the four columns from 4 `tx` on in row `line` of the tile
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
  // the places of matrices are constants in the text: Dawn checks each place, and if it cannot know it, it replaces the
  // length of lines by another one at run time
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
 * Computes and stores the tile at (`rowTile`, `columnTile`) of a product.
 * @param vectors the number of vectors in a row of `b`, as text
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
