// 3x3 convolutions by Winograd's algorithm (Lavin & Gray 2016): patches of 6x6 pixels, and filters, are transformed to 36
// points, multiplied there, and transformed back to 4x4 outputs. This takes a quarter of the definition's multiplications.
// wasm/kernels/winograd_transforms.ts has the same transforms, and says why these points are used.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import type { Job } from "./phases.ts";
import { plainRows, type Product } from "./product.ts";
import type { Dispatch } from "./source.ts";
import { packedColumns, type Tile } from "./tile.ts";
import { ceil, each, float, groupsOf, loadVector, repeat, storeVector, THREADS } from "./wgsl.ts";

/** The number of points along one side of a patch. */
const POINTS = 6;
/** The number of outputs along one side of a patch, and of all its points. */
export const OUTPUTS = 4, PRODUCTS = POINTS * POINTS;

/** The points are 0, +-P, +-Q and infinity. */
const P = Math.SQRT1_2, Q = Math.SQRT2, P2 = P * P, Q2 = Q * Q;

/** Returns sums of the given expressions, as text. */
type Transform = (x: readonly string[]) => string[];
const times = (factor: number, x: string) => `${float(factor)} * ${x}`;

/** B^T x: transforms six inputs to the points. */
const inputTransform: Transform = (x) => {
  const even = (s: number) => `(${x[4]} - ${times(s, x[2])})`;
  const odd = (p: number, s: number) => `${float(p)} * (${x[3]} - ${times(s, x[1])})`;
  const end = (i: number) => `${times(P2 * Q2, x[i])} - ${times(P2 + Q2, x[i + 2])} + ${x[i + 4]}`;
  const [e1, o1, e2, o2] = [even(Q2), odd(P, Q2), even(P2), odd(Q, P2)];
  return [end(0), `${e1} + ${o1}`, `${e1} - ${o1}`, `${e2} + ${o2}`, `${e2} - ${o2}`, end(1)];
};

/** G x: transforms three weights to the points, and divides by the denominators of the interpolation. */
const filterTransform: Transform = (x) => {
  const at = (p: number, norm: number) => {
    const even = `(${times(1 / norm, x[0])} + ${times(p * p / norm, x[2])})`, odd = times(p / norm, x[1]);
    return [`${even} + ${odd}`, `${even} - ${odd}`];
  };
  return [times(1 / (P2 * Q2), x[0]), ...at(P, 2 * P2 * (P2 - Q2)), ...at(Q, 2 * Q2 * (Q2 - P2)), x[2]];
};

/** A^T m: transforms six products to four outputs. */
const outputTransform: Transform = (m) => {
  const pair = (sign: "+" | "-", i: number) => {
    const [a, b] = [`(${m[1]} ${sign} ${m[2]})`, `(${m[3]} ${sign} ${m[4]})`];
    return `${times(P ** i, a)} + ${times(Q ** i, b)}`;
  };
  return [`${m[0]} + ${pair("+", 0)}`, pair("-", 1), pair("+", 2), `${m[5]} + ${pair("-", 3)}`];
};

/** Statements that transform a square of vectors, `load(y, x)`, down and across, and store the results. */
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

/** A job's patches, which are transformed, multiplied and transformed back strip by strip. */
export interface Strips {
  readonly job: Job;
  /** Patches down and across one picture, and in all pictures. */
  readonly down: number;
  readonly across: number;
  readonly patches: number;
  /** Patches per strip, rounded up to whole tiles. What is computed after the last patch is not read. */
  readonly strip: number;
}

const shapes = (...names: string[]) => Object.fromEntries(names.map((name) => [name, "u32"] as const));
const PLACE = shapes("first", "patches", "strip", "vectors", "down", "across", "height", "width");
/** Declares where the outputs of a thread's patch begin, and which vector of channels the thread computes. */
const places = `${each("p.strip * p.vectors")}
  let place = p.first + i / p.vectors;
  if (place >= p.patches) { return; }
  let vector = i % p.vectors;
  let image = place / (p.down * p.across);
  let top = (place / p.across % p.down) * ${OUTPUTS}u;
  let left = (place % p.across) * ${OUTPUTS}u;`;
/** The index of the thread's vector at a point. */
const point = (y: number, x: number) => `${y * POINTS + x}u * p.strip * p.vectors + i`;

