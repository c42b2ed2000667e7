// Launches weight gradients: it cuts the pixels into parts, and computes them with tiles or with the thin kernel.
import type { Slot } from "../../buffer.ts";
import type { Calls, ConvSpec } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { isHalf } from "../kernels/source.ts";
import { DEPTH, matrixTiling } from "../kernels/subgroup_matrix.ts";
import {
  addGradParts,
  gradParts,
  gradShape,
  gradTileName,
  gradVectors,
  partElements,
} from "../kernels/weight_gradient.ts";
import type { GradTile } from "../kernels/weight_gradient_loops.ts";
import { thinGradParts } from "../kernels/weight_gradient_thin.ts";
import { ceil } from "../kernels/wgsl.ts";
import { wholeVectors } from "./factors.ts";

const MIDDLE: GradTile = { down: 16, across: 16, perThread: [1, 1], depth: 16 };
const HUGE: GradTile = { down: 32, across: 32, perThread: [2, 2], depth: 8 };
const LARGE: GradTile = { down: 16, across: 16, perThread: [2, 2], depth: 8 };
const SMALL: GradTile = { down: 8, across: 8, perThread: [1, 1], depth: 16 };
const NARROW: GradTile = { down: 64, across: 1, perThread: [1, 1], depth: 8 };

/** The wanted number of workgroups, and the least pixels of a part. */
const MANY = 1024, MANY_OF_SOFTWARE = 256, SHORTEST = 128;
/** The most bytes of all parts. */
const PARTS_BYTES = 64 * 2 ** 20;
/** The most pixels of a part; longer sums would lose digits. */
const LONGEST = 8192;
/** For the thin kernel: the most sums of a thread, the least vectors of input channels, and the most parts. */
const THIN_SUMS = 32, THIN_VECTORS = 8, THIN_PARTS = 128, THIN_PARTS_OF_SOFTWARE = 16;

export function conv2dWeightGrad(gpu: Gpu, { x, g, out, spec }: Calls["conv2dWeightGrad"]): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels } = spec;
  const pixels = batch * outHeight * outWidth, isThin = takesThin(spec);
  const parts = isThin ? thinPartsOf(gpu, spec) : ceil(pixels, partOf(gpu, spec));
  wholeVectors(gpu, x, batch * height * width, inChannels, (x) => {
    wholeVectors(gpu, g, pixels, outChannels, (g) => {
      gpu.with(parts * partElements(spec), (partial) => {
        if (isThin) gpu.run(thinGradParts(spec, parts, gpu.madd, x, g, partial));
        else tiledParts(gpu, spec, parts, x, g, partial);
        gpu.run(addGradParts(spec, parts, partial, out));
      });
    });
  });
}

function takesThin({ inChannels, outChannels, kernel: [kh, kw], stride, upsample }: ConvSpec): boolean {
  return outChannels <= 4 && kh * kw * outChannels <= THIN_SUMS && kw > 1 && stride === 1 && upsample === 1 &&
    inChannels >= 4 * THIN_VECTORS;
}

function thinPartsOf(gpu: Gpu, { batch, outHeight, outWidth }: ConvSpec): number {
  const lines = batch * outHeight, most = gpu.report.isSoftware ? THIN_PARTS_OF_SOFTWARE : THIN_PARTS;
  return ceil(lines, ceil(lines, Math.max(most, ceil(lines * outWidth, LONGEST))));
}

/** The number of pixels of a part. The shape alone decides, so that sums are the same with any tile. */
function partOf(gpu: Gpu, spec: ConvSpec): number {
  const pixels = spec.batch * spec.outHeight * spec.outWidth, [rows, columns] = gradVectors(spec);
  const wanted = Math.min(
    ceil(
      gpu.report.isSoftware ? MANY_OF_SOFTWARE : MANY,
      ceil(rows, MIDDLE.down) * ceil(columns, MIDDLE.across),
    ),
    ceil(pixels, SHORTEST),
    Math.floor(PARTS_BYTES / (4 * partElements(spec))),
  );
  return ceil(pixels, Math.max(1, wanted, ceil(pixels, LONGEST)));
}

/** Computes the parts with the tile that was the fastest so far. */
function tiledParts(gpu: Gpu, spec: ConvSpec, parts: number, x: Slot, g: Slot, partial: Slot): void {
  const shape = gradShape(spec, partOf(gpu, spec)), { rows, outputs, pixels } = shape;
  const choices = tilesFor(gpu, rows, outputs, parts, isHalf(x) || isHalf(g)).map((tile) => ({
    name: gradTileName(tile),
    trial: () => gradParts(spec, shape, tile, gpu.madd, x, g, partial),
  }));
  const types = [x, g].map((slot) => isHalf(slot) ? "f16" : "f32").join(" ");
  const question = `weightGrad ${[...Object.values(shape), spec.upsample]} ${types}`;
  gpu.run(choices[gpu.tuner.choose(question, 16 * pixels * rows * outputs, choices)].trial());
}

/** The tiles that may be the fastest, the most likely one first (see tiles.ts). Rows and columns are counted in vectors. */
function tilesFor(gpu: Gpu, rows: number, columns: number, parts: number, isF16: boolean): GradTile[] {
  const { matrix } = gpu;
  if (matrix && isF16 && Math.min(rows, columns) > SMALL.across) {
    const { side, threads } = matrixTiling(matrix, 4 * rows * parts, 4 * columns), vectors = side / 4;
    const perThread = [vectors * vectors / threads, 1] as const;
    return [{ down: vectors, across: vectors, perThread, depth: DEPTH, matrix }];
  }
  const direct = directTile(gpu, columns);
  const shared = columns === 1 ? NARROW : Math.min(rows, columns) <= SMALL.across ? SMALL : MIDDLE;
  if (gpu.report.isSoftware) return [direct, shared];
  return shared === MIDDLE ? [MIDDLE, LARGE, HUGE] : [shared];
}

function directTile(gpu: Gpu, columns: number): GradTile {
  const wide = columns > 2 ? 4 : columns, across = columns > 4 ? 16 : wide;
  const isQuad = gpu.hasQuads && across === 4 * wide;
  return { down: 16, across, perThread: [2, wide], depth: 0, isQuad };
}
