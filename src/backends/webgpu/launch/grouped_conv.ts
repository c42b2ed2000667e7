// Convolutions in groups: the packing of weights around them, and how the pixels of a weight gradient are cut.
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

/** Sums wanted over all parts of a weight gradient, elements of all parts at most, and pixels of a part at least and most. */
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
  // by the shape alone, so that sums are the same whatever the GPU
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
