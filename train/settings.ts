// All settings of a run in one record. It is written to config.json and into every checkpoint, so that resuming needs
// nothing but the checkpoint.
import type { VQModelConfig } from "../data/formats/config.ts";
import type { Precision } from "../nn/index.ts";

/** What may be chosen when a run begins. */
export interface RunOptions {
  /** Folders, globs, .txt lists or pictures to learn from. */
  readonly data: readonly string[];
  readonly steps: number;
  readonly batch: number;
  /** Batches whose gradients are averaged in one step. */
  readonly accumulate: number;
  /** Side of the square pictures. */
  readonly size: number;
  /** Decides the order of the pictures, the crops and the initial weights: a whole number >= 0. */
  readonly seed: number;
  /** Pictures to measure on: a source as for `data`, or the fraction of `data` to keep back; 0 for none. */
  readonly val: string | number;
  readonly crop: "center" | "random";
  /** Mirror half of the pictures. */
  readonly flip: boolean;
  /** Learning rate of both optimizers. */
  readonly lr: number;
  /** Steps over which the learning rate rises from 0. */
  readonly warmup: number;
  readonly decay: "constant" | "cosine";
  /** f16 needs a GPU that has it; see `setPrecision`. */
  readonly precision: Precision;
  /** Whether the discriminator learns from the autoencoder that has just learnt, as in taming; see `TrainerOptions`. */
  readonly tamingExact: boolean;
  /** Whether LPIPS has dropout, as taming's had by accident. */
  readonly lpipsDropout: boolean;
  /** Steps after which codes that were never chosen move to vectors of the current pictures; 0 for never. */
  readonly restartDeadCodes: number;
  readonly logEvery: number;
  readonly imageEvery: number;
  readonly valEvery: number;
  readonly saveEvery: number;
  /** Last part of the run folder's name. */
  readonly name: string;
}

export interface RunSettings extends RunOptions {
  /** The checkpoint that the run began with; null when it began from scratch. */
  readonly from: string | null;
  readonly model: VQModelConfig;
}

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

/** @throws an error that names the first value that cannot be used, and what it may be. */
export function checkOptions(options: RunOptions): void {
  const whole: [keyof RunOptions, number][] = [
    ["steps", 1],
    ["batch", 1],
    ["accumulate", 1],
    ["size", 1],
    ["seed", 0],
    ["warmup", 0],
    ["restartDeadCodes", 0],
    ["logEvery", 1],
    ["imageEvery", 1],
    ["valEvery", 1],
    ["saveEvery", 1],
  ];
  for (const [name, least] of whole) {
    const value = options[name];
    if (!Number.isSafeInteger(value) || Number(value) < least) {
      throw new Error(`${name} is ${value}, expected a whole number >= ${least}`);
    }
  }
  if (!(options.lr > 0)) throw new Error(`the learning rate is ${options.lr}, expected a number above 0`);
  if (typeof options.val === "number" && !(options.val >= 0 && options.val < 1)) {
    throw new Error(`val is ${options.val}, expected a folder or a fraction from 0 to below 1`);
  }
  if (options.data.length === 0) throw new Error("data names no pictures: give a folder, a glob or a list");
}
