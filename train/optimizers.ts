// The optimizers of the two networks, and the update of their weights.
import type { VQGAN } from "../nn/vqgan.ts";
import { check, type Rule, rule } from "../src/check.ts";
import { Adam } from "./adam.ts";
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

/** Makes an optimizer for each network with the same learning rate. Parameters without a gradient are not updated. */
export function makeOptimizers(model: VQGAN, lr: number): Optimizers {
  checkModel("makeOptimizers", model);
  return {
    generator: new Adam(model.generatorParameters(), { lr }),
    discriminator: new Adam(model.discriminatorParameters(), { lr }),
  };
}

/** Updates the parameters of a network by their gradients, then frees the gradients. */
export function applyGradients(optimizer: Adam): void {
  checkAdam("applyGradients", optimizer);
  optimizer.step();
  optimizer.zeroGrad();
}
