// A run in memory: the model with its optimizers, the pictures, the folder, and how far it has come.
import { ImageDataset } from "../../data/index.ts";
import type { LoadOptions, VQGAN } from "../../nn/index.ts";
import { aSignal, callback, type Rules } from "../../src/check.ts";
import type { Random } from "../../src/index.ts";
import { trainingOf } from "../codebook/options.ts";
import { DeadCodeRestart } from "../codebook/restart.ts";
import { CodeUsage } from "../codebook/usage.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import { Guard } from "../gan/guard.ts";
import { termsOf } from "../gan/options.ts";
import { Plateau } from "../gan/start.ts";
import { rateFactors, trainOnly } from "../parts.ts";
import { loadFaceNetwork } from "../face_package.ts";
import { IdentityLoss } from "../identity.ts";
import { learningRate } from "../schedule.ts";
import { Trainer } from "../trainer.ts";
import type { RunFolder } from "./folder.ts";
import type { Notes, RunNote } from "./notes.ts";
import { pathsOf, type PictureList } from "./pictures.ts";
import type { RunSettings } from "./settings.ts";
import type { Progress } from "./state.ts";
import { whyEnded } from "./stopping.ts";

/** A run that is ready to be trained from its current step. */
export interface Run {
  /** The settings of the run. */
  readonly settings: RunSettings;
  /** The model with its optimizers. */
  readonly trainer: Trainer;
  /** The pictures to train on. */
  readonly pictures: ImageDataset;
  /** The pictures for validation; null if there are none. */
  readonly validation: ImageDataset | null;
  /** A few of the pictures to train on, which are measured as those for validation are. */
  readonly seen: ImageDataset;
  /** The few pictures whose reconstructions are saved during training. */
  readonly samples: ImageDataset;
  /** The list of all pictures. */
  readonly list: PictureList;
  /** The folder to which everything is written. It belongs to this process until the training ends. */
  readonly folder: RunFolder;
  /** The random numbers of LPIPS dropout and of the codebook, which continue when the run is resumed. */
  readonly random: { readonly dropout: Random; readonly restart: Random };
  /** Counts which codes training chooses. */
  readonly usage: CodeUsage;
  /** Moves codes that are dead; null if this is off. */
  readonly restarts: DeadCodeRestart | null;
  /** Finds the step at which the discriminator starts; null if that is known. */
  readonly plateau: Plateau | null;
  /** Watches whether the losses jump; null if this is off. */
  readonly guard: Guard | null;
  /** How far the run has come. */
  readonly progress: Progress;
  /** The step of the last checkpoint in the folder; null if there is none. */
  saved: number | null;
  /** What the user should know: what was loaded, and what is not as it was. */
  readonly notes: readonly RunNote[];
  /**
   * Collects the notes.
   * @internal
   */
  readonly reporter: Notes;
}

/** Why a run is finished: it has all its steps, or has ended early; null if it is not. */
export function whyFinished({ trainer: { step }, settings, progress: { patience } }: Run): string | null {
  return whyEnded(settings, step, patience);
}

/** Whether a run has all its steps, or has ended early. */
export function isFinished(run: Run): boolean {
  return whyFinished(run) !== null;
}

/** How a checkpoint's loading is watched and stopped. */
export interface Loading extends Pick<LoadOptions, "onProgress" | "signal"> {
  /** Called with the number of pictures found so far. */
  readonly onListed?: (pictures: number) => void;
}

export const loadingRules: Rules<Loading> = { onProgress: callback, onListed: callback, signal: aSignal };

/** The number of pictures whose reconstructions are saved during training. */
const sampleCount = 8;

/** The most training pictures that are measured. */
const seenCount = 16;

/** The most bytes of pictures that are read ahead. */
const aheadBytes = 2 ** 28;

/** Takes something to free if what follows fails. */
export type Own = <T extends { dispose(): void }>(made: T) => T;

/** Runs `build`. If it throws, what it passed to `own` is freed, because the caller gets nothing to free. */
export async function freedOnError(build: (own: Own) => Promise<Run>): Promise<Run> {
  const made: { dispose(): void }[] = [];
  try {
    return await build((one) => {
      made.push(one);
      return one;
    });
  } catch (error) {
    for (const one of made) one.dispose();
    throw error;
  }
}

/**
 * Makes the trainer of a model and what moves its codes.
 * @param given the identity loss; undefined to make one if the settings ask for it
 * @throws if the package of the face network is needed and missing
 */
