// How a run updates weights: which parts learn at which rate, AdamW, clipping, and the average of the weights. All is off by
// default, as in taming.
import { callback, checkOptions, fraction, needed, notNegative, type Rules } from "../src/check.ts";
import { type AdamOptions, aPairOfBetas } from "./adam.ts";
import {
  aListOfParts,
  frozenParts,
  type PartName,
  partNames,
  type PartRates,
  ratesOfParts,
} from "./parts.ts";

/** How a `Trainer` updates weights. */
export interface UpdateOptions extends Pick<AdamOptions, "betas" | "rateFactor"> {
  /** AdamW's decay of the weights of convolutions; biases, norms and the codebook do not decay. Default 0: Adam. */
  readonly weightDecay?: number;
  /** The largest norm of all gradients of a network together (`clipGradients`). Default 0: no limit. */
  readonly clip?: number;
  /** The decay of an average of the weights (`WeightAverages`), between 0 and 1. Default 0: no average. */
  readonly ema?: number;
}

/** The rules of `UpdateOptions`. */
export const updateRules: Rules<UpdateOptions> = {
  betas: aPairOfBetas,
  rateFactor: callback,
  weightDecay: notNegative,
  clip: notNegative,
  ema: fraction,
};

/** The options of a run that concern its optimizers. */
export interface OptimizerOptions {
  /** The parts that learn; all others are frozen (`trainOnly`). */
  readonly train: readonly (PartName | "all")[];
  /** The learning rates of parts that have their own. They rise and fall as that of the run does. */
  readonly rates: PartRates;
  /** The decay rates of Adam's two averages. */
  readonly betas: readonly [number, number];
  /** AdamW's decay of the weights of convolutions; 0 is Adam. */
  readonly weightDecay: number;
  /** The largest norm of all gradients of a network together; 0 for no limit. */
  readonly clip: number;
  /** The decay of the average of the weights, which is measured, drawn and saved beside them; 0 for none. */
  readonly ema: number;
}

/** taming's optimizers: two of Adam, for all parts. */
export const defaultOptimizer: OptimizerOptions = {
  train: ["all"],
  rates: {},
  betas: [0.5, 0.9],
  weightDecay: 0,
  clip: 0,
  ema: 0,
};

const rules: Rules<OptimizerOptions> = {
  train: needed(aListOfParts),
  rates: needed(ratesOfParts),
  betas: needed(aPairOfBetas),
  weightDecay: needed(notNegative),
  clip: needed(notNegative),
  ema: needed(fraction),
};

/** The options that may change when a run is resumed. */
export type OptimizerChanges = Partial<Pick<OptimizerOptions, "rates" | "weightDecay" | "clip">>;

/** Their rules. */
export const optimizerChangeRules: Rules<OptimizerChanges> = {
  rates: ratesOfParts,
  weightDecay: notNegative,
  clip: notNegative,
};

/** @throws TypeError naming the first option that is wrong; Error if a part has a rate and is frozen */
export function checkOptimizer(who: string, options: OptimizerOptions): void {
  checkOptions(`${who}: optimizer`, options, rules);
  const learns = (part: PartName) => !frozenParts(options.train).includes(part);
  const isStill = (part: PartName) =>
    part === "attention"
      ? !learns("encoder") && !learns("decoder") && !options.train.includes(part)
      : !learns(part);
  const frozen = partNames.find((part) => options.rates[part] !== undefined && isStill(part));
  if (frozen) {
    throw new Error(`${who}: optimizer: ${frozen} has a learning rate but is not among the parts that learn`);
  }
  const { ema, train } = options;
  if (ema > 0 && train.every((part) => part === "discriminator")) {
    throw new Error(
      `${who}: optimizer: ema is ${ema}, but the autoencoder does not learn, so it has no average`,
    );
  }
}
