// Resumes a run: restores everything from a checkpoint, applies changes, and says what is not as it was.
import { basename, dirname, join, resolve } from "node:path";
import { withOverrides } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/index.ts";
import { checkOptions, object, orNull, positive, rule, texts } from "../../src/check.ts";
import { Random } from "../../src/index.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import { checkSame, checkSameSettings, ofRank } from "../distributed/same.ts";
import { SettingError } from "../errors.ts";
import { optimizerChangeRules, type OptimizerChanges } from "../optimizer_options.ts";
import { fillPerceptual } from "../perceptual.ts";
import { describePerceptual, perceptualOverrides, sourceOf } from "../start.ts";
import { describeChanges } from "./changes.ts";
import { frozenParameters, readRunState, restoreTrainer } from "./checkpoint.ts";
import { checkpointOf } from "./find.ts";
import { fileOfStep, folderOfAll, RunFolder } from "./folder.ts";
import { Notes } from "./notes.ts";
import { describePlan } from "./plan.ts";
import { absolute } from "./pictures.ts";
import { forgetMeasurements, picturesOf } from "./resumed_pictures.ts";
import { checkRoom, warnOfRoom } from "./room.ts";
import {
  checkSize,
  freedOnError,
  type Loading,
  loadingRules,
  makeTrainer,
  openPictures,
  type Own,
  type Run,
} from "./run.ts";
import {
  checkSettings,
  given,
  picturesPerStep,
  rulesOf,
  type RunOptions,
  type RunSettings,
  suitedInterval,
} from "./settings.ts";
import type { Progress, RunState } from "./state.ts";
import { checkMeasurable, defaultPatience, stepsIn, type StopRule, tooShort, whyEnded } from "./stopping.ts";

/** What may change when a run is resumed. All of it keeps the optimizers. */
export interface ResumeChanges extends
  Partial<
    Pick<
      RunOptions,
      | "steps"
      | "data"
      | "val"
      | "lr"
      | "lrFloor"
      | "batch"
      | "accumulate"
      | "precision"
      | "logEvery"
      | "imageEvery"
      | "valEvery"
      | "saveEvery"
      | "report"
      | "saveMinutes"
      | "keep"
    >
  > {
  /** The number of passes over the pictures, in place of `steps`. */
  readonly epochs?: number;
  /** Another rule by which the run ends early, another patience for the old one, or null for none. */
  readonly stopWhen?: Partial<StopRule> | null;
  /** Other rates of parts (all of them anew), weight decay or clipping. */
  readonly optimizer?: OptimizerChanges;
  /** Other weights for LPIPS: their files, or none. Default: the network in the checkpoint. */
  readonly perceptual?: "none" | readonly string[];
}

const changeRules = {
  ...rulesOf(
    ...["steps", "data", "val", "lr", "lrFloor", "batch", "accumulate", "precision"] as const,
    ...["logEvery", "imageEvery", "valEvery", "saveEvery", "saveMinutes", "keep", "report"] as const,
  ),
  epochs: positive,
  stopWhen: orNull(object),
  optimizer: object,
  perceptual: rule('a list of files, or "none"', (choice) => choice === "none" || texts.accepts(choice)),
};

/**
 * Resumes a run from its folder or from one of its checkpoints. The following steps compute the same bits as without
 * the interruption. What was frozen (`setRequiresGrad(false)`) when the checkpoint was saved is frozen again. Changes, and
 * pictures that are not those of before, are announced in the run's `notes`. A checkpoint that is not the run's last one goes
 * on in a new folder, which begins with a copy of the metrics and pictures up to its step.
 * @param ranks the processes that train together (`openRanks`). There may be more or fewer than before, if a step has as many
 * pictures.
 * @throws NotResumableError if the file holds only weights; RunInUseError if another process trains the run;
 * MissingPicturesError if its pictures are not where they were; FormatError if the file says something that cannot be; an Error
 * if an option cannot be changed, or the disk has no room for a checkpoint
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
  ranks: Ranks = oneRank,
): Promise<Run> {
  checkOptions<object>("resumeRun", changes, changeRules);
  checkOptions("resumeRun: optimizer", changes.optimizer ?? {}, optimizerChangeRules);
  checkOptions("resumeRun: loading", loading, loadingRules);
  const path = await checkpointOf(runOrFile);
  const source = new RunFolder(join(dirname(path), ".."));
  const isLast = await isLastOf(source, path);
  const left = isLast ? await ranks.first("taking the folder", () => source.take()) : [];
  try {
    return await freedOnError((own) => resume({ path, source, isLast, left }, changes, loading, own, ranks));
  } catch (error) {
    source.release();
    throw error;
  }
}

/** Whether a checkpoint is the last one of the run in whose folder it lies. */
async function isLastOf(folder: RunFolder, path: string): Promise<boolean> {
  if (basename(dirname(resolve(path))) !== "checkpoints") return false; // it was moved out of its run
  if (resolve(path) === resolve(folder.lastCheckpoint)) return true;
  const last = await readRunState(folder.lastCheckpoint).catch(() => null);
  return last === null ? basename(path).startsWith("last.") : last.step === (await readRunState(path)).step;
}

