// Puts together what training needs (model, optimizers, pictures and folder), for a new run or for a resumed one.
import type { VQModelConfig, VQModelOverrides } from "../../data/formats/config.ts";
import { ImageDataset, listImages, localPath } from "../../data/index.ts";
import { type LoadOptions, VQGAN } from "../../nn/index.ts";
import {
  aSignal,
  callback,
  checkOptions,
  flag,
  needed,
  object,
  rule,
  type Rules,
  text,
  texts,
} from "../../src/check.ts";
import { Random } from "../../src/index.ts";
import {
  continueTrainer,
  frozenParameters,
  readRunState,
  restoreTrainer,
  type RunState,
} from "./checkpoint.ts";
import { DeadCodeRestart } from "../codebook.ts";
import { checkpointOf, RunFolder } from "./folder.ts";
import { learningRate } from "../schedule.ts";
import { checkNewOptions, checkSettings, rulesOf, type RunOptions, type RunSettings } from "./settings.ts";
import { type PerceptualChoice, startFrom, startNew } from "../start.ts";
import { Trainer } from "../trainer.ts";

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
  /** The few pictures whose reconstructions are saved during training. */
  readonly samples: ImageDataset;
  /** The folder to which everything is written. */
  readonly folder: RunFolder;
  /** The random numbers of LPIPS dropout and of the codebook, which continue when the run is resumed. */
  readonly random: { readonly dropout: Random; readonly restart: Random };
  /** Moves codes that are never chosen; null if this is off. */
  readonly restarts: DeadCodeRestart | null;
  /** The lowest val/rec_loss so far, and the checkpoint kept for it. */
  readonly best: RunState["best"];
  /** How often all pictures were seen. */
  readonly epoch: number;
  /**
   * Whether the run has not been trained yet. `train` then initializes a new model's codebook and saves the first
   * pictures.
   */
  readonly isNew: boolean;
  /** Messages for the user about what was loaded. */
  readonly notes: readonly string[];
}

/** How a checkpoint's loading is watched and stopped. */
export type Loading = Pick<LoadOptions, "onProgress" | "signal">;

const loadingRules: Rules<Loading> = { onProgress: callback, signal: aSignal };

/** The parts of a new run. */
export interface NewRun {
  /**
   * A checkpoint to start from, or the config of a new model. With `goOn` the run continues the training in a
   * checkpoint by Lightning, with its optimizers, step and epoch.
   */
  readonly start:
    | { readonly from: string; readonly overrides?: VQModelOverrides; readonly goOn?: boolean }
    | { readonly scratch: VQModelConfig };
  /** The source of LPIPS's weights. */
  readonly perceptual: PerceptualChoice;
  /** The options. `size` defaults to the model's resolution. */
  readonly options: Omit<RunOptions, "size"> & { readonly size?: number };
  /** The folder in which the run's folder is created. */
  readonly out: string;
  /** How loading the checkpoint is watched and stopped; `train` has a signal of its own. */
  readonly loading?: Loading;
}

const newRules: Rules<NewRun> = {
  start: needed(rule(
    "{ from: checkpoint } or { scratch: config }",
    (start) => object.accepts(start) && ("from" in (start as object) || "scratch" in (start as object)),
  )),
  perceptual: needed(
    rule(
      'a list of files, "inside" or "none"',
      (choice) => ["inside", "none"].includes(choice as string) || texts.accepts(choice),
    ),
  ),
  options: needed(object),
  out: needed(text),
  loading: object,
};
const startRules = { from: needed(text), overrides: object, goOn: flag };

/** The number of pictures whose reconstructions are saved during training. */
const sampleCount = 8;

/**
 * Begins a new run: loads or creates the model, lists the pictures and creates the folder. `train` does the rest.
 *
 * @example From a checkpoint
 * ```ts
 * import { baseLearningRate, beginRun, defaultOptions } from "@tessera/vqgan";
 *
 * const run = await beginRun({
 *   start: { from: "last.ckpt" },
 *   perceptual: "inside",
 *   options: { ...defaultOptions, data: ["faces/"], lr: baseLearningRate, name: "faces" },
 *   out: "runs",
 * });
 * console.log(run.notes.join("\n"));
 * ```
 * @throws if options, checkpoint or pictures are invalid; then nothing is written.
 */
export async function beginRun(run: NewRun): Promise<Run> {
  checkOptions("beginRun", run, newRules);
  const { start, perceptual, options, out, loading = {} } = run;
  checkOptions("beginRun: loading", loading, loadingRules);
  checkOptions<object>("beginRun: start", start, "scratch" in start ? { scratch: object } : startRules);
  checkNewOptions({ ...options, size: options.size ?? 1 });
  const paths = await splitPictures(options);
  return await freedOnError(async (own) => {
    const from = "from" in start ? await localPath(start.from, loading) : null;
    const { model, notes } = "from" in start
      ? await startFrom(from!, perceptual, start.overrides ?? {}, options.seed, loading)
      : await startNew(start.scratch, perceptual, options.seed);
    own(model);
    const settings: RunSettings = {
      ...options,
      size: options.size ?? model.config.ddconfig.resolution,
      from: "from" in start ? start.from : null,
      model: model.config,
    };
    checkSize(settings, model);
    const pictures = openPictures(paths, settings);
    const seed = new Random(options.seed);
    const random = { dropout: seed.fork("dropout"), restart: seed.fork("codebook") };
    const parts = assemble(model, settings, random, own);
    const goesOn = "from" in start && start.goOn ? await continueTrainer(from!, parts.trainer) : null;
    const epoch = goesOn?.epoch ?? 0;
    const folder = await RunFolder.create(out, options.name);
    await folder.writeConfig(settings);
    const optimizers = goesOn
      ? [`optimizers: both from ${settings.from}, at step ${goesOn.step}, epoch ${epoch}`]
      : [];
    return {
      ...{ settings, ...parts, ...pictures, folder, random, best: null, epoch, isNew: true },
      notes: [...notes, ...optimizers],
    };
  });
}

