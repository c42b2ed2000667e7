// The kernels of weight gradients: tiles of the parts [part, tap, input, output]. A thread walks through the pixels of its
// part; who brings what it multiplies depends on the kind of tile, as in gemm.ts.
import { ceil, type Madd } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import {
  matrixExtensions,
  matrixMemory,
  type MatrixShape,
  matrixTexts,
  storeHalves,
} from "./subgroup_matrix.ts";
import type { Kernel, Params } from "./pipelines.ts";
import { div, mod, repeat, u32s } from "./wgsl.ts";

/** Pixels of a part at most, lest its sum loses digits. */
export const LONGEST = 8192;

/** What a workgroup computes, in vectors of four: of rows (tap and input channel) and columns (output channel). */
export interface Tile {
  readonly down: number;
  readonly across: number;
  /** Vectors of either that a thread has. */
  readonly perThread: readonly [down: number, across: number];
  /** Pixels whose vectors go through the workgroup's memory at a time; 0: each thread reads what it needs. */
  readonly depth: number;
  /** Whether four neighbours, which have the same rows, load those of one pixel of four each for the others. */
  readonly isQuad?: boolean;
  readonly matrix?: MatrixShape;
}

export function tileName({ down, across, perThread: [m, n], depth, isQuad, matrix }: Tile): string {
  const kind = matrix ? "matrix" : depth > 0 ? "shared" : isQuad ? "quad" : "direct";
  return `${4 * down}x${4 * across}/${4 * m}x${4 * n} ${kind}`;
}
const threadsOf = ({ down, across, perThread: [m, n] }: Tile) => (down / m) * (across / n);

/** What loops read of the params: a CPU that plays GPU fetches those anew each time. */
const hoisted = (upsample: number) =>
  `  let stride = p.stride;
  let outputs = p.outputs;
  let inputs = p.inputs;
  let width = p.width;
  let height = p.height;
  let tall = height * ${upsample}u;
  let wide = width * ${upsample}u;
  let rowEnd = p.outWidth * stride;`;

/**
 * A thread's place among the pixels of outputs, `pixel<name>`, and where its taps begin, (x, y) of the enlarged picture. It
 * moves along: only where it begins is divided.
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
    /** The vector of `row`'s tap and channel; zeros where that is beyond the picture, whose places above it are huge. */
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

