// The second factor of gemm.ts: weights as a product reads them, and the choice of the tile, which decides how they lie.
import { type Buffer, type DType, itemBytes } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil, packedColumns, type Tile, tilesFor, tilesOf } from "./gemm.ts";
import { dtypeOf, type Gpu, type Kernel, ofGpu } from "./gpu.ts";
import type { Trial } from "./tune.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

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
  const { inputs, outputs, outStride, inStride, down, across, isDense } = weights;
  const vectors = packedColumns(outputs, tile) / 4, perTap = isDense ? inputs : ceil(inputs, 4) * 4;
  const taps = placesOf(down).flatMap((ys) =>
    placesOf(across).map((xs) => ys.flatMap((y) => xs.map((x) => y * across.kernel + x)))
  );
  const number = (e: number, places: readonly number[]) => {
    const sum = places.map((place) => `f32(w[at + ${e * outStride + place}u])`).join(" + ") || "0.0";
    const limits = [
      ...(perTap > inputs ? [`input < ${inputs}u`] : []),
      ...(vectors * 4 > outputs ? [`vector * 4u + ${e}u < ${outputs}u`] : []),
    ];
    return limits.length > 0 ? `select(0.0, ${sum}, ${limits.join(" && ")})` : sum;
  };
  const store = (row: string, value: string) => `  out[(${row}) * ${vectors}u + vector] = out_t(${value});`;
  const beyond = taps.length * perTap;
  const kernel = gpu.kernel(`pack ${JSON.stringify(weights)} ${vectors}`, () => ({
    inputs: { w: "f32" },
    outputs: { out: "vec4f" },
    params: { start: "u32" },
    threads: THREADS,
    body: `${each(`${perTap * vectors}u`)}
  let vector = ${mod("i", vectors)};
  let input = ${div("i", vectors)};
  let at = p.start + vector * ${4 * outStride}u + input * ${inStride}u;
${
      repeat(taps.length, (tap) =>
        store(
          `${tap * perTap}u + input`,
          `vec4f(${[0, 1, 2, 3].map((e) => number(e, taps[tap])).join(", ")})`,
        ))
    }
  if (input == 0u) {
${repeat(depthOf(weights) - beyond, (row) => store(`${beyond + row}u`, "vec4f()"))}
  }`,
  }));
  gpu.with(packedBytes(weights, tile, dtype), (to) => {
    gpu.run(kernel, [w, to], groupsOf(perTap * vectors), [offset]);
    body(to);
  }, dtype);
}
