// The optimizers of the two networks, and the update of their weights.
import type { VQGAN } from "../nn/vqgan.ts";
import { check, type Rule, rule } from "../src/check.ts";
import { Adam } from "./adam.ts";
import type { UpdateOptions } from "./optimizer_options.ts";
import { checkModel } from "./step_checks.ts";

/** The two networks that are trained. The generator is the autoencoder. */
export type Network = "generator" | "discriminator";

/** An optimizer for each network: the generator's first, as in taming's checkpoints. */
export type Optimizers = Readonly<Record<Network, Adam>>;

const anAdam: Rule = rule("an Adam, such as optimizers.generator", (value) => value instanceof Adam);

/** @throws TypeError if this is not an optimizer */
export function checkAdam(who: string, optimizer: Adam): void {
  check(who, "the optimizer", optimizer, anAdam);
}

/**
 * Makes an optimizer for each network with the same learning rate. Parameters without a gradient are not updated. With weight
 * decay only the weights of convolutions decay: biases and norms have few numbers, and codes should lie where vectors are.
 */
export function makeOptimizers(
  model: VQGAN,
  lr: number,
  { betas, weightDecay, rateFactor }: Pick<UpdateOptions, "betas" | "weightDecay" | "rateFactor"> = {},
): Optimizers {
  checkModel("makeOptimizers", model);
  const decays: (key: string, parameter: { readonly ndim: number }) => boolean = (_, { ndim }) => ndim === 4;
  const options = { lr, betas, weightDecay, rateFactor, decays };
  return {
    generator: new Adam(model.generatorParameters(), options),
    discriminator: new Adam(model.discriminatorParameters(), options),
  };
}

/** Updates the parameters of a network by their gradients, then frees the gradients. */
export function applyGradients(optimizer: Adam): void {
  checkAdam("applyGradients", optimizer);
  optimizer.step();
  optimizer.zeroGrad();
}
