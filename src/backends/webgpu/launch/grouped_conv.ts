// Launches convolutions in groups: it packs their weights, and cuts the pixels of a weight gradient into parts.
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { copy } from "../kernels/copy.ts";
import {
  groupedConv2d as forward,
  groupedConv2dInputGrad as inputGrad,
  groupedGradParts,
  packedBackward,
  packedForward,
  unpacked,
} from "../kernels/grouped_conv.ts";
import { ceil } from "../kernels/wgsl.ts";
import { sumColumns } from "./reduce.ts";

/** For weight gradients: the wanted sums in all parts, the most elements in all parts, and the least and most pixels of a part. */
const MANY = 2 ** 17, ELEMENTS = 2 ** 24, SHORTEST = 64, LONGEST = 8192;

export function groupedConv2d(gpu: Gpu, call: Calls["groupedConv2d"]): void {
  const { weight, spec } = call;
  gpu.with(weight.length, (packed) => {
    gpu.run(copy(packedForward(weight, packed, spec)));
    gpu.run(forward(call, packed));
  });
}

export function groupedConv2dInputGrad(gpu: Gpu, call: Calls["groupedConv2dInputGrad"]): void {
  const { weight, spec } = call;
  gpu.with(weight.length, (packed) => {
    gpu.run(copy(packedBackward(weight, packed, spec)));
    gpu.run(inputGrad(call, packed));
  });
}

export function groupedConv2dWeightGrad(gpu: Gpu, call: Calls["groupedConv2dWeightGrad"]): void {
  const { out, spec } = call, { length } = out;
  const pixels = spec.batch * spec.outHeight * spec.outWidth;
  // the shape alone decides, so that sums are the same on every GPU
  const wanted = Math.min(ceil(MANY, length), ceil(pixels, SHORTEST), Math.floor(ELEMENTS / length));
  const parts = Math.max(wanted, ceil(pixels, LONGEST));
  gpu.with(length, (sums) => {
    gpu.with(parts * length, (partial) => {
      gpu.run(groupedGradParts(call, parts, partial));
      sumColumns(gpu, { x: partial, out: sums, rows: parts, columns: length });
    });
    gpu.run(copy(unpacked(sums, out, spec)));
  });
}
