// The checks of what a training step is called with.
import type { VQLPIPSWithDiscriminator } from "../nn/vq_lpips_with_discriminator.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { check, isList, type Rule, rule, shown } from "../src/check.ts";
import { Random, type Tensor } from "../src/index.ts";
import { checkTensor } from "../src/operands.ts";

/** The rule for an option that is a random number generator. */
export const aRandom: Rule = rule("a Random", (value) => value instanceof Random);

const aModel: Rule = rule("a VQGAN", (value) => value instanceof VQGAN);

/** @throws TypeError if this is not a model */
export function checkModel(who: string, model: VQGAN): void {
  check(who, "the model", model, aModel);
}

/** @throws TypeError if this is not a list of at least one batch */
export function checkBatches(who: string, batches: readonly Tensor[]): void {
  if (!isList(batches) || batches.length === 0) {
    throw new TypeError(
      `${who}: the batches are ${shown(batches)}, expected a list of tensors, such as [images]`,
    );
  }
  for (const images of batches) checkTensor(who, images);
}

/** @throws if the model was built without its losses */
export function lossOf(model: VQGAN): VQLPIPSWithDiscriminator {
  if (model.loss) return model.loss;
  throw new Error(
    "the model has no discriminator: build or load it with { withLoss: true } to train or validate",
  );
}
