// All settings of a run in one record. It is written to config.json and into every checkpoint, so that a checkpoint is
// enough to resume.
import type { VQModelConfig } from "../../data/formats/config.ts";
import type { Resize } from "../../data/index.ts";
import { type Augment, checkAugment } from "../../data/pictures/augment.ts";
import { checkGan, defaultGan, type GanOptions } from "../gan/options.ts";
import { aResize } from "../../data/pictures/source.ts";
import type { Precision } from "../../nn/index.ts";
import {
  check,
  checkOptions,
  checkValues,
  flag,
  fraction,
  needed,
  notNegative,
  object,
  oneOf,
  orNull,
  positive,
  type Rule,
  rule,
  type Rules,
  texts,
  whole,
} from "../../src/check.ts";
import { checkReport, defaultReport, type ReportOptions } from "../report/options.ts";
import { checkStopRule, type StopRule } from "./stopping.ts";
import { checkOptimizer, defaultOptimizer, type OptimizerOptions } from "../optimizer_options.ts";
import { checkCodebookOptions, type CodebookOptions, defaultCodebook } from "../codebook/options.ts";

/** The options of a new run. */
export interface RunOptions {
  /** Folders, globs, .txt lists or pictures to train on. */
  readonly data: readonly string[];
  /** The number of steps of the whole run. */
  readonly steps: number;
  /** The number of pictures per batch. */
  readonly batch: number;
  /** The number of batches whose gradients are averaged in one step. */
  readonly accumulate: number;
  /** The side of the square pictures in pixels. */
  readonly size: number;
  /** The seed of the order of the pictures, the crops and the initial weights: a whole number >= 0. */
  readonly seed: number;
  /**
   * Pictures for validation: a source as for `data`, or the fraction of `data` to hold out; 0 for none. null holds out a tenth,
   * but at most 24 pictures, and none of fewer than 5.
   */
  readonly val: string | number | null;
  /** Which square is cut from a picture. */
  readonly crop: "center" | "random";
  /** Whether to mirror each picture with probability 1/2. */
  readonly flip: boolean;
  /** Random changes of colours, backgrounds and sizes; null for none. Measurements are made without them. */
  readonly augment: Augment | null;
  /** How pictures are decoded and shrunk; see `ReadOptions`. */
  readonly resize: Resize;
  /** The learning rate of both optimizers. */
  readonly lr: number;
  /** The number of steps over which the learning rate rises from 0. */
  readonly warmup: number;
  /** How the learning rate changes after that: it stays, or falls to `lrFloor` along half a cosine or in a line. */
  readonly decay: "constant" | "cosine" | "linear";
  /** Where the fall ends. */
  readonly lrFloor: number;
  /** Which parts learn and at which rate, AdamW, and clipping. */
  readonly optimizer: OptimizerOptions;
  /** The weight of the identity loss (`IdentityLoss`); 0 for none. It needs the package of the face network. */
  readonly identity: number;
  /** The type of the activations. f16 needs a GPU that supports it; see `setPrecision`. */
  readonly precision: Precision;
  /**
   * Whether the discriminator sees reconstructions made after the autoencoder's update, as in taming; see
   * `TrainerOptions`.
   */
  readonly tamingExact: boolean;
  /** Whether LPIPS uses dropout, which taming's did by accident. */
  readonly lpipsDropout: boolean;
  /** When the discriminator starts, and how the GAN is balanced. */
  readonly gan: GanOptions;
  /** How the codebook is trained. */
  readonly codebook: CodebookOptions;
  /** The number of steps between two lines of metrics.jsonl. */
  readonly logEvery: number;
  /** The number of steps between two sheets of samples. */
  readonly imageEvery: number;
  /** The number of steps between two measurements. */
  readonly valEvery: number;
  /** The number of steps between two checkpoints. */
  readonly saveEvery: number;
  /** What is written for other programs that show runs. */
  readonly report: ReportOptions;
  /** The most minutes between two checkpoints; 0 for any number. */
  readonly saveMinutes: number;
  /** How many of the latest checkpoints stay, beside the best one; 0 for the last one alone. */
  readonly keep: number;
  /** Ends the run when a metric no longer gets better; null for all steps. */
  readonly stopWhen: StopRule | null;
  /** The last part of the run folder's name, without slashes. */
  readonly name: string;
}

/** The settings of a run, as its checkpoints store them. */
export interface RunSettings extends RunOptions {
  /** The checkpoint that the run started from; null if it started with a new model. */
  readonly from: string | null;
  /** The config of the model. */
  readonly model: VQModelConfig;
  /** How many processes train together. A step has `batch` times `accumulate` times as many pictures. */
  readonly ranks: number;
}

/** How many pictures a step has, on all ranks together. */
export function picturesPerStep(
  { batch, accumulate, ranks }: Pick<RunSettings, "batch" | "accumulate" | "ranks">,
): number {
  return batch * accumulate * ranks;
}

