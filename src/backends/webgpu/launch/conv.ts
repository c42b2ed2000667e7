// Launches convolutions and their input gradients: one product for each phase, by the definition or by Winograd's algorithm.
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { convProduct, patches, patchQuads } from "../kernels/conv.ts";
import { fill } from "../kernels/elementwise.ts";
import { forwardJobs, gradJobs, isPatched, type Job, tapsOf } from "../kernels/phases.ts";
import { isHalf } from "../kernels/source.ts";
import { ceil } from "../kernels/wgsl.ts";
import { wholeVectors } from "./factors.ts";
import { multiply } from "./product.ts";
import { takesMatrices } from "./tiles.ts";
import { takesWinograd, winograd } from "./winograd.ts";

export function conv2d(gpu: Gpu, call: Calls["conv2d"]): void {
  for (const job of forwardJobs(call.spec)) convolve(gpu, job, call, false);
}

export function conv2dInputGrad(gpu: Gpu, { g, weight, out, spec }: Calls["conv2dInputGrad"]): void {
  const { inChannels, outChannels } = spec, jobs = gradJobs(spec);
  // if the input is f16 and matrices compute its gradient, the f32 factors are rounded to f16
  const isRounded = gpu.matrix !== null && isHalf(out) && takesMatrices(inChannels, ceil(outChannels, 4));
  // pixels that no tap reaches get 0
  if (jobs.some((job) => tapsOf(job) === 0)) gpu.run(fill({ out, value: 0 }));
  for (const job of jobs) {
    convolve(gpu, job, { x: g, weight, bias: null, residual: null, out, spec }, isRounded);
  }
}

/** @param isRounded whether f32 factors are rounded to f16 */
function convolve(gpu: Gpu, job: Job, call: Calls["conv2d"], isRounded: boolean): void {
  const { batch, height, width, inputs, down, across } = job, { x, weight } = call;
  if (tapsOf(job) === 0) return;
  const itemBytes = isRounded ? 2 : x.itemBytes, product = convProduct(job, call);
  if (isPatched(job)) {
    gpu.with(batch * down.size * across.size * patchQuads(job) * 4, (whole) => {
      gpu.run(patches(job, x, whole));
      multiply(gpu, whole, weight, { ...job, isDense: true }, product, itemBytes);
    }, x.itemBytes);
  } else {
    wholeVectors(gpu, x, batch * height * width, inputs, (whole) => {
      if (takesWinograd(gpu, job)) winograd(gpu, job, { ...call, x: whole });
      else multiply(gpu, whole, weight, job, product, itemBytes);
    });
  }
}
