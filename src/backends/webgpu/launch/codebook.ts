// Launches the search for the nearest code: the kernels of kernels/codebook.ts, with temporary memory.
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { bestOfAll, bestOfStretches, codeNorms, stretchesOf } from "../kernels/codebook.ts";
import { matrixWeights } from "../kernels/pack.ts";
import { packedColumns } from "../kernels/tile.ts";
import { ceil } from "../kernels/wgsl.ts";
import { packed, wholeVectors } from "./factors.ts";
import { tilesFor } from "./tiles.ts";

export function nearestCode(gpu: Gpu, call: Calls["nearestCode"]): void {
  const { z, codebook, count, codes, channels } = call;
  // with the largest tiles no workgroup memory would be left for the comparison
  const tile = tilesFor(gpu, count, codes, ceil(channels, 4), false).find(({ columns }) => columns <= 64)!;
  wholeVectors(gpu, z, count, channels, (rows) => {
    packed(gpu, codebook, matrixWeights(channels, codes, true), tile, 4, (book) => {
      gpu.with(packedColumns(codes, tile), (norms) => {
        gpu.run(codeNorms(call, tile, book, norms));
        gpu.with(count * stretchesOf(codes) * 2, (best) => {
          gpu.run(bestOfStretches(call, tile, gpu.madd, rows, book, norms, best));
          gpu.run(bestOfAll(call, best));
        });
      });
    });
  });
}