export async function makeTrainer(
  model: VQGAN,
  settings: RunSettings,
  random: Run["random"],
  own: Own,
  ranks: Ranks = oneRank,
  given?: IdentityLoss | null,
): Promise<Pick<Run, "trainer" | "usage" | "restarts" | "plateau" | "guard">> {
  const { train, rates, ...update } = settings.optimizer;
  if (!train.includes("all")) trainOnly(model, train);
  const makeIdentity = async () =>
    settings.identity > 0
      ? own(new IdentityLoss(await loadFaceNetwork(), settings.identity, model.range))
      : null;
  const identity = given === undefined ? await makeIdentity() : given;
  const trainer = own(
    new Trainer(model, {
      learningRate: (step) => learningRate(settings, step),
      update: { ...update, rateFactor: rateFactors(rates, settings.lr) },
      identity,
      tamingExact: settings.tamingExact,
      precision: settings.precision,
      lpipsDropout: settings.lpipsDropout ? random.dropout : null,
      gan: termsOf(settings.gan),
      codebook: trainingOf(settings.codebook),
      ranks,
    }),
  );
  const usage = new CodeUsage(model.config.nEmbed, ranks);
  trainer.states.push(usage);
  const { restartEvery, restartBelow: below } = settings.codebook, { codes: learning, averages } = trainer;
  const restarts = restartEvery > 0
    ? new DeadCodeRestart(model, trainer.optimizers.generator, usage, random.restart, {
      below,
      learning,
      averages,
      ranks,
    })
    : null;
  const plateau = settings.gan.start === "plateau" ? new Plateau() : null;
  if (plateau) trainer.states.push(plateau);
  const guard = settings.gan.guard
    ? new Guard(settings.steps, trainer.gan, model.decoder.conv_out.weight, ranks)
    : null;
  if (guard) trainer.states.push(guard);
  return { trainer, usage, restarts, plateau, guard };
}

/**
 * Opens the pictures of a list.
 * @param preferred samples of before, which stay samples as long as they are there
 */
export function openPictures(
  list: PictureList,
  { size, crop, flip, augment, resize, seed, batch, accumulate }: RunSettings,
  reporter: Notes,
  preferred: readonly string[] = [],
): Pick<Run, "pictures" | "validation" | "seen" | "samples"> {
  const onSkip = (path: string, reason: string) => reporter.skip(path, reason);
  const paths = pathsOf(list, false), held = pathsOf(list, true);
  const still = { size, resize, shuffle: false, onSkip };
  const shown = held.length > 0 ? held : paths;
  const count = Math.min(sampleCount, shown.length);
  const preferredSamples = preferred.filter((path) => shown.includes(path));
  const samples = [...new Set([...preferredSamples, ...evenly(shown, count)])].slice(0, count);
  const seen = evenly(paths, Math.min(Math.max(held.length, sampleCount), seenCount));
  // enough that the next step's pictures are read while this step is computed
  const prefetch = Math.max(1, Math.min(2 * batch * accumulate, Math.floor(aheadBytes / (3 * size * size))));
  return {
    pictures: new ImageDataset(paths, { size, crop, flip, augment, resize, seed, prefetch, onSkip }),
    validation: held.length > 0 ? new ImageDataset(held, still) : null,
    seen: new ImageDataset(seen, still),
    samples: new ImageDataset(samples, still),
  };
}

/** At most `count` items, evenly spread. */
function evenly(items: readonly string[], count: number): string[] {
  const taken = Math.min(count, items.length);
  return Array.from({ length: taken }, (_, i) => items[Math.floor(i * items.length / taken)]);
}

/** @throws if pictures of this size do not fit the model or, in such batches, any device */
export function checkSize({ size, batch }: RunSettings, { factor }: VQGAN): void {
  if (size % factor !== 0) {
    const below = Math.max(factor, size - size % factor);
    throw new Error(
      `size ${size} is not a multiple of ${factor}, the number of pixels per token; the nearest are ${below} or ${
        below + factor
      }`,
    );
  }
  const bytes = 12 * batch * size * size;
  if (bytes > 2 ** 32) {
    throw new Error(
      `a batch of ${batch} pictures of ${size}x${size} takes ${bytes} bytes, but a tensor can have ${
        2 ** 32
      }`,
    );
  }
}
