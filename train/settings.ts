// All settings of a run in one record. It is written to config.json and into every checkpoint, so that resuming needs
// nothing but the checkpoint.
import type { VQModelConfig } from "../data/formats/config.ts";
import type { Precision } from "../nn/index.ts";
import {
  checkOptions,
  checkValues,
  flag,
  fraction,
  needed,
  oneOf,
  positive,
  type Rule,
  rule,
  type Rules,
  text,
  texts,
  whole,
} from "../src/check.ts";

/** What may be chosen when a run begins. */
export interface RunOptions {
  /** Folders, globs, .txt lists or pictures to learn from. */
  readonly data: readonly string[];
  /** Steps of the whole run. */
  readonly steps: number;
  /** Pictures at a time. */
  readonly batch: number;
  /** Batches whose gradients are averaged in one step. */
  readonly accumulate: number;
  /** Side of the square pictures. */
  readonly size: number;
  /** Decides the order of the pictures, the crops and the initial weights: a whole number >= 0. */
  readonly seed: number;
  /** Pictures to measure on: a source as for `data`, or the fraction of `data` to keep back; 0 for none. */
  readonly val: string | number;
  /** Which square is cut from a picture. */
  readonly crop: "center" | "random";
  /** Mirror half of the pictures. */
  readonly flip: boolean;
  /** Learning rate of both optimizers. */
  readonly lr: number;
  /** Steps over which the learning rate rises from 0. */
  readonly warmup: number;
  /** What the learning rate does after that: stay, or fall to 0 along half a cosine. */
  readonly decay: "constant" | "cosine";
  /** f16 needs a GPU that has it; see `setPrecision`. */
  readonly precision: Precision;
  /** Whether the discriminator learns from the autoencoder that has just learnt, as in taming; see `TrainerOptions`. */
  readonly tamingExact: boolean;
  /** Whether LPIPS has dropout, as taming's had by accident. */
  readonly lpipsDropout: boolean;
  /** Steps after which codes that were never chosen move to vectors of the current pictures; 0 for never. */
  readonly restartDeadCodes: number;
  /** Steps between two lines of metrics.jsonl. */
  readonly logEvery: number;
  /** Steps between two sheets of samples. */
  readonly imageEvery: number;
  /** Steps between two measurements on the validation pictures. */
  readonly valEvery: number;
  /** Steps between two checkpoints. */
  readonly saveEvery: number;
  /** Last part of the run folder's name. */
  readonly name: string;
}

/** What a run was begun with, as its checkpoints keep it. */
export interface RunSettings extends RunOptions {
  /** The checkpoint that the run began with; null when it began from scratch. */
  readonly from: string | null;
  /** What the model is made of. */
  readonly model: VQModelConfig;
}

/** Options that suit most runs; what depends on the pictures is left to the caller. */
export const defaultOptions: Omit<RunOptions, "data" | "size" | "lr" | "name"> = {
  steps: 1000,
  batch: 1,
  accumulate: 1,
  seed: 0,
  val: 0,
  crop: "center",
  flip: false,
  warmup: 0,
  decay: "constant",
  precision: "f32",
  tamingExact: false,
  lpipsDropout: false,
  restartDeadCodes: 0,
  logEvery: 10,
  imageEvery: 250,
  valEvery: 500,
  saveEvery: 500,
};

/** taming's base learning rate, which it multiplies by batch size and accumulation. */
export const baseLearningRate = 4.5e-6;

const rules: Rules<RunOptions> = {
  data: needed(texts),
  steps: needed(whole(1)),
  batch: needed(whole(1)),
  accumulate: needed(whole(1)),
  size: needed(whole(1)),
  seed: needed(whole(0)),
  val: needed(
    rule(
      "a folder or a fraction from 0 to below 1",
      (val) => typeof val === "string" || fraction.accepts(val),
    ),
  ),
  crop: oneOf("center", "random"),
  flip: flag,
  lr: needed(positive),
  warmup: needed(whole(0)),
  decay: needed(oneOf("constant", "cosine")),
  precision: oneOf("f32", "f16"),
  tamingExact: flag,
  lpipsDropout: flag,
  restartDeadCodes: needed(whole(0)),
  logEvery: needed(whole(1)),
  imageEvery: needed(whole(1)),
  valEvery: needed(whole(1)),
  saveEvery: needed(whole(1)),
  name: needed(text),
};

/** The rules of the options that may change when a run is resumed. */
export function rulesOf(...names: readonly (keyof RunOptions)[]): Record<string, Rule> {
  return Object.fromEntries(names.map((name) => [name, { ...rules[name], isNeeded: false }]));
}

/**
 * Checks the options of a run that is to begin.
 * @throws an error that names the first value that cannot be used, and what it may be; or a name that is none
 */
export function checkNewOptions(options: RunOptions): void {
  checkOptions("beginRun", options, rules);
  checkData("beginRun", options);
}

/** Checks settings from a checkpoint, which have other fields beside. @throws as `checkNewOptions` does */
export function checkSettings(who: string, settings: RunSettings): void {
  checkValues<RunOptions>(who, settings, rules);
  checkData(who, settings);
}

function checkData(who: string, { data }: RunOptions): void {
  if (data.length > 0) return;
  throw new Error(`${who}: data names no pictures: give a folder, a glob or a list`);
}
