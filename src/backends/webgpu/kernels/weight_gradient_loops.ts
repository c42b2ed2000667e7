// The loops of weight gradients, as texts: a thread goes through the pixels of its part, and adds the products of vectors of
// the input and of the gradient. Each kind of tile has a loop of its own.
import { matrixTexts, storeHalves } from "./subgroup_matrix.ts";
import type { Madd, MatrixShape } from "./tile.ts";
import { ceil, div, mod, repeat } from "./wgsl.ts";

/** What a workgroup computes. Rows (tap and input channel) and columns (output channel) are counted in vectors of four. */
export interface GradTile {
  readonly down: number;
  readonly across: number;
  /** How many vectors of rows and of columns a thread computes. */
  readonly perThread: readonly [down: number, across: number];
  /** How many pixels are in the workgroup's memory at a time. 0 means that each thread loads what it needs. */
  readonly depth: number;
  /** Whether four neighbouring threads, which have the same rows, each load one of four pixels and share it. */
  readonly isQuad?: boolean;
  readonly matrix?: MatrixShape;
}

export const threadsOf = ({ down, across, perThread: [m, n] }: GradTile): number => (down / m) * (across / n);

/** Copies the params that the loops read to variables, because software GPUs would load them again each time. */
export const hoisted = (upsample: number): string =>
  `  let stride = p.stride;
  let outputs = p.outputs;
  let inputs = p.inputs;
  let width = p.width;
  let height = p.height;
  let tall = height * ${upsample}u;
  let wide = width * ${upsample}u;
  let rowEnd = p.outWidth * stride;`;

/**
 * Texts that take a thread through the pixels of the output: `pixel<name>`, and where its taps begin, at (x, y) of the
 * enlarged picture. Each place is computed from the previous one by additions; only the first one takes divisions.
 */
function walker(name: string, upsample: number) {
  const [pixel, x, y, image, from] = ["pixel", "x", "y", "image", "begin"].map((part) => part + name);
  const place = (y: string, x: string) =>
    `((${image} * height + ${div(y, upsample)}) * width + ${div(x, upsample)}) * inputs`;
  const turn = `
      ${x} -= rowEnd;
      ${y} += stride;
      if (${y} == p.outHeight * stride) { ${y} = 0u; ${image}++; }`;
  return {
    pixel,
    begin: (first: string) =>
      `  var ${pixel} = ${first};
  var ${x} = ${pixel} % p.outWidth * stride;
  var ${y} = ${pixel} / p.outWidth % p.outHeight * stride;
  var ${image} = ${pixel} / p.outWidth / p.outHeight;
  var ${from} = ${place(y, x)};`,
    move: (by: number) =>
      `    ${pixel} += ${by}u;
    ${x} += ${by}u * stride;
    ${from} += ${by}u * stride * inputs;
    if (${x} >= rowEnd) {
      while (${x} >= rowEnd) {${turn}
      }
      ${from} = ${place(y, x)};
    }`,
    /**
     * Loads the vector of `row`'s tap and channel, or zeros outside the picture. Negative places wrap around to huge ones, so
     * one comparison finds both.
     */
    load: (row: string, to: string) => {
      const at = upsample === 1
        ? `${from} + apart${row}`
        : `${place(`down${to}`, `across${to}`)} + channel${row}`;
      return `    let down${to} = ${y} + dy${row};
    let across${to} = ${x} + dx${row};
    let has${to} = isRow${row} && ${pixel} < end && down${to} < tall && across${to} < wide;
    let ${to} = select(vec4f(), vec4f(a[select(0u, ${at}, has${to})]), has${to});`;
    },
  };
}

/** Declares `to`<c>, the thread's c-th vector of columns at a pixel. */
function loadColumn(c: number, pixel: string, to: string): string {
  const value = `vec4f(g[${pixel} * outputs + min(column${c}, outputs - 1u)])`;
  return `    let ${to}${c} = select(vec4f(), ${value}, column${c} < outputs);`;
}

export function directLoop({ perThread: [m, n] }: GradTile, upsample: number, multiply: string): string {
  const { begin, pixel, move, load } = walker("", upsample);
  return `${begin("start")}
  while (${pixel} < end) {
${repeat(m, (i) => load(`${i}`, `u${i}`))}
${repeat(n, (c) => loadColumn(c, pixel, "v"))}
${multiply}
${move(1)}
  }`;
}

/**
 * Four neighbouring threads load one of four pixels each. After the last pixel, rows are zeros, so the columns there may be
 * those of any existing pixel.
 */
