// The options of how a codebook is trained. None of them changes what a file needs to be decoded: that is in the model's
// config.
import { type QuantizerPass, tamingPass } from "../../nn/quantizers/quantizer.ts";
import {
  checkOptions,
  flag,
  fraction,
  needed,
  notNegative,
  oneOf,
  positive,
  rule,
  type Rules,
  whole,
} from "../../src/check.ts";

/** What moves the codes, and how gradients reach the encoder through them. */
export interface CodebookTraining
  extends Pick<QuantizerPass, "gradient" | "entropyWeight" | "entropyTemperature"> {
  /**
   * What moves the codes. `adam`: the codebook term of the loss, as in taming. `ema`: each code is a running average of its
   * vectors (ema.ts). `simvq`: one linear map of all codes, which Adam learns (simvq.ts). The files are the same in all cases.
   */
  readonly learning: "adam" | "ema" | "simvq";
  /** The decay of the running averages of `ema`. */
  readonly emaDecay: number;
}

/** How a run trains its codebook. */
export interface CodebookOptions extends CodebookTraining {
  /** Whether the codebook of a checkpoint begins anew with k-means centres. That of a new model always does. */
  readonly kmeans: boolean;
  /** The number of steps after which dead codes move to vectors of the current pictures; 0 for never. */
  readonly restartEvery: number;
  /**
   * A code is dead if it was chosen at most this many times as often as the average code since the last restart; 0: if it was
   * never chosen.
   */
  readonly restartBelow: number;
}

/** taming's training of the codes. */
export const defaultCodebook: CodebookOptions = {
  learning: "adam",
  emaDecay: 0.99,
  gradient: tamingPass.gradient,
  entropyWeight: tamingPass.entropyWeight,
  entropyTemperature: tamingPass.entropyTemperature,
  kmeans: false,
  restartEvery: 0,
  restartBelow: 0,
};

const trainingRules: Rules<CodebookTraining> = {
  learning: oneOf("adam", "ema", "simvq"),
  emaDecay: fraction,
  gradient: oneOf("straight-through", "rotation"),
  entropyWeight: notNegative,
  entropyTemperature: positive,
};

const rules: Rules<CodebookOptions> = {
  ...trainingRules,
  kmeans: flag,
  restartEvery: whole(0),
  restartBelow: rule("a number from 0 to below 1", fraction.accepts),
};
const all = Object.fromEntries(
  Object.entries(rules).map(([name, rule]) => [name, needed(rule)]),
) as unknown as Rules<CodebookOptions>;

/** @throws naming the first value that is missing or wrong, or options that exclude each other */
export function checkCodebookOptions(who: string, options: CodebookOptions): void {
  checkOptions(`${who}: codebook`, options, all);
  const { learning, restartEvery } = options;
  if (learning === "simvq" && restartEvery > 0) {
    throw new Error(
      `${who}: codebook: restartEvery is ${restartEvery}, but with simvq all codes move together and none can be moved ` +
        "alone: it must be 0",
    );
  }
}

/** Completes options by taming's. @throws naming the first value that is wrong, or a name that is misspelt */
export function codebookOf(who: string, options: Partial<CodebookTraining>): CodebookTraining {
  checkOptions(`${who}: codebook`, options, trainingRules);
  return { ...defaultCodebook, ...options };
}

/** The part of a run's options that the trainer needs. */
export function trainingOf(options: CodebookOptions): CodebookTraining {
  const { kmeans: _kmeans, restartEvery: _every, restartBelow: _below, ...training } = options;
  return training;
}

/** The training pass of the quantizer that belongs to these options. */
export function passOf(
  { gradient, entropyWeight, entropyTemperature, learning }: CodebookTraining,
): QuantizerPass {
  return { gradient, entropyWeight, entropyTemperature, movesCodes: learning !== "ema" };
}