interface Place {
  readonly path: string;
  /** The folder of the run that has the checkpoint. */
  readonly source: RunFolder;
  readonly isLast: boolean;
  /** Unfinished files in it. */
  readonly left: readonly string[];
}

async function resume(
  place: Place,
  changes: ResumeChanges,
  loading: Loading,
  own: Own,
  ranks: Ranks,
): Promise<Run> {
  const { path, source, isLast, left } = place,
    { perceptual, optimizer, stopWhen, epochs, ...options } = changes;
  const reporter = new Notes(), saved = await readRunState(path), { step } = saved;
  const lpips = perceptual === undefined ? null : await sourceOf(perceptual);
  const old = saved.settings.model;
  const model = perceptual === undefined
    ? old
    : withOverrides(old, perceptualOverrides(lpips, old.lossconfig.perceptualWeight));
  const chosen: RunSettings = {
    ...absolute({ ...saved.settings, ...given(options) }),
    optimizer: { ...saved.settings.optimizer, ...given(optimizer ?? {}) },
    stopWhen: ruleFor(saved.settings.stopWhen, stopWhen),
    model,
    ranks: ranks.size,
  };
  checkSettings("resumeRun", chosen);
  checkRanks(saved.settings, chosen);
  const isSameVal = options.val === undefined, aboutPictures = new Notes();
  const { list, progress } = await picturesOf(saved, chosen, source, isSameVal, aboutPictures, loading);
  const perStep = picturesPerStep(chosen);
  const steps = epochs === undefined ? chosen.steps : stepsIn(epochs, list.train, perStep);
  if (steps < step) throw tooShort("the run", step, { steps, epochs, pictures: list.train, perStep });
  const settings: RunSettings = {
    ...chosen,
    steps,
    valEvery: options.valEvery ?? intervalFor(saved.settings, steps),
  };
  checkMeasurable("resumeRun", settings.stopWhen, {
    held: list.held,
    hasLpips: model.lossconfig.perceptualWeight > 0,
    size: settings.size,
  });
  await checkSameSettings(ranks, { step, ...settings });
  await checkSame(ranks, "pictures", `${list.train} and ${list.held}, ${list.hash}`);
  const isSameMetric = settings.stopWhen?.metric === saved.settings.stopWhen?.metric;
  if (!isSameMetric || perceptual !== undefined) progress.patience = null;
  const ended = whyEnded(settings, step, progress.patience);
  reporter.add({
    kind: "resumed",
    checkpoint: path,
    step,
    text: `resuming ${path} at step ${step} of ${settings.steps}`,
  });
  for (const note of describeChanges(saved.settings, settings, step)) reporter.add(note);
  if (ended === null) { for (const note of describePlan(settings, step)) reporter.add(note); }
  if (perceptual !== undefined) {
    reporter.add({ kind: "changed", option: "perceptual", text: describePerceptual(lpips, perceptual) });
  }
  for (const file of left) {
    const text = `left as it is: ${file}, an unfinished file of a process that may still run`;
    reporter.add({ kind: "warning", text });
  }

  for (const note of aboutPictures.all) reporter.add(note);
  if (perceptual !== undefined) forgetMeasurements(progress, reporter, "the perceptual network has changed");
  const pictures = openPictures(list, settings, reporter, progress.samples?.paths);
  pictures.pictures.restore(progress.sampler);

  const net = own(new VQGAN(model, null, { withLoss: true }));
  checkSize(settings, net);
  const random = {
    dropout: ofRank(Random.from(saved.random.dropout), ranks),
    restart: Random.from(saved.random.restart),
  };
  const parts = await makeTrainer(net, settings, random, own, ranks);
  const { onListed: _onListed, ...reading } = loading;
  await restoreTrainer(path, parts.trainer, { ...reading, withoutPerceptual: perceptual !== undefined });
  if (lpips && net.loss?.perceptual_loss) await fillPerceptual(net.loss.perceptual_loss, lpips);
  const frozen = frozenParameters(parts.trainer);
  if (frozen.length > 0) {
    const text = `frozen, as before: ${frozen.length} tensors, the first is ${frozen[0]}`;
    reporter.add({ kind: "model", text });
  }
  if (ended === null) {
    await ranks.first("looking for room", () => checkRoom(source.path, parts.trainer));
    for (const note of await warnOfRoom(source.path, parts.trainer, settings)) reporter.add(note);
  } else {
    reporter.add({ kind: "finished", step, text: `the run is finished: ${ended}` });
  }

  const folder = await folderOfAll(ranks, async () => {
    const folder = isLast ? source : await branch(place, saved, reporter);
    const write = async () => {
      await folder.writeConfig(settings);
      await folder.writePictures(list.hash, list.text);
      if (!isLast) await folder.adopt(path); // last, so that half a folder is not taken for a run
      await keepNames(folder, step, progress);
    };
    await (isLast ? write() : folder.removedOnError(write));
    return folder;
  });
  return {
    settings,
    ...parts,
    ...pictures,
    list,
    folder,
    random,
    progress,
    // a last.ckpt goes on as last.safetensors
    saved: await ranks.first("looking", () => folder.hasCheckpoint(basename(folder.lastCheckpoint)))
      ? step
      : null,
    reporter,
    notes: reporter.all,
  };
}

