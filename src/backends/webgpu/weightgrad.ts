// Weight gradients: out [o, c, ky, kx] = sum over pixels of g[pixel, o] x[pixel at that tap, c], a product whose depth is
// the pixels. They are split among workgroups by the shape alone, and a second kernel adds the parts in order.
import type { Buffer, ConvSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import { dtypeOf, type Gpu, ofGpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import {
  DEPTH,
  matrixExtensions,
  matrixMemory,
  type MatrixShape,
  matrixTexts,
  storeHalves,
  sumsOf,
} from "./matrix.ts";
import type { Kernel, Params } from "./pipelines.ts";
import type { Trial } from "./tune.ts";
import { div, mod, repeat, THREADS, u32s } from "./wgsl.ts";

/** What a workgroup computes, in vectors of four: of rows (tap and input channel) and columns (output channel). */
interface Tile {
  readonly down: number;
  readonly across: number;
  /** Vectors of either that a thread has. */
  readonly perThread: readonly [down: number, across: number];
  /** Pixels whose vectors go through the workgroup's memory at a time; 0: each thread reads what it needs. */
  readonly depth: number;
  readonly matrix?: MatrixShape;
}

const MIDDLE: Tile = { down: 16, across: 16, perThread: [1, 1], depth: 16 };
const SMALL: Tile = { down: 8, across: 8, perThread: [1, 1], depth: 16 };
const NARROW: Tile = { down: 64, across: 1, perThread: [1, 1], depth: 8 };
const tileName = ({ down, across, depth, matrix }: Tile) =>
  `${4 * down}x${4 * across} ${matrix ? "matrix" : depth === 0 ? "direct" : "shared"}`;
const threadsOf = ({ down, across, perThread: [m, n] }: Tile) => (down / m) * (across / n);

/** Those that may be best, the likeliest first (gemm.ts says why). @param rows vectors of both sides */
function tilesFor(gpu: Gpu, rows: number, columns: number, areHalf: boolean): Tile[] {
  const { matrix } = gpu;
  if (matrix && areHalf && Math.min(rows, columns) > SMALL.across) {
    const { down, across } = MIDDLE;
    return [{ down, across, perThread: [(down * across) / matrix.threads, 1], depth: DEPTH, matrix }];
  }
  const direct = directTile(columns);
  const shared = columns === 1 ? NARROW : Math.min(rows, columns) <= SMALL.across ? SMALL : MIDDLE;
  return gpu.report.isSoftware ? [direct, shared] : [shared, direct];
}

function directTile(columns: number): Tile {
  const wide = columns > 2 ? 4 : columns, across = columns > 4 ? 16 : wide;
  return { down: 16, across, perThread: [2, wide], depth: 0 };
}

/** Workgroups that keep a GPU busy; pixels of a part at least, and at most lest the sum loses digits. */
const MANY = 256, SHORTEST = 128, LONGEST = 8192;
/** Memory of the parts at most. */
const PARTS_BYTES = 64 * 2 ** 20;

export function conv2dWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, kernel: [kh, kw] } = spec;
  const pixels = batch * outHeight * outWidth;
  const inputs = ceil(inChannels, 4), outputs = ceil(outChannels, 4), rows = kh * kw * inputs;
  const choices = tilesFor(gpu, rows, outputs, [x, g].every((buffer) => dtypeOf(buffer) === "f16"));
  const tilesOf = ({ down, across }: Tile) => ceil(rows, down) * ceil(outputs, across);
  const bytes = rows * outputs * 64;
  // by the shape alone: the sums are to be the same whatever the tile
  const wanted = Math.min(
    ceil(MANY, tilesOf(MIDDLE)),
    ceil(pixels, SHORTEST),
    Math.floor(PARTS_BYTES / bytes),
  );
  const part = ceil(pixels, Math.max(1, wanted, ceil(pixels, LONGEST)));
  const parts = ceil(pixels, part);

  const { stride, padTop, padLeft, upsample } = spec;
  const shape = {
    height,
    width,
    inputs,
    outHeight,
    outWidth,
    outputs,
    rows,
    pixels,
    part,
    kw,
    stride,
    padTop,
    padLeft,
  };
  const paramsOf = (tile: Tile) => {
    const tiles = tilesOf(tile);
    return { ...shape, tiles, tilesAcross: ceil(outputs, tile.across), groups: tiles * parts };
  };
  const flops = 2 * pixels * kh * kw * inChannels * outChannels;
  wholeVectors(gpu, x, 0, batch * height * width, inChannels, (a) => {
    wholeVectors(gpu, g, 0, pixels, outChannels, (whole) => {
      gpu.with(parts * bytes, (partial) => {
        const buffers = [a, whole, partial];
        const call = (tile: Tile): Trial => {
          const params = paramsOf(tile);
          const kernel = partKernel(gpu, tile, upsample, params);
          return { kernel, groups: params.groups, buffers: buffers.map(ofGpu), params };
        };
        const trials = choices.map((tile) => ({ name: tileName(tile), trial: () => call(tile) }));
        const name = `weightGrad ${[...Object.values(shape), upsample]} ${dtypeOf(a)} ${dtypeOf(whole)}`;
        const { kernel, groups, params } = call(choices[gpu.tuner.choose(name, flops, trials)]);
        gpu.run(kernel, buffers, groups, params, flops);
        addParts(gpu, partial, out, parts, spec);
      });
    });
  });
}

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
function partKernel(gpu: Gpu, tile: Tile, upsample: number, params: Params): Kernel {
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
    const sums = eachSum((i, c) => `  var acc${i}_${c} = array<vec4f, 4>();`);
    const loop = tile.matrix ? matrixLoop(tile, tile.matrix, upsample) : `${sums}
${depth === 0 ? directLoop(tile, upsample, eachSum(multiply)) : plainLoop(tile, upsample, multiply(0, 0))}`;
    const memory = `var<workgroup> aTile: array<vec4f, ${down * depth}>;
var<workgroup> bTile: array<vec4f, ${across * depth}>;`;
    return {
      inputs: { a: "vec4f", g: "vec4f" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: threadsOf(tile),
      extensions: tile.matrix ? matrixExtensions : [],
      globals: tile.matrix ? matrixMemory : depth === 0 ? "" : memory,
      body: `  if (group >= p.groups) { return; }
  let place = group % p.tiles;
  let rowTile = place / p.tilesAcross;
  let columnTile = place % p.tilesAcross;
  let start = group / p.tiles * p.part;
  let end = min(start + p.part, p.pixels);
  let tx = ${mod("lid", columnsApart)};
  let ty = ${div("lid", columnsApart)};
${hoisted(upsample)}
${depth === 0 ? "" : row("L", mod("lid", down))}
${repeat(m, (i) => row(`${i}`, `ty + ${i * rowsApart}u`))}
${repeat(n, (c) => `  let column${c} = columnTile * ${across}u + tx + ${c * columnsApart}u;`)}
${loop}
${
        eachSum((i, c) =>
          `  if (isRow${i} && column${c} < p.outputs) {
    let at = (group / p.tiles * p.rows + mine${i}) * p.outputs * 4u + column${c};
${repeat(4, (e) => `    out[at + ${e}u * p.outputs] = acc${i}_${c}[${e}];`)}
  }`
        )
      }`,
    };
  });
}

