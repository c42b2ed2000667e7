// Launches group normalisation and its gradient: first sums over chunks of pixels, then their combination, then each element.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { applyNorm, chunkStats, combineStats, type Plan, planOf } from "../kernels/norm.ts";
import { chunkGradSums, combineGradSums, inputGrad, parameterGrads } from "../kernels/norm_grad.ts";

export function groupNorm(gpu: Gpu, call: Calls["groupNorm"]): void {
  const plan = planOf(gpu.team, call.spec);
  takeStats(gpu, plan, call.x, call.stats);
  gpu.run(applyNorm(plan, call));
}

export function groupNormStats(gpu: Gpu, { x, stats, spec }: Calls["groupNormStats"]): void {
  takeStats(gpu, planOf(gpu.team, spec), x, stats);
}

export function groupNormApply(gpu: Gpu, call: Calls["groupNormApply"]): void {
  gpu.run(applyNorm(planOf(gpu.team, call.spec), call));
}

function takeStats(gpu: Gpu, plan: Plan, x: Slot, stats: Slot): void {
  gpu.with(plan.batch * plan.chunks * 2 * plan.channels, (partial) => {
    gpu.run(chunkStats(plan, x, partial));
    gpu.run(combineStats(plan, partial, stats));
  });
}

export function groupNormGrad(gpu: Gpu, call: Calls["groupNormGrad"]): void {
  const plan = planOf(gpu.team, call.spec), { batch, channels, groups, chunks } = plan;
  gpu.with(batch * channels * 2, (sums) =>
    gpu.with(batch * groups * 2, (means) => {
      gpu.with(batch * chunks * channels * 2, (partial) => {
        gpu.run(chunkGradSums(plan, call, partial));
        gpu.run(combineGradSums(plan, call, partial, sums, means));
      });
      gpu.run(parameterGrads(plan, sums, call));
      gpu.run(inputGrad(plan, call, means));
    }));
}