/** The options that may change when a run is resumed. */
export type ResumeChanges = Partial<
  Pick<
    RunOptions,
    "steps" | "data" | "val" | "precision" | "logEvery" | "imageEvery" | "valEvery" | "saveEvery"
  >
>;

const changeRules = rulesOf(
  "steps",
  "data",
  "val",
  "precision",
  "logEvery",
  "imageEvery",
  "valEvery",
  "saveEvery",
);

/**
 * Resumes a run from its folder or from one of its checkpoints. The following steps compute the same bits as without
 * the interruption. What was frozen (`setRequiresGrad(false)`) when the checkpoint was saved is frozen again.
 * @throws NotResumableError if the file holds only weights; an Error if an option cannot be changed
 * @example Continuing to step 2000
 * ```ts
 * import { resumeRun, train } from "@tessera/vqgan";
 *
 * const goOn = async (folder: string) => await train(await resumeRun(folder, { steps: 2000 }));
 * ```
 */
export async function resumeRun(
  runOrFile: string,
  changes: ResumeChanges = {},
  loading: Loading = {},
): Promise<Run> {
  checkOptions<object>("resumeRun", changes, changeRules);
  checkOptions("resumeRun: loading", loading, loadingRules);
  const path = await checkpointOf(runOrFile);
  const saved = await readRunState(path);
  const settings = { ...saved.settings, ...changes };
  checkSettings("resumeRun", settings);
  const pictures = openPictures(await splitPictures(settings), settings);
  pictures.pictures.restore(saved.sampler);
  return await freedOnError(async (own) => {
    const model = own(new VQGAN(settings.model, null, { withLoss: true }));
    const random = {
      dropout: Random.from(saved.random.dropout),
      restart: Random.from(saved.random.restart),
    };
    const parts = assemble(model, settings, random, own);
    const { step, epoch, best, codeCounts } = await restoreTrainer(path, parts.trainer, loading);
    if (codeCounts) parts.restarts?.counts.set(codeCounts);
    const folder = await RunFolder.around(path);
    await folder.writeConfig(settings);
    await folder.rewindMetrics(step);
    const notes = [`resuming ${path} at step ${step} of ${settings.steps}`];
    const frozen = frozenParameters(parts.trainer);
    if (frozen.length > 0) {
      notes.push(`frozen, as before: ${frozen.length} tensors, the first is ${frozen[0]}`);
    }
    return { settings, ...parts, ...pictures, folder, random, best, epoch, isNew: false, notes };
  });
}

/** Takes something to free if what follows fails. */
type Own = <T extends { dispose(): void }>(made: T) => T;

/** Runs `build`. If it throws, what it passed to `own` is freed, because the caller gets nothing to free. */
async function freedOnError(build: (own: Own) => Promise<Run>): Promise<Run> {
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

function assemble(model: VQGAN, settings: RunSettings, random: Run["random"], own: Own) {
  const trainer = own(
    new Trainer(model, {
      learningRate: (step) => learningRate(settings, step),
      tamingExact: settings.tamingExact,
      precision: settings.precision,
      lpipsDropout: settings.lpipsDropout ? random.dropout : null,
    }),
  );
  const restarts = settings.restartDeadCodes > 0
    ? new DeadCodeRestart(model, trainer.optimizers.generator, random.restart)
    : null;
  return { trainer, restarts };
}

/** The pictures of a run. */
interface Split {
  /** The pictures to train on. */
  readonly paths: string[];
  /** The pictures held out for validation. */
  readonly held: string[];
}

async function splitPictures({ data, val, seed }: Pick<RunOptions, "data" | "val" | "seed">): Promise<Split> {
  const paths = await listImages(data);
  if (typeof val === "string") return { paths, held: await listImages(val) };
  if (val === 0) return { paths, held: [] };
  const count = Math.max(1, Math.round(val * paths.length));
  if (count >= paths.length) {
    throw new Error(`keeping ${val} of ${paths.length} pictures for validation leaves none to train on`);
  }
  const isHeld = new Set(new Random(seed).fork("validation").shuffle(paths.length).subarray(0, count));
  return { paths: paths.filter((_, i) => !isHeld.has(i)), held: paths.filter((_, i) => isHeld.has(i)) };
}

function openPictures(
  { paths, held }: Split,
  { size, crop, flip, seed, batch, accumulate }: RunOptions,
): Pick<Run, "pictures" | "validation" | "samples"> {
  const still = { size, shuffle: false };
  const shown = held.length > 0 ? held : paths;
  const count = Math.min(sampleCount, shown.length);
  const samples = Array.from({ length: count }, (_, i) => shown[Math.floor(i * shown.length / count)]);
  // enough that the next step's pictures are read while this step is computed
  const prefetch = 2 * batch * accumulate;
  return {
    pictures: new ImageDataset(paths, { size, crop, flip, seed, prefetch }),
    validation: held.length > 0 ? new ImageDataset(held, still) : null,
    samples: new ImageDataset(samples, still),
  };
}

function checkSize({ size }: RunSettings, { factor }: VQGAN): void {
  if (size % factor === 0) return;
  const below = Math.max(factor, size - size % factor);
  throw new Error(
    `size ${size} is not a multiple of ${factor}, the number of pixels per token; the nearest are ${below} or ${
      below + factor
    }`,
  );
}