/** Transforms the strip that begins with patch `first` to the points: out is [point, patch, input]. */
export function patchesToPoints({ job, ...place }: Strips, first: number, x: Slot, out: Slot): Dispatch {
  const { height, width, inputs, down, across } = job, vectors = ceil(inputs, 4);
  const load = (y: number, x: number) => {
    const has = `hasY${y} && hasX${x}`;
    return `select(vec4f(), vec4f(a[select(0u, (row${y} + x${x}) * p.vectors + vector, ${has})]), ${has})`;
  };
  return {
    name: "winograd patches",
    operands: [x, out],
    groups: groupsOf(place.strip * vectors),
    params: { ...place, first, vectors, height, width, padTop: -down.first, padLeft: -across.first },
    source: () => ({
      inputs: { a: "vec4f" },
      outputs: { out: "vec4f" },
      params: { ...PLACE, ...shapes("padTop", "padLeft") },
      threads: THREADS,
      // places above and left of the picture wrap around to huge numbers
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
    }),
  };
}

/**
 * The products at the points. The rows are a strip's patches at each point. Each point has filters of its own, which are
 * stored like a tap.
 */
export function pointsProduct({ job, strip }: Strips, tile: Tile, out: Slot): Product {
  const tap = "rowTile / p.tilesOfPoint";
  return {
    name: "winograd product",
    rows: PRODUCTS * strip,
    columns: ceil(job.outputs, 4) * 4,
    quads: ceil(job.inputs, 4),
    taps: 1,
    source: { ...plainRows("0u"), start: `${tap} * p.quads`, end: `(${tap} + 1u) * p.quads` },
    store: {
      row: "    let at = row * p.columns;",
      store: (acc, c) => storeVector("at", `column${c}`, "p.columns", true, acc),
    },
    others: [["out", "vec4f", out]],
    params: { tilesOfPoint: strip / tile.rows },
  };
}

/** Transforms the products m [point, patch, output] back to outputs, and adds bias and residual. */
export function pointsToOutputs(
  { job, ...place }: Strips,
  first: number,
  m: Slot,
  { bias, residual, out }: Calls["conv2d"],
): Dispatch {
  const { outHeight, outWidth, outputs } = job, vectors = ceil(outputs, 4);
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const added = Object.entries({ bias, residual }).flatMap(([name, slot]) => slot ? [{ name, slot }] : []);
  const names = added.map(({ name }) => name);
  const store = (y: number, x: number, value: string) => {
    const last = residual ? ` + ${loadVector("residual", "at + column", isVector)}` : "";
    return `if (top + ${y}u < p.height && left + ${x}u < p.width) {
    let at = ((image * p.height + top + ${y}u) * p.width + left + ${x}u) * p.channels;
    let value = ${value}${bias ? " + added" : ""}${last};
    ${storeVector("at", "column", "p.channels", isVector, "value")}
  }`;
  };
  return {
    name: ["winograd outputs", isVector ? "of vectors" : "", ...names].join(" "),
    operands: [m, ...added.map(({ slot }) => slot), out],
    groups: groupsOf(place.strip * vectors),
    params: { ...place, first, vectors, height: outHeight, width: outWidth, channels: outputs },
    source: () => ({
      inputs: { m: "vec4f", ...Object.fromEntries(names.map((name) => [name, type])) },
      outputs: { out: type },
      params: { ...PLACE, ...shapes("channels") },
      threads: THREADS,
      body: `${places}
  let column = vector * 4u;
${bias ? `  let added = ${loadVector("bias", "column", isVector)};` : ""}
${transform2d(POINTS, outputTransform, (y, x) => `m[${point(y, x)}]`, store)}`,
    }),
  };
}

/** The number of elements of the filters at the points. */
export function filtersLength({ inputs, outputs }: Job, tile: Tile): number {
  return PRODUCTS * ceil(inputs, 4) * 4 * packedColumns(outputs, tile);
}

/** Transforms filters to the points, in the layout that `tile` reads: out is [point, input, output]. */
export function filtersToPoints(job: Job, tile: Tile, weight: Slot, out: Slot): Dispatch {
  const { inputs, outputs, outStride, inStride, down, across } = job;
  const vectors = packedColumns(outputs, tile) / 4, n = ceil(inputs, 4) * 4 * vectors;
  /** The place of a weight. For the input gradient the weights are read in the reverse order. */
  const place = (y: number, x: number) =>
    (down.from + down.slope * y) * across.kernel + across.from + across.slope * x;
  const load = (y: number, x: number) => {
    const weight = (e: number) => `f32(w[at${e} + ${place(y, x)}u])`;
    return `select(vec4f(), vec4f(${[0, 1, 2, 3].map(weight).join(", ")}), isThere)`;
  };
  return {
    name: `winograd filters from ${place(0, 0)}`,
    operands: [weight, out],
    groups: groupsOf(n),
    params: { inputs, outputs, outStride, inStride, vectors, n },
    source: () => ({
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
    }),
  };
}
