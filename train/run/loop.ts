// The loop around the training step: it prepares a new model, trains, measures, saves, and stops cleanly.
import type { Batch, SamplerState } from "../../data/index.ts";
import { aSignal, callback, checkOptions, rule, type Rules } from "../../src/check.ts";
import { asyncScope, currentBackend, keep, tensor } from "../../src/index.ts";
import { initializeCodebook } from "../codebook/kmeans.ts";
import { DivergedError, RunTakenError } from "../errors.ts";
import type { Measurements } from "../validate.ts";
import { GanCourse } from "./gan_course.ts";
import { goBack, keepFirstGood, keepGood, rewind, type Trouble } from "./guarding.ts";
import { Measuring } from "./measuring.ts";
import { type Failure, reasonOf, type TrainMonitor } from "./notes.ts";
import { isFinished, type Run, whyFinished } from "./run.ts";
import { Outlook } from "./outlook.ts";
import { drawComparison, saveSamples } from "./samples.ts";
import { Saver } from "./saver.ts";
import { Showing } from "./showing.ts";
import { passesDone } from "./stopping.ts";
import { judge, type Verdict } from "./verdict.ts";

/** How `train` is watched and stopped. */
export interface TrainOptions {
  /** Receives every step, and events that deserve their own line. */
  readonly monitor?: TrainMonitor;
  /** If it is aborted, the current step is finished and saved, and the training ends. */
  readonly signal?: AbortSignal;
}

const isMonitor = (monitor: unknown) => {
  const { update, log, note = log, aside = log } = (monitor ?? {}) as Partial<TrainMonitor>;
  return [update, log, note, aside].every(callback.accepts);
};
const rules: Rules<TrainOptions> = {
  monitor: rule("an object with the functions update and log", isMonitor),
  signal: aSignal,
};

/** How a training ended. */
export interface TrainOutcome {
  /** The number of steps done. */
  readonly step: number;
  /** Whether the signal ended it. */
  readonly interrupted: boolean;
  /** The first measurements of the run: on pictures kept back (`val/`) and on training pictures (`seen/`). */
  readonly before: Measurements | null;
  /** The last measurements, the same object if there was only one; null if there are none. */
  readonly after: Measurements | null;
  /** What the measurements say: the best checkpoint, and whether the run made the model worse or learns its pictures by heart. */
  readonly verdict: Verdict;
  /** The path of the last checkpoint. */
  readonly checkpoint: string;
  /** The path of the curves; null if there is nothing to draw. */
  readonly curves: string | null;
  /**
   * The path of a sheet with originals and their reconstructions at the beginning and the end of the run; null if the training
   * was interrupted, or the sheet could not be drawn.
   */
  readonly comparison: string | null;
  /** The path of report.html, a page with curves and pictures; null if it could not be written. */
  readonly report: string | null;
  /** What failed beside the training, and how often. */
  readonly failures: readonly Failure[];
}

/**
 * Trains until the last step of the run, or until its metric no longer gets better (`stopWhen`). If the training ends earlier,
 * for whatever reason, the last step is saved as long as its weights are finite numbers. What is not needed for training
 * (metrics, pictures, validation) may fail: it is told once, counted, and training goes on.
 * @throws DivergedError if a loss or a weight becomes NaN or infinite, and a guard cannot help; the last good checkpoint stays.
 * NotSavedError if the last step cannot be written. RunInUseError or RunTakenError if another process has the folder. Other
 * errors, such as that none of the pictures can be read any more, come after saving.
 */
export async function train(run: Run, options: TrainOptions = {}): Promise<TrainOutcome> {
  checkOptions("train", options, rules);
  return await new Loop(run, options).go();
}

class Loop {
  readonly #run: Run;
  readonly #monitor: TrainMonitor;
  readonly #signal: AbortSignal | undefined;
  readonly #showing: Showing;
  readonly #saver: Saver;
  readonly #gan: GanCourse;
  readonly #outlook: Outlook;
  readonly #measuring: Measuring;
  #hasStepped = false;
  /** Whether any rank was told to stop. */
  #isStopped = false;
  /** Whether the error that ends the training is known to all ranks, so that they can save together. */
  #isCommon: boolean;

  constructor(run: Run, { monitor, signal }: TrainOptions) {
    this.#run = run;
    this.#monitor = monitor ?? { update: () => {}, log: () => {} };
    this.#signal = signal;
    this.#isCommon = run.trainer.ranks.size === 1;
    this.#showing = new Showing(run);
    this.#saver = new Saver(run, this.#showing);
    this.#gan = new GanCourse(run);
    this.#outlook = new Outlook(run);
    this.#measuring = new Measuring(run, this.#saver, this.#showing, this.#gan, this.#outlook);
  }

