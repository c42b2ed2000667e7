// 3x3 convolutions Winograd's way (Lavin & Gray 2016): patches of 6x6 pixels and filters are taken to 36 points, multiplied
// there, and taken back to 4x4 outputs: a quarter of the definition's multiplications. wasm/winograd_transforms.ts has the
// same transforms, and says why these points.
import type { Buffer } from "../backend.ts";
import type { Job, Phase } from "./conv.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil, packedColumns, type Tile, tilesFor } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import type { Kernel } from "./pipelines.ts";
import { callOf, loadVector, plainRows, storeVector } from "./product.ts";
import { float, repeat, THREADS } from "./wgsl.ts";

/** Points along one side, outputs of a patch, and all products of one. */
const POINTS = 6, OUTPUTS = 4, PRODUCTS = POINTS * POINTS;
/** Bytes of a strip's patches and products together, and of the filters at most. */
const STRIP_BYTES = 32 * 2 ** 20, FILTER_BYTES = 64 * 2 ** 20;
/** With fewer channels, read or written, the transforms cost about what they save. */
const FEWEST = 16;
/** To so few pixels those of the filters cost more. No strip of a picture is so small: strips give the same bits as the whole. */
const SMALL = 64;

export function takesWinograd(gpu: Gpu, job: Job, sides: readonly Phase[]): boolean {
  const { batch, outHeight, outWidth, inputs, outputs } = job;
  return !gpu.exact && Math.min(inputs, outputs) >= FEWEST && batch * outHeight * outWidth > SMALL &&
    PRODUCTS * inputs * outputs * 4 <= FILTER_BYTES &&
    sides.every(({ kernel, period, step }) => kernel === 3 && period === 1 && step === 1);
}

/** The points are 0, +-P, +-Q and infinity. */
const P = Math.SQRT1_2, Q = Math.SQRT2, P2 = P * P, Q2 = Q * Q;

/** Sums of expressions, as text. */
type Transform = (x: readonly string[]) => string[];
const times = (factor: number, x: string) => `${float(factor)} * ${x}`;

/** B^T x: six inputs at the points. */
const inputTransform: Transform = (x) => {
  const even = (s: number) => `(${x[4]} - ${times(s, x[2])})`;
  const odd = (p: number, s: number) => `${float(p)} * (${x[3]} - ${times(s, x[1])})`;
  const end = (i: number) => `${times(P2 * Q2, x[i])} - ${times(P2 + Q2, x[i + 2])} + ${x[i + 4]}`;
  const [e1, o1, e2, o2] = [even(Q2), odd(P, Q2), even(P2), odd(Q, P2)];
  return [end(0), `${e1} + ${o1}`, `${e1} - ${o1}`, `${e2} + ${o2}`, `${e2} - ${o2}`, end(1)];
};

/** G x: three weights at the points, with the denominators of the interpolation. */
const filterTransform: Transform = (x) => {
  const at = (p: number, norm: number) => {
    const even = `(${times(1 / norm, x[0])} + ${times(p * p / norm, x[2])})`, odd = times(p / norm, x[1]);
    return [`${even} + ${odd}`, `${even} - ${odd}`];
  };
  return [times(1 / (P2 * Q2), x[0]), ...at(P, 2 * P2 * (P2 - Q2)), ...at(Q, 2 * Q2 * (Q2 - P2)), x[2]];
};

/** A^T m: four outputs from six products. */
const outputTransform: Transform = (m) => {
  const pair = (sign: "+" | "-", i: number) => {
    const [a, b] = [`(${m[1]} ${sign} ${m[2]})`, `(${m[3]} ${sign} ${m[4]})`];
    return `${times(P ** i, a)} + ${times(Q ** i, b)}`;
  };
  return [`${m[0]} + ${pair("+", 0)}`, pair("-", 1), pair("+", 2), `${m[5]} + ${pair("-", 3)}`];
};