function directLoop({ perThread: [m, n] }: Tile, upsample: number, multiply: string): string {
  const { begin, pixel, move, load } = walker("", upsample);
  const column = (c: number) => {
    const value = `vec4f(g[${pixel} * outputs + min(column${c}, outputs - 1u)])`;
    return `    let v${c} = select(vec4f(), ${value}, column${c} < outputs);`;
  };
  return `${begin("start")}
  while (${pixel} < end) {
${repeat(m, (i) => load(`${i}`, `u${i}`))}
${repeat(n, column)}
${multiply}
${move(1)}
  }`;
}

function plainLoop(tile: Tile, upsample: number, multiply: string): string {
  const { down, across, depth } = tile;
  const step = (d: number) =>
    `    { let u0 = aTile[${d * down}u + ty]; let v0 = bTile[${d * across}u + tx]; ${multiply} }`;
  const store = (array: string, at: string) => `    ${array}[${at}] = v;`;
  return sharedLoop(tile, upsample, store, repeat(depth, step));
}

/** By the matrices of matrix.ts; a thread takes its sums from the workgroup's memory. */
function matrixLoop(tile: Tile, matrix: MatrixShape, upsample: number): string {
  const { down, perThread: [m] } = tile, { begin, multiply, end } = matrixTexts(matrix, true);
  const four = (i: number) =>
    Array.from({ length: 4 }, (_, e) => sumsOf(`(ty + ${i * (down / m)}u) * 4u + ${e}u`)).join(", ");
  return `${begin}
${sharedLoop(tile, upsample, storeHalves, multiply)}
${end}
${repeat(m, (i) => `  var acc${i}_0 = array<vec4f, 4>(${four(i)});`)}`;
}

