// Everything about a run that is not a tensor, as its checkpoints store it, and the check of what a file says about it.
import type { SamplerState } from "../../data/index.ts";
import { FormatError } from "../../data/formats/source.ts";
import {
  check,
  checkValues,
  finite,
  flag,
  isList,
  isWhole,
  needed,
  object,
  orNull,
  type Rule,
  rule,
  type Rules,
  text,
  texts,
  whole,
} from "../../src/check.ts";
import type { RandomState } from "../../src/index.ts";
import type { LossScaleState } from "../loss_scale.ts";
import type { Json } from "../train_state.ts";
import type { Measurements } from "../validate.ts";
import { checkSettings, type RunSettings } from "./settings.ts";
import type { Patience } from "./stopping.ts";

/** What the model did on the validation pictures after a step. */
export interface Measured {
  /** The number of steps done. */
  readonly step: number;
  /** The averages: on pictures kept back under `val/`, on training pictures under `seen/`. */
  readonly values: Measurements;
}

/** The lowest rec_loss so far, on the pictures kept back or, without such pictures, on training pictures. */
export interface Best {
  /** The step after which it was measured. */
  readonly step: number;
  /** The loss. */
  readonly loss: number;
  /** The same loss on training pictures at that step; null if it was not measured. */
  readonly seen: number | null;
  /**
   * The name of the checkpoint in checkpoints/ that was kept for it; null if there is none. The model that the run started
   * from has its own file elsewhere.
   */
  readonly file: string | null;
}

/** The first sheet of samples, to which the last one is compared. */
export interface FirstSamples {
  /** The step of the sheet, images/step-NNNNNN.png. */
  readonly step: number;
  /** The paths of its pictures, from left to right. */
  readonly paths: readonly string[];
}

/** The pictures of a run: train/run/pictures.ts writes and compares their lists. */
export interface RunPictures {
  /** The hash of the list, which is also the name of its file. */
  readonly hash: string;
  /** The number of pictures to train on. */
  readonly train: number;
  /** The number of pictures for validation. */
  readonly held: number;
}

/** How far a run has come. `train` changes the fields, and each checkpoint stores them. */
export interface Progress {
  /** The epoch of the last batch, counted from 0. */
  epoch: number;
  /** The state of the sampler after the last step. */
  sampler: SamplerState;
  /** The states of the random number generators after the last step. */
  random: { readonly dropout: RandomState; readonly restart: RandomState };
  /** Whether the codebook is ready: that of a new model gets its first codes from the pictures. */
  hasCodebook: boolean;
  /** The first measurements; null before them, or without validation. */
  first: Measured | null;
  /** The last measurements. */
  last: Measured | null;
  /** The lowest loss; null before the first measurements. */
  best: Best | null;
  /** The first sheet of samples; null before it. */
  samples: FirstSamples | null;
  /** How the metric comes along that may end the run; null without one. */
  patience: Patience | null;
  /** The checkpoints that were kept beside the last one, from old to new. */
  kept: readonly string[];
}

/** What a run needs, in addition to tensors, to continue as if it had never stopped. */
export interface RunState extends Readonly<Progress> {
  /** The number of steps done. */
  readonly step: number;
  /** The pictures that the run learns from. */
  readonly pictures: RunPictures;
  /** The settings of the run. */
  readonly settings: RunSettings;
}

/** The state as it is in a file. The model's config is stored beside it. */
export interface StoredState extends Omit<RunState, "settings"> {
  readonly settings: Omit<RunSettings, "model">;
  /** How many gradients each parameter has received, for each optimizer. */
  readonly adamSteps: readonly Record<string, number>[];
  /** The parameters that were frozen. */
  readonly frozen: readonly string[];
  /** The state of the loss scale; null with f32. */
  readonly lossScale: LossScaleState | null;
  /** The values of `Trainer.states`, by their names. */
  readonly training: Readonly<Record<string, Json>>;
}

/** A record whose fields are those of the rules. */
const record = <T>(what: string, rules: Rules<T>): Rule =>
  needed(rule(
    what,
    (value) =>
      object.accepts(value) &&
      Object.entries<Rule>(rules).every(([name, { accepts }]) =>
        accepts((value as Record<string, unknown>)[name])
      ),
  ));