/** Statements that transform the vectors `load(y, x)` of a square down and across, and store the results. */
function transform2d(
  size: number,
  transform: Transform,
  load: (y: number, x: number) => string,
  store: (y: number, x: number, value: string) => string,
): string {
  const numbers = Array.from({ length: size }, (_, i) => i);
  const line = (of: (i: number) => string, to: (i: number, value: string) => string) =>
    transform(numbers.map(of)).map((value, i) => `  ${to(i, value)}`).join("\n");
  const column = (x: number) =>
    `${repeat(size, (y) => `  let x${y}_${x} = ${load(y, x)};`)}
${line((y) => `x${y}_${x}`, (y, value) => `let t${y}_${x} = ${value};`)}`;
  const height = transform(numbers.map(String)).length;
  return `${repeat(size, column)}
${repeat(height, (y) => line((x) => `t${y}_${x}`, (x, value) => store(y, x, value)))}`;
}

const shapes = (...names: string[]) => Object.fromEntries(names.map((name) => [name, "u32"] as const));
const PLACE = shapes("first", "patches", "strip", "vectors", "down", "across", "height", "width");
/** Where the outputs of a thread's patch begin, and its vector of channels. */
const places = `${each("p.strip * p.vectors")}
  let place = p.first + i / p.vectors;
  if (place >= p.patches) { return; }
  let vector = i % p.vectors;
  let image = place / (p.down * p.across);
  let top = (place / p.across % p.down) * ${OUTPUTS}u;
  let left = (place % p.across) * ${OUTPUTS}u;`;
/** The thread's vector at a point. */
const point = (y: number, x: number) => `${y * POINTS + x}u * p.strip * p.vectors + i`;

function patchesKernel(gpu: Gpu): Kernel {
  const load = (y: number, x: number) => {
    const has = `hasY${y} && hasX${x}`;
    return `select(vec4f(), vec4f(a[select(0u, (row${y} + x${x}) * p.vectors + vector, ${has})]), ${has})`;
  };
  return gpu.kernel("winograd patches", () => ({
    inputs: { a: "vec4f" },
    outputs: { out: "vec4f" },
    params: { ...PLACE, ...shapes("padTop", "padLeft") },
    threads: THREADS,
    // places above and left of the picture wrap round to huge ones
    body: `${places}
${
      repeat(POINTS, (n) =>
        `  let y${n} = top + ${n}u - p.padTop;
  let x${n} = left + ${n}u - p.padLeft;
  let hasY${n} = y${n} < p.height;
  let hasX${n} = x${n} < p.width;
  let row${n} = (image * p.height + y${n}) * p.width;`)
    }
${transform2d(POINTS, inputTransform, load, (y, x, value) => `out[${point(y, x)}] = ${value};`)}`,
  }));
}

function outputsKernel(gpu: Gpu, outputs: number, bias: Buffer | null, residual: Buffer | null): Kernel {
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const more = [...(bias ? ["bias"] : []), ...(residual ? ["residual"] : [])];
  const store = (y: number, x: number, value: string) => {
    const last = residual ? ` + ${loadVector("residual", "at + column", isVector)}` : "";
    return `if (top + ${y}u < p.height && left + ${x}u < p.width) {
    let at = ((image * p.height + top + ${y}u) * p.width + left + ${x}u) * p.channels;
    let value = ${value}${bias ? " + added" : ""}${last};
    ${storeVector("at", "column", "p.channels", isVector, "value")}
  }`;
  };
  return gpu.kernel(["winograd outputs", isVector ? "of vectors" : "", ...more].join(" "), () => ({
    inputs: { m: "vec4f", ...Object.fromEntries(more.map((name) => [name, type])) },
    outputs: { out: type },
    params: { ...PLACE, ...shapes("channels") },
    threads: THREADS,
    body: `${places}
  let column = vector * 4u;
${bias ? `  let added = ${loadVector("bias", "column", isVector)};` : ""}
${transform2d(POINTS, outputTransform, (y, x) => `m[${point(y, x)}]`, store)}`,
  }));
}

