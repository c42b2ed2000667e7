// Begins a run: loads or makes the model, lists the pictures, and creates the folder.
import { resolve } from "node:path";
import {
  type LossConfig,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "../../data/formats/config.ts";
import { isRemote, localPath } from "../../data/index.ts";
import {
  checkOptions,
  flag,
  needed,
  object,
  positive,
  rule,
  type Rules,
  text,
  texts,
} from "../../src/check.ts";
import { Random } from "../../src/index.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import { checkSame, checkSameSettings, ofRank } from "../distributed/same.ts";
import { startStep } from "../gan/start.ts";
import { type PerceptualChoice, startFrom, startNew } from "../start.ts";
import { continueTrainer } from "./checkpoint.ts";
import { folderOfAll, RunFolder } from "./folder.ts";
import { Notes } from "./notes.ts";
import { describeParts, describePlan } from "./plan.ts";
import { absolute, describeList, listPictures } from "./pictures.ts";
import { checkRoom, warnOfRoom } from "./room.ts";
import {
  checkSize,
  freedOnError,
  type Loading,
  loadingRules,
  makeTrainer,
  openPictures,
  type Run,
} from "./run.ts";
import {
  checkNewOptions,
  checkSettings,
  picturesPerStep,
  type RunOptions,
  type RunSettings,
  suitedInterval,
  suitedLearningRate,
} from "./settings.ts";
import { checkMeasurable, stepsIn, tooShort } from "./stopping.ts";

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
  /**
   * The options. `size` defaults to the model's resolution, `lr` to `baseLr` times the pictures in a step, on all ranks
   * together, `baseLr` to what suits the model, and `valEvery` to an eighth of the steps, but at most 500. `epochs` takes the
   * place of `steps`: the number of passes over the pictures.
   */
  readonly options:
    & Omit<RunOptions, "size" | "lr" | "valEvery">
    & Partial<Pick<RunOptions, "size" | "lr" | "valEvery">>
    & { readonly epochs?: number; readonly baseLr?: number };
  /** The folder in which the run's folder is created. */
  readonly out: string;
  /** How loading the checkpoint is watched and stopped; `train` has a signal of its own. */
  readonly loading?: Loading;
  /** The processes that train together (`openRanks`). Default: this one alone. */
  readonly ranks?: Ranks;
}

const newRules: Rules<NewRun> = {
  start: needed(rule(
    "{ from: checkpoint } or { scratch: config }",
    (start) => object.accepts(start) && ("from" in (start as object) || "scratch" in (start as object)),
  )),
  perceptual: needed(
    rule(
      'a list of files, "inside", "none" or "auto"',
      (choice) => ["inside", "none", "auto"].includes(choice as string) || texts.accepts(choice),
    ),
  ),
  options: needed(object),
  out: needed(text),
  loading: object,
  ranks: object,
};
const startRules = { from: needed(text), overrides: object, goOn: flag };

/**
 * Begins a new run: loads or creates the model, lists the pictures and creates the folder. `train` does the rest. The folder
 * belongs to this process until `train` has ended, or the process has.
 *
 * @example From a checkpoint
 * ```ts
 * import { beginRun, defaultOptions } from "@tessera/vqgan";
 *
 * const run = await beginRun({
 *   start: { from: "last.ckpt" },
 *   perceptual: "inside",
 *   options: { ...defaultOptions, data: ["faces/"], name: "faces" },
 *   out: "runs",
 * });
 * for (const { text } of run.notes) console.log(text);
 * ```
 * @throws if options, checkpoint or pictures are invalid, or the disk has no room for a checkpoint; then nothing is written.
 */
