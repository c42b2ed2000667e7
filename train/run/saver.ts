// Writes the checkpoints of a run. One that cannot be written is tried again, and the last one stays. When a run ends, whatever
// the reason, its last step is saved, as long as the weights are healthy.
import { jointState } from "../../data/pictures/sampler.ts";
import { asyncScope, full, noGrad, scope } from "../../src/index.ts";
import { checkSameBits } from "../distributed/same.ts";
import { DivergedError, GuardError, NotSavedError, RunTakenError } from "../errors.ts";
import { saveCheckpoint } from "./checkpoint.ts";
import { fileOfStep } from "./folder.ts";
import { reasonOf } from "./notes.ts";
import { checkRoom } from "./room.ts";
import type { Run } from "./run.ts";
import type { Showing } from "./showing.ts";
import type { Best } from "./state.ts";

/** Milliseconds after which a checkpoint that could not be written is tried again. */
const retryAfter = 60_000;

/** The checkpoints of one training. */
export class Saver {
  readonly #run: Run;
  readonly #showing: Showing;
  /** The step at which the training began. */
  readonly #begin: number;
  /** When the last checkpoint was written, or the training began. */
  #time = performance.now();
  /** Since when checkpoints cannot be written, and why. */
  #failure: { time: number; times: number; reason: string } | null = null;

  constructor(run: Run, showing: Showing) {
    this.#run = run;
    this.#showing = showing;
    this.#begin = run.trainer.step;
  }

  /** Whether it is time to save: a step that is to be saved, enough minutes, or enough of them since saving failed. */
  get isDue(): boolean {
    const { trainer: { step }, settings: { steps, saveEvery, saveMinutes } } = this.#run,
      now = performance.now();
    if (step % saveEvery === 0 || step === steps) return true;
    if (this.#failure !== null) return now - this.#failure.time > retryAfter;
    return saveMinutes > 0 && now - this.#time > saveMinutes * 60_000;
  }

  /**
   * Writes last.safetensors, unless it has this step already. A failure is told, and nothing else is lost.
   * @returns whether the step is saved
   * @throws DivergedError if a weight is not a finite number; RunTakenError if another process has the folder now
   */
  async save(): Promise<boolean> {
    return this.#run.saved === this.#run.trainer.step || await this.#write();
  }

  /** Saves a step that has the lowest loss so far, and keeps it beside the last one. */
  async saveBest(best: Omit<Best, "file">): Promise<void> {
    const { trainer: { step, ranks }, progress, folder, reporter } = this.#run;
    const before = progress.best, file = fileOfStep(step);
    progress.best = { ...best, file };
    if (await this.#write()) {
      const keep = async () => {
        await folder.keepLastAs(file);
        const old = before?.file;
        if (old && old !== file && !progress.kept.includes(old)) await folder.removeCheckpoint(old);
        return true;
      };
      const isKept = await reporter.attempt("best", step, () => ranks.first("keeping the best", keep));
      if (!isKept) progress.best = { ...best, file: null };
    } else progress.best = before;
  }

  /** The names under which the latest checkpoints stay, with that of this step. */
  #keptNow(): readonly string[] {
    const { trainer: { step }, settings: { keep }, progress: { kept } } = this.#run, name = fileOfStep(step);
    return keep === 0 ? [] : [...kept.filter((other) => other !== name), name].slice(-keep);
  }

