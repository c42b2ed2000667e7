// Launches 3x3 convolutions by Winograd's algorithm: it decides when to use it, and cuts the work into strips.
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import type { Job } from "../kernels/phases.ts";
import { productBy } from "../kernels/product.ts";
import { ceil } from "../kernels/wgsl.ts";
import {
  filtersLength,
  filtersToPoints,
  OUTPUTS,
  patchesToPoints,
  pointsProduct,
  pointsToOutputs,
  PRODUCTS,
} from "../kernels/winograd.ts";
import { tilesFor } from "./tiles.ts";

/** Bytes of a strip's patches and products together, and the most bytes of filters. */
const STRIP_BYTES = 32 * 2 ** 20, FILTER_BYTES = 64 * 2 ** 20;
/** With fewer input or output channels, the transforms cost about as much as they save. */
const FEWEST = 16;
/**
 * With fewer pixels the transforms of the filters cost more than they save. No strip of a large picture is so small, so
 * strips give the same bits as the whole picture.
 */
const SMALL = 64;

export function takesWinograd(gpu: Gpu, job: Job): boolean {
  const { batch, outHeight, outWidth, inputs, outputs, down, across } = job;
  return !gpu.exact && Math.min(inputs, outputs) >= FEWEST && batch * outHeight * outWidth > SMALL &&
    PRODUCTS * inputs * outputs * 4 <= FILTER_BYTES &&
    [down, across].every(({ kernel, period, step }) => kernel === 3 && period === 1 && step === 1);
}

/** out = bias + residual + the convolution of x, whose pixels are whole vectors. */
export function winograd(gpu: Gpu, job: Job, call: Calls["conv2d"]): void {
  const { batch, outHeight, outWidth, inputs, outputs } = job;
  const quads = ceil(inputs, 4), vectors = ceil(outputs, 4);
  const down = ceil(outHeight, OUTPUTS), across = ceil(outWidth, OUTPUTS), patches = batch * down * across;
  const share = ceil(patches, ceil(patches * PRODUCTS * (quads + vectors) * 16, STRIP_BYTES));
  const [tile] = tilesFor(gpu, share, outputs, quads, false);
  const strip = ceil(share, tile.rows) * tile.rows, strips = { job, down, across, patches, strip };
  gpu.with(filtersLength(job, tile), (filters) => {
    gpu.run(filtersToPoints(job, tile, call.weight, filters));
    gpu.with(PRODUCTS * strip * quads * 4, (a) => {
      gpu.with(PRODUCTS * strip * vectors * 4, (m) => {
        const product = productBy(tile, pointsProduct(strips, tile, m), gpu.madd, a, filters);
        for (let first = 0; first < patches; first += strip) {
          gpu.run(patchesToPoints(strips, first, call.x, a));
          gpu.run(product);
          gpu.run(pointsToOutputs(strips, first, m, call));
        }
      });
    });
  });
}
