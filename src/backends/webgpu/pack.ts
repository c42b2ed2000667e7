// The second factor of gemm.ts: weights as a product reads them.
import { type Buffer, type DType, itemBytes } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil, packedColumns, type Tile } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { repeat, THREADS, u32s } from "./wgsl.ts";

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
  /** Whether the inputs of all taps lie one behind the other, not each tap's in whole vectors. */
  readonly isDense?: boolean;
}

/** The weights that each tap adds up. */
function placesOf({ count, from, slope, reach, kernel }: Taps): number[][] {
  return Array.from({ length: count }, (_, tap) => {
    const first = from + slope * tap;
    return Array.from({ length: reach }, (_, i) => first + i).filter((k) => k >= 0 && k < kernel);
  });
}

/** Steps of depth, in whole vectors. */
function depthOf({ inputs, down, across, isDense }: Weights): number {
  const taps = down.count * across.count;
  return isDense ? ceil(taps * inputs, 4) * 4 : taps * ceil(inputs, 4) * 4;
}

export function packedBytes(weights: Weights, tile: Tile, dtype: DType): number {
  return depthOf(weights) * packedColumns(weights.outputs, tile) * itemBytes[dtype];
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
  const { inputs, outputs, outStride, inStride, down, across, isDense = false } = weights;
  const vectors = packedColumns(outputs, tile) / 4, perTap = isDense ? inputs : ceil(inputs, 4) * 4;
  const [ys, xs] = [placesOf(down), placesOf(across)];
  const taps = ys.flatMap((ys) => xs.map((xs) => ys.flatMap((y) => xs.map((x) => y * across.kernel + x))));
  const beyond = taps.length * perTap, n = perTap * vectors;
  const params = {
    n,
    vectors,
    inputs,
    outputs,
    outStride,
    inStride,
    perTap,
    beyond,
    depth: depthOf(weights),
    offset,
  };
  const sum = (e: number, places: readonly number[]) =>
    places.map((place) => `f32(w[at + ${e}u * p.outStride + ${place}u])`).join(" + ") || "0.0";
  const store = (tap: number) => {
    const value = `vec4f(${[0, 1, 2, 3].map((e) => sum(e, taps[tap])).join(", ")})`;
    return `  out[(${tap}u * p.perTap + input) * p.vectors + vector] = out_t(select(vec4f(), ${value}, has));`;
  };
  // a thread has all taps of its weights, which lie together
  const kernel = gpu.kernel(`pack ${taps.join(";")}${isDense ? " dense" : ""}`, () => ({
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
  }));
  gpu.with(packedBytes(weights, tile, dtype), (to) => {
    gpu.run(kernel, [w, to], groupsOf(n), params);
    body(to);
  }, dtype);
}