  /** Gives the checkpoint that was just written its name among the latest ones, and removes those that are no longer among them. */
  async #keepLatest(before: readonly string[]): Promise<void> {
    const { trainer: { step, ranks }, progress: { kept, best }, folder, reporter } = this.#run;
    if (!ranks.isFirst) return;
    await reporter.attempt("kept", step, async () => {
      if (kept.includes(fileOfStep(step))) await folder.keepLastAs(fileOfStep(step));
      for (const name of before) {
        if (!kept.includes(name) && name !== best?.file) await folder.removeCheckpoint(name);
      }
    });
  }

  /** Saves the last step. @throws NotSavedError if it cannot be written */
  async finish(): Promise<void> {
    if (await this.save()) return;
    const { trainer: { step }, folder } = this.#run;
    throw new NotSavedError(step, this.#run.saved, this.#failure?.reason ?? "", folder.lastCheckpoint);
  }

  /** Saves what an error has not damaged. Never throws, because the error is what the user must see. */
  async rescue(error: unknown): Promise<void> {
    const { trainer, folder: { lastCheckpoint }, reporter } = this.#run, { step } = trainer;
    const isLost = [DivergedError, GuardError, RunTakenError, NotSavedError].some((kind) =>
      error instanceof kind
    );
    if (isLost || step === this.#begin || this.#run.saved === step) return;
    const kept = this.#run.saved === null
      ? "no checkpoint had been saved yet"
      : `step ${this.#run.saved} stays the last one that is saved`;
    if (trainer.isBroken) {
      reporter.add({
        kind: "unsaved",
        step,
        text: `the step that failed had changed some of the weights, and ${kept}`,
      });
      return;
    }
    try {
      if (!await this.save()) return;
      reporter.add({
        kind: "saved",
        step,
        checkpoint: lastCheckpoint,
        text: `step ${step} is saved: ${lastCheckpoint}`,
      });
    } catch (second) {
      reporter.add({
        kind: "unsaved",
        step,
        text: `step ${step} could not be saved: ${reasonOf(second)}; ${kept}`,
      });
    }
  }

  #write(): Promise<boolean> {
    return this.#run.reporter.aside("saving", async () => {
      const isSaved = await this.#writeNow();
      if (isSaved) await this.#showing.files();
      return isSaved;
    });
  }

  async #writeNow(): Promise<boolean> {
    await this.#checkWeights();
    const { trainer, folder, settings, progress, list: { hash, train, held }, reporter } = this.#run;
    const { step, ranks, optimizers } = trainer, { kept } = progress;
    await trainer.shareStatistics();
    await this.#run.usage.collect();
    await checkSameBits(
      ranks,
      Object.values(optimizers).flatMap(({ parameters }) => [...parameters.values()]),
      "a machine is faulty, or the GPUs have different drivers; repair that and resume from the last checkpoint",
    );
    const sampler = jointState(await ranks.gather(progress.sampler), settings.batch);
    if (this.isDue) progress.kept = this.#keptNow();
    try {
      await ranks.first("saving", async () => {
        await folder.prepareCheckpoints();
        folder.checkOwned();
        await checkRoom(folder.path, trainer);
        const state = { ...progress, sampler, step, pictures: { hash, train, held }, settings };
        await saveCheckpoint(folder.lastCheckpoint, trainer, state);
      });
    } catch (error) {
      progress.kept = kept;
      if (error instanceof RunTakenError) throw error;
      const reason = reasonOf(error), times = (this.#failure?.times ?? 0) + 1;
      if (reason !== this.#failure?.reason) {
        const last = this.#run.saved === null
          ? "nothing is saved yet"
          : `step ${this.#run.saved} is the last one that is saved`;
        const text =
          `warning: step ${step} could not be saved: ${reason}. It is tried again every minute; ${last}`;
        reporter.add({ kind: "unsaved", step, text });
      }
      this.#failure = { time: performance.now(), times, reason };
      return false;
    }
    this.#run.saved = step;
    this.#time = performance.now();
    await this.#keepLatest(kept);
    if (this.#failure) {
      const text = `step ${step} is saved, after ${this.#failure.times} failed attempts`;
      reporter.add({ kind: "saved", step, checkpoint: folder.lastCheckpoint, text });
      this.#failure = null;
    }
    return true;
  }

  /**
   * @throws DivergedError if a weight is not a finite number. The sum of all weights is finite only if each of them is.
   */
  async #checkWeights(): Promise<void> {
    const parameters = this.#run.trainer.model.namedParameters();
    const total = await asyncScope(async () => {
      const sum = noGrad(() =>
        scope(() => [...parameters.values()].reduce((sum, p) => sum.add(p.sum()), full([], 0)))
      );
      return await sum.item();
    });
    if (!Number.isFinite(total)) throw this.diverged("a weight is not a finite number");
  }

  /** Returns the error for a run whose numbers are no longer finite. */
  diverged(what: string): DivergedError {
    const { trainer: { step }, folder } = this.#run;
    const kept = this.#run.saved === null
      ? "no checkpoint had been saved yet"
      : `the last good checkpoint, of step ${this.#run.saved}, is kept: ${folder.lastCheckpoint}`;
    return new DivergedError(`step ${step}: ${what}`, kept);
  }
}