/** Options that suit most runs. The fields that depend on the pictures are missing. */
export const defaultOptions: Omit<RunOptions, "data" | "size" | "lr" | "valEvery" | "name"> = {
  steps: 1000,
  batch: 1,
  accumulate: 1,
  seed: 0,
  val: null,
  crop: "center",
  flip: false,
  augment: null,
  resize: "lanczos",
  warmup: 0,
  decay: "constant",
  lrFloor: 0,
  optimizer: defaultOptimizer,
  identity: 0,
  precision: "f32",
  tamingExact: false,
  lpipsDropout: false,
  gan: defaultGan,
  codebook: defaultCodebook,
  logEvery: 10,
  imageEvery: 250,
  saveEvery: 500,
  report: defaultReport,
  saveMinutes: 0,
  keep: 0,
  stopWhen: null,
};

/** taming's base learning rate, which it multiplies by batch size and accumulation. */
export const baseLearningRate = 4.5e-6;

/**
 * The learning rate that suits a model, for one picture a step. It is taming's for the published model with its 128 channels,
 * and grows with the inverse square of the channels, because small models need and bear larger steps: the small faces model
 * with 64 channels learns too little in some hundred steps at 4.5e-6, and from 5e-5 on its pictures become blurred.
 */
export function suitedLearningRate({ ddconfig: { ch } }: Pick<VQModelConfig, "ddconfig">): number {
  return baseLearningRate * (128 / ch) ** 2;
}

/** How often a run is measured by default: eight times, at every step if it is shorter, and at least every 500 steps. */
export function suitedInterval(steps: number): number {
  return Math.min(500, Math.max(1, Math.floor(steps / 8)));
}

const rules: Rules<RunOptions> = {
  data: needed(texts),
  steps: needed(whole(1)),
  batch: needed(whole(1)),
  accumulate: needed(whole(1)),
  size: needed(whole(1)),
  seed: needed(whole(0)),
  val: needed(
    rule(
      "a folder, a fraction from 0 to below 1, or null",
      (val) => val === null || typeof val === "string" || fraction.accepts(val),
    ),
  ),
  crop: oneOf("center", "random"),
  flip: flag,
  augment: needed(orNull(object)),
  resize: aResize,
  lr: needed(positive),
  warmup: needed(whole(0)),
  decay: needed(oneOf("constant", "cosine", "linear")),
  lrFloor: needed(notNegative),
  optimizer: needed(object),
  identity: needed(notNegative),
  precision: oneOf("f32", "f16"),
  tamingExact: flag,
  lpipsDropout: flag,
  gan: needed(object),
  codebook: needed(object),
  logEvery: needed(whole(1)),
  imageEvery: needed(whole(1)),
  valEvery: needed(whole(1)),
  saveEvery: needed(whole(1)),
  report: needed(object),
  saveMinutes: needed(notNegative),
  keep: needed(whole(0)),
  stopWhen: needed(orNull(object)),
  name: needed(rule("a name without slashes", (name) => typeof name === "string" && !/[/\\\0]/.test(name))),
};

/** Returns the rules of the options that may be changed when a run is resumed. */
export function rulesOf(...names: readonly (keyof RunOptions)[]): Record<string, Rule> {
  return Object.fromEntries(names.map((name) => [name, { ...rules[name], isNeeded: false }]));
}

/**
 * Checks the options of a new run.
 * @throws an error that names the first invalid value and what is allowed, or an unknown name
 */
export function checkNewOptions(options: RunOptions): void {
  checkOptions("beginRun", options, rules);
  checkTogether("beginRun", options);
}

/** Checks settings from a checkpoint, which have additional fields. @throws like `checkNewOptions` */
export function checkSettings(who: string, settings: RunSettings): void {
  checkValues<RunOptions>(who, settings, rules);
  check(who, "ranks", settings.ranks, whole(1));
  checkTogether(who, settings);
}

/** Checks what the rules of single fields do not see. */
function checkTogether(
  who: string,
  { data, lr, lrFloor, augment, optimizer, gan, codebook, report, stopWhen }: RunOptions,
): void {
  if (data.length === 0) throw new Error(`${who}: data names no pictures: pass a folder, a glob or a list`);
  if (lrFloor > lr) {
    throw new Error(`${who}: lrFloor is ${lrFloor}, expected at most the learning rate, ${lr}`);
  }
  if (augment !== null) checkAugment(`${who}: augment`, augment);
  checkOptimizer(who, optimizer);
  checkGan(who, gan);
  checkReport(who, report);
  checkStopRule(who, stopWhen);
  checkCodebookOptions(who, codebook);
  if (codebook.learning === "ema" && optimizer.rates.codebook !== undefined) {
    throw new Error(
      `${who}: optimizer: codebook has the learning rate ${optimizer.rates.codebook}, but running averages move the codes ` +
        `(learning is ema), and they have no rate: choose their emaDecay, which is ${codebook.emaDecay}`,
    );
  }
}

/** The values that are not undefined. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