/** out = bias + residual + the convolution of x, whose rows are whole vectors. */
export function winograd(
  gpu: Gpu,
  x: Buffer,
  w: Buffer,
  bias: Buffer | null,
  residual: Buffer | null,
  out: Buffer,
  job: Job,
  sides: readonly [down: Phase, across: Phase],
): void {
  const { batch, height, width, outHeight, outWidth, inputs, outputs } = job;
  const quads = ceil(inputs, 4), vectors = ceil(outputs, 4);
  const down = ceil(outHeight, OUTPUTS), across = ceil(outWidth, OUTPUTS), patches = batch * down * across;
  const strips = ceil(patches * PRODUCTS * (quads + vectors) * 16, STRIP_BYTES);
  const [tile] = tilesFor(gpu, ceil(patches, strips), outputs, quads, "f32");
  /** Patches of a strip; what is computed beyond the last is not read. */
  const strip = ceil(ceil(patches, strips), tile.rows) * tile.rows, rows = PRODUCTS * strip;
  const toPatches = patchesKernel(gpu), toOutputs = outputsKernel(gpu, outputs, bias, residual);
  const added = [bias, residual].filter((buffer) => buffer !== null);
  filtersAtPoints(gpu, w, job, sides, tile, (filters) => {
    gpu.with(PRODUCTS * strip * quads * 16, (a) => {
      gpu.with(PRODUCTS * strip * vectors * 16, (m) => {
        const tap = "rowTile / p.tilesOfPoint";
        // a strip's patches at each point are rows in whole tiles, and a tap of the filters has theirs
        const product = callOf(gpu, tile, {
          name: "winograd product",
          rows,
          columns: vectors * 4,
          quads,
          taps: 1,
          flops: 2 * rows * inputs * outputs,
          source: { ...plainRows("0u"), start: `${tap} * p.quads`, end: `(${tap} + 1u) * p.quads` },
          store: {
            row: "    let at = row * p.columns;",
            store: (acc, c) => storeVector("at", `column${c}`, "p.columns", true, acc),
          },
          others: [["out", "vec4f", m]],
          params: { tilesOfPoint: strip / tile.rows },
        });
        for (let first = 0; first < patches; first += strip) {
          const place = { first, patches, strip, down, across };
          const [padTop, padLeft] = sides.map((side) => -side.first);
          const read = { ...place, vectors: quads, height, width, padTop, padLeft };
          gpu.run(toPatches, [x, a], groupsOf(strip * quads), read);
          gpu.run(
            product.kernel,
            [a, filters, m],
            product.groups,
            product.params,
            2 * rows * inputs * outputs,
          );
          const written = { ...place, vectors, height: outHeight, width: outWidth, channels: outputs };
          gpu.run(toOutputs, [m, ...added, out], groupsOf(strip * vectors), written);
        }
      });
    });
  });
}

/** Filters as `product` reads them, a tap for each point, for the length of `body`. */
function filtersAtPoints(
  gpu: Gpu,
  w: Buffer,
  { inputs, outputs, outStride, inStride }: Job,
  [down, across]: readonly [Phase, Phase],
  tile: Tile,
  body: (filters: Buffer) => void,
): void {
  const vectors = packedColumns(outputs, tile) / 4, n = ceil(inputs, 4) * 4 * vectors;
  /** Weights lie in one order for the convolution, and turned by half a turn for its gradient. */
  const place = (y: number, x: number) =>
    (down.from + down.slope * y) * across.kernel + across.from + across.slope * x;
  const load = (y: number, x: number) => {
    const weight = (e: number) => `f32(w[at${e} + ${place(y, x)}u])`;
    return `select(vec4f(), vec4f(${[0, 1, 2, 3].map(weight).join(", ")}), isThere)`;
  };
  const kernel = gpu.kernel(`winograd filters from ${place(0, 0)}`, () => ({
    inputs: { w: "f32" },
    outputs: { out: "vec4f" },
    params: shapes("inputs", "outputs", "outStride", "inStride", "vectors", "n"),
    threads: THREADS,
    body: `${each("p.n")}
  let output = (i % p.vectors) * 4u;
  let input = i / p.vectors;
${
      repeat(4, (e) =>
        `  let has${e} = input < p.inputs && output + ${e}u < p.outputs;
  let at${e} = select(0u, (output + ${e}u) * p.outStride + input * p.inStride, has${e});`)
    }
  let isThere = vec4<bool>(has0, has1, has2, has3);
${transform2d(3, filterTransform, load, (y, x, value) => `out[${y * POINTS + x}u * p.n + i] = ${value};`)}`,
  }));
  gpu.with(PRODUCTS * n * 16, (filters) => {
    gpu.run(kernel, [w, filters], groupsOf(n), { inputs, outputs, outStride, inStride, vectors, n });
    body(filters);
  });
}