export function quadLoop({ perThread: [m, n] }: GradTile, upsample: number, madd: Madd): string {
  const { begin, move, load } = walker("", upsample), four = [0, 1, 2, 3];
  const columns = (q: number) =>
    `    let at${q} = min(first + ${q}u, end - 1u);\n${repeat(n, (c) => loadColumn(c, `at${q}`, `v${q}_`))}`;
  const multiply = (i: number) => {
    const sum = (c: number, k: number) =>
      four.reduce((sum, q) => madd(sum, `u${q}.${"xyzw"[k]}`, `v${q}_${c}`), `acc${i}_${c}[${k}]`);
    const add = (c: number) => repeat(4, (k) => `    acc${i}_${c}[${k}] = ${sum(c, k)};`);
    return `    {
${repeat(4, (q) => `    let u${q} = quadBroadcast(own${i}, ${q}u);`)}
${repeat(n, add)}
    }`;
  };
  return `${begin("start + (lid & 3u)")}
  for (var first = start; first < end; first += 4u) {
${repeat(m, (i) => load(`${i}`, `own${i}`))}
${repeat(4, columns)}
${repeat(m, multiply)}
${move(4)}
  }`;
}

export function plainLoop(tile: GradTile, upsample: number, multiply: string): string {
  const { down, across, perThread: [m, n], depth } = tile;
  const step = (d: number) =>
    `    {
${repeat(m, (i) => `    let u${i} = aTile[${d * down + i * (down / m)}u + ty];`)}
${repeat(n, (c) => `    let v${c} = bTile[${d * across + c * (across / n)}u + tx];`)}
${multiply} }`;
  const store = (array: string, at: string) => `    ${array}[${at}] = v;`;
  return sharedLoop(tile, upsample, store, repeat(depth, step));
}

/** The loop with subgroup matrices. @param store text that stores vector `sum` of row `line` of the tile */
export function matrixLoop(tile: GradTile, matrix: MatrixShape, upsample: number, store: string): string {
  const side = 4 * tile.across, { begin, multiply, end } = matrixTexts(matrix, side, threadsOf(tile), true);
  const toTile = (array: string, at: string) => storeHalves(array, at, side);
  return `${begin}
${sharedLoop(tile, upsample, toTile, multiply)}
${end(store)}`;
}

/**
 * Loads both factors into the workgroup's memory, some pixels at a time. The next pixels are loaded while these are
 * multiplied.
 * @param store text that stores `v` as vector `at` of an array
 * @param multiply text that adds the products of the factors in memory
 */
function sharedLoop(
  tile: GradTile,
  upsample: number,
  store: (array: string, at: string) => string,
  multiply: string,
): string {
  const { down, across, depth, matrix } = tile, threads = threadsOf(tile), type = matrix ? "vec4h" : "vec4f";
  const place = (j: number) => `(lid + ${j * threads}u)`;
  // a thread always loads the same row, because whole rows of the tile are loaded at a time
  const places = Array.from({ length: ceil(down * depth, threads) }, (_, j) => walker(`${j}`, upsample));
  const loadsB = ceil(across * depth, threads);
  const storeAll = (array: string, vectors: number, next: string) =>
    repeat(ceil(vectors, threads), (j) => {
      const text = `let v = ${next}${j};\n${store(array, place(j))}`;
      return (j + 1) * threads > vectors
        ? `    if (${place(j)} < ${vectors}u) { ${text} }`
        : `    { ${text} }`;
    });
  const loadB = (j: number) =>
    `    { let pixel = first + ${div(place(j), across)};
    let column = columnTile * ${across}u + ${mod(place(j), across)};
    let has = pixel < end && column < outputs;
    nextB${j} = select(${type}(), ${type}(g[select(0u, pixel * outputs + column, has)]), has); }`;
  const ask = `${
    places.map(({ load }, j) => `    {\n${load("L", "u")}\n    nextA${j} = ${type}(u); }`).join("\n")
  }
${repeat(loadsB, loadB)}`;
  return `  var first = start;
${places.map(({ begin }, j) => begin(`start + ${div(place(j), down)}`)).join("\n")}
${repeat(places.length, (j) => `  var nextA${j} = ${type}();`)}
${repeat(loadsB, (j) => `  var nextB${j} = ${type}();`)}
${ask}
  while (first < end) {
    workgroupBarrier();
${storeAll("aTile", down * depth, "nextA")}
${storeAll("bTile", across * depth, "nextB")}
    workgroupBarrier();
    first += ${depth}u;
${places.map(({ move }) => move(depth)).join("\n")}
${ask}
${multiply}
  }`;
}