/** @throws SettingError if other ranks would make other steps: it names the numbers, and what fits */
function checkRanks(before: RunSettings, now: RunSettings): void {
  const [was, is] = [picturesPerStep(before), picturesPerStep(now)];
  if (before.ranks === now.ranks || was === is) return;
  const inWords = ({ batch, accumulate, ranks }: RunSettings) =>
    `batch ${batch} x accumulate ${accumulate} x ${ranks} rank${ranks === 1 ? "" : "s"}`;
  const accumulate = was / (now.batch * now.ranks);
  throw new SettingError((word) => {
    const fits = Number.isInteger(accumulate)
      ? `${word("accumulate", accumulate)} makes it ${was} here`
      : `start ${before.ranks} ranks, or choose ${word("batch")} and ${
        word("accumulate")
      } so that it is ${was}`;
    return `a step of the run has ${was} pictures (${inWords(before)}), but here it would have ${is} (${
      inWords(now)
    }): ${fits}`;
  });
}

/** The interval between measurements follows the number of steps, unless the user has chosen it. */
function intervalFor({ steps, valEvery }: RunSettings, wanted: number): number {
  return valEvery === suitedInterval(steps) ? suitedInterval(wanted) : valEvery;
}

/** The rule by which a run ends early, with what is changed about it. */
function ruleFor(before: StopRule | null, change: ResumeChanges["stopWhen"]): StopRule | null {
  if (change === undefined) return before;
  return change && { ...(before ?? { metric: "", patience: defaultPatience }), ...given(change) };
}

/** Makes a new folder for a run that goes on from one of its older checkpoints. */
async function branch({ path, source }: Place, saved: RunState, reporter: Notes): Promise<RunFolder> {
  const isMoved = basename(dirname(resolve(path))) !== "checkpoints";
  const out = isMoved ? dirname(path) : dirname(source.path);
  const folder = await RunFolder.create(out, saved.settings.name);
  await folder.removedOnError(async () => {
    await folder.take();
    await folder.branchFrom(source, saved.step, saved.best?.file ?? null);
  });
  const why = isMoved
    ? `${path} is outside the folder of its run`
    : `step ${saved.step} is not the last step of ${source.path}, which stays as it is`;
  const text = `${why}: the run goes on in a new folder, ${folder.path}`;
  reporter.add({ kind: "branched", from: path, folder: folder.path, text });
  return folder;
}

/** Gives the last checkpoint its other names again, if the process was killed before it had them, and forgets those that are gone. */
async function keepNames(folder: RunFolder, step: number, progress: Progress): Promise<void> {
  const { best, kept } = progress;
  const isThere = async (name: string, from: number) => {
    if (await folder.hasCheckpoint(name)) return true;
    if (from === step) await folder.keepLastAs(name);
    return from === step;
  };
  if (best?.file != null && !await isThere(best.file, best.step)) progress.best = { ...best, file: null };
  const found: string[] = [];
  for (const name of kept) if (await isThere(name, name === fileOfStep(step) ? step : NaN)) found.push(name);
  progress.kept = found;
}
