// One update of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) of one parameter, fused into a single pass over
// memory.
import { requireF16, type Tensor } from "../array.ts";
import type { AdamSpec } from "../backends/kernels.ts";
import {
  checkOptions,
  finite,
  fraction,
  needed,
  notNegative,
  positive,
  type Rules,
  whole,
} from "../check.ts";
import { checkTensor } from "../operands.ts";

const rules: Rules<AdamSpec> = {
  lr: needed(finite),
  beta1: needed(fraction),
  beta2: needed(fraction),
  eps: needed(notNegative),
  step: needed(whole(1)),
  decay: finite,
  lossScale: positive,
};

/**
 * Updates the parameter and its two moments in place, in torch's order of operations. All four tensors have the same size;
 * `spec.step` is 1 on the first call.
 * @throws if the sizes differ, a setting is not a number, or a loss scale is given on a device without f16
 */
export function adamStep(
  param: Tensor,
  grad: Tensor,
  expAvg: Tensor,
  expAvgSq: Tensor,
  spec: AdamSpec,
): void {
  checkOptions("adamStep", spec, rules);
  for (const t of [param, grad, expAvg, expAvgSq]) {
    checkTensor("adamStep", t);
    if (t.size !== param.size || !t.isPlain) {
      throw new Error(`adamStep: shape [${t.shape}] does not fit the parameter's [${param.shape}]`);
    }
  }
  if (spec.lossScale !== undefined) requireF16(param.backend);
  param.storage.version++;
  param.backend.run("adam", {
    param: param.slot,
    grad: grad.slot,
    expAvg: expAvg.slot,
    expAvgSq: expAvgSq.slot,
    spec,
  });
}