/** Computes the parts: [part, tap, input, output]. Shapes are numbers to it, so that all convolutions share its text. */
export function partKernel(gpu: Gpu, tile: Tile, upsample: number, params: Params): Kernel {
  return gpu.kernel(`weightGrad ${upsample} by ${tileName(tile)}`, () => {
    const { down, across, perThread: [m, n], depth } = tile;
    const rowsApart = down / m, columnsApart = across / n;
    /** What stays the same for a vector of rows. */
    const row = (name: string, number: string) =>
      `  let mine${name} = rowTile * ${down}u + ${number};
  let isRow${name} = mine${name} < p.rows;
  let channel${name} = mine${name} % inputs;
  let tap${name} = mine${name} / inputs;
  let dy${name} = tap${name} / p.kw - p.padTop;
  let dx${name} = tap${name} % p.kw - p.padLeft;
  let apart${name} = (dy${name} * width + dx${name}) * inputs + channel${name};`;
    const eachSum = (text: (i: number, c: number) => string) =>
      repeat(m, (i) => repeat(n, (c) => text(i, c)));
    const multiply = (i: number, c: number) =>
      ["x", "y", "z", "w"].map((e, k) => {
        const sum = `acc${i}_${c}[${k}]`;
        return `${sum} = ${gpu.madd(sum, `u${i}.${e}`, `v${c}`)};`;
      }).join(" ");
    const loop = () => {
      if (tile.isQuad) return quadLoop(tile, upsample, gpu.madd);
      return depth === 0
        ? directLoop(tile, upsample, eachSum(multiply))
        : plainLoop(tile, upsample, eachSum(multiply));
    };
    const body = tile.matrix
      ? matrixLoop(
        tile,
        tile.matrix,
        upsample,
        `  let row = rowTile * ${4 * down}u + line;
  if (row < 4u * p.rows && column0 < p.outputs) { out[(part * p.rows * 4u + row) * p.outputs + column0] = sum; }`,
      )
      : `${eachSum((i, c) => `  var acc${i}_${c} = array<vec4f, 4>();`)}
${loop()}
${
        eachSum((i, c) =>
          `  if (isRow${i} && column${c} < p.outputs) {
    let at = (part * p.rows + mine${i}) * p.outputs * 4u + column${c};
${repeat(4, (e) => `    out[at + ${e}u * p.outputs] = acc${i}_${c}[${e}];`)}
  }`
        )
      }`;
    const memory = `var<workgroup> aTile: array<vec4f, ${down * depth}>;
var<workgroup> bTile: array<vec4f, ${across * depth}>;`;
    return {
      inputs: { a: "vec4f", g: "vec4f" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: threadsOf(tile),
      extensions: tile.matrix ? matrixExtensions : tile.isQuad ? ["subgroups"] : [],
      globals: tile.matrix ? matrixMemory(4 * across, true) : depth === 0 ? "" : memory,
      body: `  if (group >= p.groups) { return; }
  let place = group % p.tiles;
  let rowTile = place / p.tilesAcross;
  let columnTile = place % p.tilesAcross;
  let part = group / p.tiles;
  let start = part * p.part;
  let end = min(start + p.part, p.pixels);
  let tx = ${mod("lid", columnsApart)};
  let ty = ${div("lid", columnsApart)};
${hoisted(upsample)}
${depth === 0 ? "" : row("L", mod("lid", down))}
${tile.matrix ? "" : repeat(m, (i) => row(`${i}`, `ty + ${i * rowsApart}u`))}
${repeat(n, (c) => `  let column${c} = columnTile * ${across}u + tx + ${c * columnsApart}u;`)}
${body}`,
    };
  });
}

/** The thread's c-th vector of columns at a pixel, by the name `to`<c>. */
function loadColumn(c: number, pixel: string, to: string): string {
  const value = `vec4f(g[${pixel} * outputs + min(column${c}, outputs - 1u)])`;
  return `    let ${to}${c} = select(vec4f(), ${value}, column${c} < outputs);`;
}

function directLoop({ perThread: [m, n] }: Tile, upsample: number, multiply: string): string {
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
 * Four pixels at a time, as in gemm.ts. Beyond the last one rows are zeros, and columns are of one that is there.
 */
function quadLoop({ perThread: [m, n] }: Tile, upsample: number, madd: Madd): string {
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

function plainLoop(tile: Tile, upsample: number, multiply: string): string {
  const { down, across, perThread: [m, n], depth } = tile;
  const step = (d: number) =>
    `    {
${repeat(m, (i) => `    let u${i} = aTile[${d * down + i * (down / m)}u + ty];`)}
${repeat(n, (c) => `    let v${c} = bTile[${d * across + c * (across / n)}u + tx];`)}
${multiply} }`;
  const store = (array: string, at: string) => `    ${array}[${at}] = v;`;
  return sharedLoop(tile, upsample, store, repeat(depth, step));
}

/** By the matrices of matrix.ts. @param store text that stores vector `sum` of row `line` of the tile */
function matrixLoop(tile: Tile, matrix: MatrixShape, upsample: number, store: string): string {
  const side = 4 * tile.across, { begin, multiply, end } = matrixTexts(matrix, side, threadsOf(tile), true);
  const toTile = (array: string, at: string) => storeHalves(array, at, side);
  return `${begin}
${sharedLoop(tile, upsample, toTile, multiply)}
${end(store)}`;
}

/**
 * Brings both factors, some pixels at a time, to the workgroup's memory; the next ones are on their way meanwhile.
 * @param store text that puts vector `v` to vector `at` of an array
 * @param multiply text that adds the products of what is there
 */
function sharedLoop(
  tile: Tile,
  upsample: number,
  store: (array: string, at: string) => string,
  multiply: string,
): string {
  const { down, across, depth, matrix } = tile, threads = threadsOf(tile), type = matrix ? "vec4h" : "vec4f";
  const place = (j: number) => `(lid + ${j * threads}u)`;
  // a thread's row stays the same, as whole rows of the tile are loaded at a time
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