const nullOr = (rule: Rule): Rule => needed(orNull(rule));
const listOf = (what: string, accepts: (value: unknown) => boolean): Rule =>
  rule(what, (value) => isList(value) && (value as unknown[]).every(accepts));
const numbers = (accepts: (value: unknown) => boolean) => (value: unknown): boolean =>
  object.accepts(value) && Object.values(value as object).every(accepts);

const random = record<RandomState>("{ seed, counter }", { seed: whole(0), counter: whole(0) });
const measured = record<Measured>("{ step, values }", {
  step: whole(0),
  values: rule("numbers", numbers((value) => typeof value === "number" || value === null)),
});
/** A name that this program gives, because the file of a former best checkpoint is removed. */
const checkpointName = rule(
  "a name such as step-000250.safetensors",
  (name) => typeof name === "string" && /^step-\d{6,15}\.safetensors$/.test(name),
);

const rules: Rules<StoredState> = {
  step: needed(whole(0)),
  epoch: needed(whole(0)),
  sampler: record<SamplerState>("{ length, seed, epoch, position }", {
    length: whole(1),
    seed: whole(0),
    epoch: whole(0),
    position: whole(0),
    firstEpoch: rule("a whole number", (epoch) => epoch === undefined || isWhole(epoch)),
    ranks: rule("whole numbers", (visits) => visits === undefined || listOf("", isWhole).accepts(visits)),
  }),
  random: record("{ dropout, restart }", { dropout: random, restart: random }),
  hasCodebook: needed(flag),
  first: nullOr(measured),
  last: nullOr(measured),
  best: nullOr(object),
  samples: nullOr(record<FirstSamples>("{ step, paths }", { step: whole(0), paths: texts })),
  patience: nullOr(
    record<Patience>("{ best, step, waited }", { best: finite, step: whole(0), waited: whole(0) }),
  ),
  kept: needed(listOf("a list of names such as step-000250.safetensors", checkpointName.accepts)),
  pictures: record<RunPictures>("{ hash, train, held }", {
    hash: rule("16 hexadecimal digits", (hash) => typeof hash === "string" && /^[0-9a-f]{16}$/.test(hash)),
    train: whole(1),
    held: whole(0),
  }),
  settings: needed(object),
  adamSteps: needed(
    rule(
      "whole numbers by name, for each of two optimizers",
      (value) => listOf("", numbers(isWhole)).accepts(value) && (value as unknown[]).length === 2,
    ),
  ),
  frozen: needed(texts),
  training: needed(object),
  lossScale: nullOr(
    record<LossScaleState>("{ value, steps, isOver }", {
      value: rule("a number above 0", (value) => finite.accepts(value) && Number(value) > 0),
      steps: whole(0),
      isOver: flag,
    }),
  ),
};
const bestRules: Rules<Best> = {
  step: needed(whole(0)),
  loss: needed(finite),
  seen: nullOr(finite),
  file: nullOr(checkpointName),
};

/** JSON has null in place of NaN and infinity. */
function withNumbers(measured: Measured | null): Measured | null {
  if (measured === null) return null;
  const values = Object.entries(measured.values).map(([name, value]) => [name, value ?? NaN]);
  return { ...measured, values: Object.fromEntries(values) };
}

/**
 * Checks what a file says about its run. Nothing of it is used before, because some fields are names of files.
 * @throws FormatError naming the first field that is wrong
 */
export function parseState(path: string, json: string, model: RunSettings["model"]): StoredState & RunState {
  try {
    const state = JSON.parse(json) as StoredState;
    check("the run's state", "it", state, object);
    checkValues("the run's state", state, rules);
    if (state.best) checkValues("the run's state: best", state.best, bestRules);
    const settings = { ...{ ranks: 1 }, ...state.settings, model }; // runs of one process did not say so at first
    checkSettings("the run's settings", settings);
    check("the run's settings", "from", settings.from, orNull(text));
    const { sampler } = state;
    if (sampler.length !== state.pictures.train || sampler.position >= sampler.length) {
      throw new Error(
        `the run's state is at picture ${sampler.position} of ${sampler.length}, and has ${state.pictures.train}`,
      );
    }
    return { ...state, settings, first: withNumbers(state.first), last: withNumbers(state.last) };
  } catch (error) {
    throw new FormatError(path, (error as Error).message);
  }
}