  async go(): Promise<TrainOutcome> {
    const { folder, reporter, trainer: { ranks } } = this.#run;
    await ranks.first("taking the folder", () => folder.take());
    folder.startHeartbeat();
    // what several ranks do together is not ended by one of them: they agree on it after a step
    reporter.attach(this.#monitor, ranks.size === 1 ? this.#signal : undefined);
    try {
      return await this.#train();
    } catch (error) {
      if (this.#isCommon) await this.#saver.rescue(error);
      // the page that was written with the last checkpoint says that the run is training
      if (!(error instanceof RunTakenError)) {
        await this.#showing.files({ activity: "stopped", why: reasonOf(error) });
      }
      throw error;
    } finally {
      reporter.attach(null);
      folder.release();
    }
  }

  async #train(): Promise<TrainOutcome> {
    const { trainer, settings, folder, pictures, progress, reporter } = this.#run;
    const hasEnded = () => isFinished(this.#run);
    const batchesFrom = (sampler: SamplerState) => {
      pictures.restore(sampler);
      const { rank, size } = trainer.ranks;
      return pictures.batches(settings.batch, { share: { rank, size, block: settings.batch } });
    };
    let batches = batchesFrom(progress.sampler); // pictures that were read, but not used before an error, are read again
    try {
      if (!hasEnded()) {
        await rewind(this.#run);
        await this.#showing.begin();
      }
      await this.#prepare(hasEnded());
      await this.#agree();
      while (!hasEnded() && !this.#isStopped) {
        const trouble = await this.#tryStep(await this.#read(batches));
        if (trouble === null) continue;
        await batches.return(undefined);
        await goBack(this.#run, this.#saver, trouble);
        await this.#showing.begin();
        this.#measuring.restartClock();
        this.#outlook.goBack();
        batches = batchesFrom(progress.sampler);
      }
    } catch (error) {
      if (!reporter.isStop(error)) throw error;
    } finally {
      await batches.return(undefined);
    }
    await this.#saver.finish();
    const { first, last } = progress;
    return {
      step: trainer.step,
      interrupted: !hasEnded(),
      before: first?.values ?? null,
      after: (last?.step === first?.step ? first : last)?.values ?? null,
      verdict: judge(progress, ({ step, file }) => {
        if (file !== null) return folder.checkpoint(file);
        return step === first?.step ? settings.from : null;
      }),
      checkpoint: folder.lastCheckpoint,
      ...await this.#draw(whyFinished(this.#run)),
      failures: await this.#countFailures(),
    };
  }

  /**
   * Does what comes before the next step: a new model's codebook gets its first codes, and the first pictures are saved. What
   * an interruption left out, such as a validation, is made up for.
   */
  async #prepare(hasEnded: boolean): Promise<void> {
    const { settings, trainer, guard, pictures, random, progress, reporter } = this.#run;
    const { model, step, averages, ranks } = trainer;
    if (!progress.hasCodebook) {
      const batches = pictures.batches(settings.batch);
      const initialize = () =>
        reporter.aside("codebook: reading pictures", ({ signal }) => {
          const onProgress = (what: string, done: number, total: number) =>
            this.#monitor.aside?.(`codebook: ${what} ${done}/${total}`);
          return initializeCodebook(model, batches, random.restart, { signal, onProgress });
        });
      const vectors = await ranks.first("k-means of the codebook", initialize);
      await ranks.broadcast([model.quantize.codebook]);
      averages?.begin(); // with the new codes
      pictures.restore(progress.sampler);
      progress.hasCodebook = true;
      progress.random = { ...progress.random, restart: random.restart.state() };
      reporter.add({
        kind: "model",
        text: `codebook: k-means of ${vectors} vectors of the ${
          settings.from === null ? "untrained" : "loaded"
        } encoder`,
      });
    }
    const picture = progress.samples === null && !hasEnded ? await this.#drawSamples() : null;
    if (progress.first === null) guard?.forget(); // what is measured anew cannot be compared, and neither can the losses
    const isMeasured = progress.last?.step === step;
    if (progress.first === null || !isMeasured && this.#isDue(settings.valEvery)) await this.#measure();
    if (!hasEnded) await keepFirstGood(this.#run, this.#saver);
    if (!hasEnded) await reporter.attempt("estimate", step, () => this.#outlook.foresee(picture));
  }

  /** @returns the seconds of one reconstruction; null if the sheet could not be made */
  #drawSamples(): Promise<number | null> {
    const { trainer: { step, ranks }, reporter } = this.#run;
    const save = () => saveSamples(this.#run, this.#showing);
    const draw = () => reporter.attempt("pictures", step, () => ranks.first("drawing", save));
    return this.#outlook.time("draw", draw);
  }

  #measure(): Promise<void> {
    return this.#outlook.time("measure", () => this.#measuring.measure());
  }

  /** Whether something that is done after every so many steps is to be done after this one. */
  #isDue(every: number): boolean {
    const { trainer: { step }, settings: { steps } } = this.#run;
    return step % every === 0 || step === steps;
  }

  /** @returns null if the losses are fine; otherwise why a guarded run must go back @throws what a step throws */
  async #tryStep(read: readonly Batch[]): Promise<Trouble | null> {
    try {
      return await this.#step(read) ? null : "jump";
    } catch (error) {
      if (this.#run.guard && error instanceof DivergedError) return error;
      throw error;
    }
  }

  /** Lets all ranks stop if one of them was told to. @returns whether rank 0, whose clock counts, wants to save */
  async #agree(): Promise<boolean> {
    const mine = { isAborted: this.#signal?.aborted ?? false, isDue: this.#saver.isDue };
    const votes = await this.#run.trainer.ranks.gather(mine);
    this.#isStopped = votes.some(({ isAborted }) => isAborted);
    return votes[0].isDue;
  }

  /** Reads the batches of a step. @throws on all ranks if one of them cannot */
  async #read(batches: AsyncGenerator<Batch>): Promise<readonly Batch[]> {
    const { settings: { accumulate }, trainer: { ranks } } = this.#run, read: Batch[] = [];
    let failure: { readonly error: unknown } | null = null;
    try {
      while (read.length < accumulate) {
        const next = await batches.next();
        if (!next.done) read.push(next.value);
      }
    } catch (error) {
      failure = { error };
    }
    const failures = await ranks.gather(failure && reasonOf(failure.error));
    const failed = failures.findIndex((reason) => reason !== null);
    if (failed < 0) return read;
    this.#isCommon = true;
    throw failure ? failure.error : new Error(`rank ${failed}: ${failures[failed]}`);
  }

  /** @returns whether the losses are fine */
  async #step(read: readonly Batch[]): Promise<boolean> {
    const { settings, trainer, guard, usage, restarts, progress, random } = this.#run;
    if (!this.#hasStepped && currentBackend().name === "webgpu") {
      this.#monitor.update(trainer.step, "compiling the kernels of the first step");
    }
    this.#hasStepped = true;
    return await asyncScope(async () => {
      const lr = trainer.lr;
      const images = read.map(({ pixels, shape }) => tensor(pixels, shape));
      const { logs, indices } = await trainer.trainStep(images);
      const { epoch, state } = read[read.length - 1];
      progress.epoch = epoch;
      progress.sampler = state;
      progress.random = { ...progress.random, dropout: random.dropout.state() };
      const step = trainer.step;
      await usage.observe(indices.map(keep));
      if (restarts && step % settings.codebook.restartEvery === 0) {
        await this.#measuring.restart(images[0]);
        progress.random = { ...progress.random, restart: random.restart.state() };
      }
      if (await guard?.observe(logs["train/rec_loss"])) return false;
      if (this.#isDue(settings.logEvery) || step === 1) await this.#measuring.log(logs, lr);
      this.#outlook.stepped();
      const text = `pass ${passesDone(state).toFixed(2)} ${this.#measuring.text}`;
      this.#monitor.update(step, text, this.#outlook.secondsLeft ?? undefined);
      this.#gan.afterStep();
      if (this.#isDue(settings.imageEvery)) await this.#drawSamples();
      if (this.#isDue(settings.valEvery)) await this.#measure();
      const isDue = await this.#agree();
      if (isDue || this.#isStopped) {
        await this.#measuring.read(logs);
        await this.#outlook.time("save", () => this.#saver.save());
        await keepGood(this.#run);
      }
      return true;
    });
  }

  /** @param why the run is finished; null if it is not */
  async #draw(why: string | null): Promise<Pick<TrainOutcome, "curves" | "comparison" | "report">> {
    const { trainer: { step, ranks }, folder, reporter } = this.#run;
    return await ranks.first("drawing", async () => ({
      comparison: why !== null
        ? await reporter.attempt("comparison", step, () => drawComparison(this.#run))
        : null,
      curves: await reporter.attempt("curves", step, () => folder.drawCurves()),
      report: await this.#showing.files(
        why === null ? { activity: "stopped", why: "it was interrupted" } : { activity: "finished", why },
      ),
    }));
  }

  /** Says what failed more than once, and whether metrics are missing. */
  async #countFailures(): Promise<readonly Failure[]> {
    const { trainer: { step }, folder, reporter } = this.#run;
    const missing = await folder.flushMetrics();
    if (missing > 0) {
      reporter.add({
        kind: "failed",
        what: "metrics",
        step,
        text: `metrics.jsonl lacks its last ${missing} lines`,
      });
    }
    reporter.countFailures();
    return reporter.failures;
  }
}
