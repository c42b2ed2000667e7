// Packs weights, the second factor of a product, in the layout that tiles read.
import type { Slot } from "../../buffer.ts";
import { type Dispatch, u32s } from "./source.ts";
import { packedColumns, type Tile } from "./tile.ts";
import { ceil, each, groupsOf, repeat, THREADS } from "./wgsl.ts";

/** One side of a filter. Tap t of `count` is the sum of `reach` weights, beginning with number from + slope t. */
export interface Taps {
  readonly count: number;
  readonly from: number;
  readonly slope: number;
  readonly reach: number;
  /** The number of weights; sums leave out numbers beyond it. */
  readonly kernel: number;
}

const ONE_TAP: Taps = { count: 1, from: 0, slope: 1, reach: 1, kernel: 1 };

/** The filters of a product. A weight is at output * outStride + input * inStride + y * width + x. */
export interface Weights {
  readonly inputs: number;
  readonly outputs: number;
  readonly outStride: number;
  readonly inStride: number;
  readonly down: Taps;
  readonly across: Taps;
  /** Whether the inputs of all taps follow each other without gaps. If not, each tap's inputs begin with a new vector. */
  readonly isDense?: boolean;
}

/** A matrix [inputs, outputs], or [outputs, inputs] if it is transposed. */
export function matrixWeights(inputs: number, outputs: number, isTransposed: boolean): Weights {
  const [outStride, inStride] = isTransposed ? [inputs, 1] : [1, outputs];
  return { inputs, outputs, outStride, inStride, down: ONE_TAP, across: ONE_TAP };
}

/** The weights that each tap adds up. */
function placesOf({ count, from, slope, reach, kernel }: Taps): number[][] {
  return Array.from({ length: count }, (_, tap) => {
    const first = from + slope * tap;
    return Array.from({ length: reach }, (_, i) => first + i).filter((k) => k >= 0 && k < kernel);
  });
}

/** The depth of the product, rounded up to whole vectors. */
function depthOf({ inputs, down, across, isDense }: Weights): number {
  const taps = down.count * across.count;
  return isDense ? ceil(taps * inputs, 4) * 4 : taps * ceil(inputs, 4) * 4;
}

/** The number of elements of the packed weights. */
export function packedLength(weights: Weights, tile: Tile): number {
  return depthOf(weights) * packedColumns(weights.outputs, tile);
}

/** Packs weights as [tap, input, output], padded with zeros. */
export function pack(w: Slot, weights: Weights, tile: Tile, out: Slot): Dispatch {
  const { inputs, outputs, outStride, inStride, down, across, isDense = false } = weights;
  const vectors = packedColumns(outputs, tile) / 4, perTap = isDense ? inputs : ceil(inputs, 4) * 4;
  const [ys, xs] = [placesOf(down), placesOf(across)];
  const taps = ys.flatMap((ys) => xs.map((xs) => ys.flatMap((y) => xs.map((x) => y * across.kernel + x))));
  const n = perTap * vectors;
  const params = {
    n,
    vectors,
    inputs,
    outputs,
    outStride,
    inStride,
    perTap,
    beyond: taps.length * perTap,
    depth: depthOf(weights),
    offset: w.offset,
  };
  const sum = (e: number, places: readonly number[]) =>
    places.map((place) => `f32(w[at + ${e}u * p.outStride + ${place}u])`).join(" + ") || "0.0";
  const store = (tap: number) => {
    const value = `vec4f(${[0, 1, 2, 3].map((e) => sum(e, taps[tap])).join(", ")})`;
    return `  out[(${tap}u * p.perTap + input) * p.vectors + vector] = out_t(select(vec4f(), ${value}, has));`;
  };
  return {
    name: `pack ${taps.join(";")}${isDense ? " dense" : ""}`,
    operands: [w, out],
    groups: groupsOf(n),
    params,
    // a thread packs all taps of a weight, because these are neighbours in memory
    source: () => ({
      inputs: { w: "f32" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: THREADS,
      body: `${each("p.n")}
  let vector = i % p.vectors;
  let input = i / p.vectors;
  let at = p.offset + vector * 4u * p.outStride + input * p.inStride;
  let has = vec4<bool>(input < p.inputs) & (vec4u(vector * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.outputs));
${repeat(taps.length, store)}
  if (input == 0u) {
    for (var row = p.beyond; row < p.depth; row++) { out[row * p.vectors + vector] = out_t(vec4f()); }
  }`,
    }),
  };
}