export async function beginRun(run: NewRun): Promise<Run> {
  checkOptions("beginRun", run, newRules);
  const { start, perceptual, out, loading = {}, ranks = oneRank } = run;
  checkOptions("beginRun: loading", loading, loadingRules);
  checkOptions<object>("beginRun: start", start, "scratch" in start ? { scratch: object } : startRules);
  const { size = 1, lr = 1, valEvery = 1 } = run.options;
  const { epochs, baseLr, ...given } = run.options;
  checkNewOptions({ ...given, size, lr, valEvery });
  checkOptions("beginRun", { epochs, baseLr }, { epochs: positive, baseLr: positive });
  const { onListed, ...reading } = loading;
  const listed = absolute(given);
  const list = await listPictures(listed, null, false, { signal: loading.signal, onFound: onListed });
  const perStep = picturesPerStep({ ...listed, ranks: ranks.size });
  const steps = epochs === undefined ? listed.steps : stepsIn(epochs, list.train, perStep);
  const options = { ...listed, steps };
  return await freedOnError(async (own) => {
    const reporter = new Notes();
    const { gan, steps } = options;
    const length = { steps, pictures: list.train, perStep };
    const chosen = gan.start === null ? {} : { discStart: startStep(gan.start, length) };
    const from = "from" in start ? await localPath(start.from, reading) : null;
    const { model, notes } = "from" in start
      ? await startFrom(from!, perceptual, withLosses(start.overrides, chosen), options.seed, reading)
      : await startNew(withOverrides(start.scratch, { lossconfig: chosen }), perceptual, options.seed);
    own(model);
    for (const text of notes) {
      reporter.add({ kind: text.startsWith("warning:") ? "warning" : "model", text });
    }
    const settings: RunSettings = {
      ...options,
      size: options.size ?? model.config.ddconfig.resolution,
      lr: options.lr ?? perStep * (baseLr ?? suitedLearningRate(model.config)),
      valEvery: options.valEvery ?? suitedInterval(options.steps),
      from: "from" in start ? isRemote(start.from) ? start.from : resolve(start.from) : null,
      model: model.config,
      ranks: ranks.size,
    };
    checkMeasurable("beginRun", settings.stopWhen, {
      held: list.held,
      hasLpips: model.config.lossconfig.perceptualWeight > 0,
      size: settings.size,
    });
    checkSettings("beginRun", settings); // again, because some values are known only now
    checkSize(settings, model);
    await checkSameSettings(ranks, settings);
    await checkSame(ranks, "pictures", `${list.train} and ${list.held}, ${list.hash}`);
    for (
      const note of [
        ...describeParts(settings),
        ...describePlan(settings),
        ...describeList(list, options.val),
      ]
    ) reporter.add(note);
    const pictures = openPictures(list, settings, reporter);
    const seed = new Random(options.seed);
    const random = { dropout: ofRank(seed.fork("dropout"), ranks), restart: seed.fork("codebook") };
    const parts = await makeTrainer(model, settings, random, own, ranks);
    let epoch = 0;
    if ("from" in start && start.goOn) {
      const goesOn = await continueTrainer(from!, parts.trainer);
      if (goesOn.step >= steps) {
        throw tooShort(start.from, goesOn.step, { steps, epochs, pictures: list.train, perStep });
      }
      epoch = goesOn.epoch;
      pictures.pictures.restore({ ...pictures.pictures.state(), epoch, firstEpoch: epoch });
      const text = `optimizers: both from ${start.from}, at step ${goesOn.step}, epoch ${epoch}`;
      reporter.add({ kind: "resumed", checkpoint: start.from, step: goesOn.step, text });
    }
    const savesOften = settings.steps > Math.min(settings.saveEvery, settings.valEvery);
    const folder = await folderOfAll(ranks, async () => {
      await checkRoom(out, parts.trainer, savesOften ? 2 : 1);
      for (const note of await warnOfRoom(out, parts.trainer, settings)) reporter.add(note);
      const folder = await RunFolder.create(out, options.name);
      await folder.removedOnError(async () => {
        await folder.take();
        await folder.writeConfig(settings);
        await folder.writePictures(list.hash, list.text);
      });
      return folder;
    });
    return {
      ...{
        settings,
        ...parts,
        ...pictures,
        list,
        folder,
        random,
        saved: null,
        reporter,
        notes: reporter.all,
      },
      progress: {
        epoch,
        sampler: pictures.pictures.state(),
        random: { dropout: random.dropout.state(), restart: random.restart.state() },
        hasCodebook: "from" in start && !settings.codebook.kmeans || !model.quantize.codebook.requiresGrad,
        ...{ first: null, last: null, best: null, samples: null, patience: null, kept: [] },
      },
    };
  });
}

function withLosses(overrides: VQModelOverrides = {}, lossconfig: Partial<LossConfig>): VQModelOverrides {
  return { ...overrides, lossconfig: { ...overrides.lossconfig, ...lossconfig } };
}