/**
 * Brings both factors, some pixels at a time, to the workgroup's memory.
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
  /** The loads of a thread; its row stays the same, as whole rows of the tile are loaded at a time. */
  const loads = (vectors: number, text: (at: string, j: number) => string) =>
    repeat(ceil(vectors, threads), (j) => {
      const statements = text(`(lid + ${j * threads}u)`, j);
      return vectors < threads ? `    if (lid < ${vectors}u) {\n${statements} }` : `    {\n${statements} }`;
    });
  const places = Array.from({ length: ceil(down * depth, threads) }, (_, j) => walker(`${j}`, upsample));
  const loadA = (at: string, j: number) =>
    `${places[j].load("L", "u")}
    let v = ${type}(u);
${store("aTile", at)}`;
  const loadB = (at: string) =>
    `    var v = ${type}();
    let pixel = first + ${div(at, across)};
    let column = columnTile * ${across}u + ${mod(at, across)};
    if (pixel < end && column < outputs) { v = ${type}(g[pixel * outputs + column]); }
${store("bTile", at)}`;
  return `${places.map(({ begin }, j) => begin(`start + ${div(`(lid + ${j * threads}u)`, down)}`)).join("\n")}
  for (var first = start; first < end; first += ${depth}u) {
    workgroupBarrier();
${loads(down * depth, loadA)}
${loads(across * depth, loadB)}
    workgroupBarrier();
${multiply}
${places.map(({ move }) => move(depth)).join("\n")}
  }`;
}

/** Adds the parts [part, tap, input, output], whose channels are whole vectors, to weights [output, input, tap]. */
function addParts(gpu: Gpu, partial: Buffer, out: Buffer, parts: number, spec: ConvSpec): void {
  const { inChannels, outChannels, kernel: [kh, kw] } = spec, taps = kh * kw;
  const n = inChannels * outChannels, outputs = ceil(outChannels, 4) * 4;
  const params = { n, parts, inChannels, outChannels, outputs, step: ceil(inChannels, 4) * 4 * outputs };
  // a thread has all taps of its weights, which lie together
  const kernel = gpu.kernel(`addParts ${taps}`, () => ({
    inputs: { partial: "f32" },
    outputs: { out: "f32" },
    params: u32s(params),
    threads: THREADS,
    body: `${each("p.n")}
  let output = i % p.outChannels;
  let input = i / p.outChannels;
  let to = (output * p.inChannels + input) * ${taps}u;
${repeat(taps, (tap) => `  var total${tap} = 0.0;`)}
  for (var part = 0u; part < p.parts; part++) {
    let first = part * ${taps}u * p.step + input * p.outputs + output;
${repeat(taps, (tap) => `    total${tap} += partial[first + ${tap}u * p.step];`)}
  }
${repeat(taps, (tap) => `  out[to + ${tap}u] = total${tap};`)}`,
  }));
  gpu.run(kernel, [partial, out], groupsOf(n), params);
}
