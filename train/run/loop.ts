// The loop around the training step: it logs, saves pictures and checkpoints, validates, and stops cleanly.
import { type Batch, type Picture, savePng, sideBySide, toPictures } from "../../data/index.ts";
import type { VQGAN } from "../../nn/index.ts";
import { aSignal, callback, checkOptions, rule, type Rules } from "../../src/check.ts";
import { asyncScope, full, keep, noGrad, scope, type Tensor, tensor } from "../../src/index.ts";
import { join } from "node:path";
import { saveCheckpoint } from "./checkpoint.ts";
import { initializeCodebook } from "../codebook.ts";
import { DivergedError } from "../errors.ts";
import type { Run } from "./run.ts";
import { stepName } from "./folder.ts";
import type { Logs } from "../step.ts";
import { type Measurements, readItems, validate } from "../validate.ts";

/** Shows the progress of a training, for example with a progress bar. */
export interface TrainMonitor {
  /** Called after each step. The text has the step's losses. */
  update(step: number, text?: string): void;
  /** Called for an event that deserves its own line. */
  log(line: string): void;
}

/** How `train` is watched and stopped. */
export interface TrainOptions {
  /** Receives every step, and events that deserve their own line. */
  readonly monitor?: TrainMonitor;
  /** If it is aborted, the current step is finished and saved, and the training ends. */
  readonly signal?: AbortSignal;
}

const isMonitor = (monitor: unknown) => {
  const { update, log } = (monitor ?? {}) as Partial<TrainMonitor>;
  return callback.accepts(update) && callback.accepts(log);
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
  /** The first measurements on the validation pictures; null if there are no such pictures. */
  readonly before: Measurements | null;
  /** The last measurements; null if there are no such pictures. */
  readonly after: Measurements | null;
  /** The path of the last checkpoint. */
  readonly checkpoint: string;
  /** The path of the curves; null if there is nothing to draw. */
  readonly curves: string | null;
  /**
   * The path of a sheet with originals and their reconstructions at the beginning and the end; null for a resumed run.
   */
  readonly comparison: string | null;
}

/**
 * Trains until the last step of the run.
 * @throws DivergedError if a loss or a weight becomes NaN or infinite; the last good checkpoint stays.
 */
export async function train(run: Run, options: TrainOptions = {}): Promise<TrainOutcome> {
  checkOptions("train", options, rules);
  return await new Loop(run, options).go();
}

class Loop {
  readonly #run: Run;
  readonly #monitor: TrainMonitor;
  readonly #signal: AbortSignal | undefined;
  #best: Run["best"];
  #epoch: number;
  #saved: number | null;
  #text = "";
  #measured: Measurements | null = null;
  #first: Picture[] | null = null;
  #clock = { time: performance.now(), step: 0 };

  constructor(run: Run, { monitor, signal }: TrainOptions) {
    this.#run = run;
    this.#monitor = monitor ?? { update: () => {}, log: () => {} };
    this.#signal = signal;
    this.#best = run.best;
    this.#epoch = run.epoch;
    this.#saved = run.isNew ? null : run.trainer.step;
  }

  async go(): Promise<TrainOutcome> {
    const { trainer, settings, folder, pictures, isNew } = this.#run;
    if (isNew) await this.#open();
    const before = this.#measured;
    const batches = pictures.batches(settings.batch);
    this.#clock = { time: performance.now(), step: trainer.step };
    while (trainer.step < settings.steps && !this.#signal?.aborted) await this.#step(batches);
    await batches.return(undefined);
    const interrupted = trainer.step < settings.steps;
    if (this.#saved !== trainer.step) await this.#save(null);
    const comparison = interrupted ? null : await this.#compare();
    return {
      step: trainer.step,
      interrupted,
      before,
      after: this.#measured,
      checkpoint: folder.lastCheckpoint,
      curves: await folder.drawCurves(),
      comparison,
    };
  }

  /** Prepares a new run: initializes the codebook of a new model, saves the first pictures and validates. */
  async #open(): Promise<void> {
    const { settings, trainer: { model }, pictures, random } = this.#run;
    if (settings.from === null) {
      const state = pictures.state();
      const count = await initializeCodebook(model, pictures.batches(settings.batch), random.restart);
      pictures.restore(state);
      this.#monitor.log(`codebook: k-means of ${count} vectors of the untrained encoder`);
    }
    this.#first = await this.#saveImages();
    await this.#validate();
  }

  async #step(batches: AsyncGenerator<Batch>): Promise<void> {
    const { settings, trainer, restarts } = this.#run;
    const read: Batch[] = [];
    while (read.length < settings.accumulate) {
      const next = await batches.next();
      if (!next.done) read.push(next.value);
    }
    this.#epoch = read[read.length - 1].epoch;
    await asyncScope(async () => {
      const lr = trainer.lr;
      const images = read.map(({ pixels, shape }) => tensor(pixels, shape));
      const { logs, indices } = await trainer.trainStep(images);
      const step = trainer.step;
      const isDue = (every: number) => step % every === 0 || step === settings.steps;
      if (restarts) {
        restarts.observe(indices.map(keep));
        if (step % settings.restartDeadCodes === 0) await this.#restart(images[0]);
      }
      if (isDue(settings.logEvery) || step === 1) await this.#log(logs, lr);
      this.#monitor.update(step, this.#text);
      if (isDue(settings.imageEvery)) await this.#saveImages();
      if (isDue(settings.valEvery)) await this.#validate();
      if (isDue(settings.saveEvery) || this.#signal?.aborted) await this.#save(logs);
    });
  }

  async #log(logs: Logs, lr: number): Promise<void> {
    const { settings, trainer: { step }, folder } = this.#run;
    const values = await this.#readLogs(logs);
    const time = performance.now(), seconds = (time - this.#clock.time) / 1000;
    const perStep = settings.batch * settings.accumulate;
    const rate = (step - this.#clock.step) * perStep / seconds;
    this.#clock = { time, step };
    await folder.addMetrics({ step, epoch: this.#epoch, lr, images_per_second: rate, ...values });
    const shown: [string, string][] = [["rec", "train/rec_loss"], ["lpips", "train/p_loss"], [
      "quant",
      "train/quant_loss",
    ], ["disc", "train/disc_loss"]];
    this.#text = shown.filter(([, name]) => values[name] !== 0)
      .map(([label, name]) => `${label} ${values[name].toPrecision(3)}`).join(" ");
  }

  async #restart(images: Tensor): Promise<void> {
    const { restarts, trainer: { step }, folder } = this.#run;
    if (!restarts) return;
    const { moved, perplexity } = await restarts.restart(images);
    await folder.addMetrics({
      step,
      "train/codes_restarted": moved,
      "train/codebook_perplexity": perplexity,
    });
  }

  async #validate(): Promise<void> {
    const { validation, settings, trainer, folder } = this.#run;
    if (!validation) return;
    const { step } = trainer;
    this.#measured = await validate(trainer.model, validation, settings.batch, step);
    await folder.addMetrics({ step, epoch: this.#epoch, ...this.#measured });
    const { "val/psnr": psnr, "val/rec_loss": loss, "val/p_loss": p } = this.#measured;
    const lpips = p === 0 ? "" : `, LPIPS ${p.toFixed(4)}`;
    const count = validation.length;
    this.#monitor.log(
      `step ${step}: PSNR ${psnr.toFixed(2)} dB${lpips}, rec_loss ${loss.toFixed(4)} ` +
        `(mean of ${count} validation pictures)`,
    );
    if (step > 0 && loss < (this.#best?.loss ?? Infinity)) await this.#save(null, loss);
  }

  /**
   * Writes last.safetensors. With `loss`, the lowest validation loss so far, the file is also kept as the best
   * checkpoint.
   */
  async #save(logs: Logs | null, loss?: number): Promise<void> {
    const { trainer, folder, restarts, random, settings, pictures } = this.#run;
    const { step } = trainer;
    if (this.#saved === step && loss === undefined) return;
    if (logs) await this.#readLogs(logs);
    await this.#checkWeights();
    const replaced = this.#best?.file ?? null;
    const file = `${stepName(step)}.safetensors`;
    if (loss !== undefined) this.#best = { loss, file };
    await saveCheckpoint(folder.lastCheckpoint, trainer, {
      step,
      epoch: this.#epoch,
      sampler: pictures.state(),
      random: { dropout: random.dropout.state(), restart: random.restart.state() },
      best: this.#best,
      codeCounts: restarts ? [...await restarts.collect()] : null,
      settings,
    });
    this.#saved = step;
    if (loss !== undefined) await folder.keepLastAsBest(file, replaced);
  }

  /** @throws DivergedError if a loss is not a finite number. */
  async #readLogs(logs: Logs): Promise<Record<string, number>> {
    const values = await readItems(logs);
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) throw this.#diverged(`${name} is ${value}`);
    }
    return values;
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
    if (!Number.isFinite(total)) throw this.#diverged("a weight is not a finite number");
  }

  #diverged(what: string): DivergedError {
    const { trainer: { step }, folder } = this.#run;
    const kept = this.#saved === null
      ? "no checkpoint had been saved yet"
      : `the last good checkpoint, of step ${this.#saved}, is kept: ${folder.lastCheckpoint}`;
    return new DivergedError(`step ${step}: ${what}, so training stopped; ${kept}`);
  }

  /** Saves the samples above their reconstructions in images/. @returns the reconstructions */
  async #saveImages(): Promise<Picture[]> {
    const { samples, trainer: { model, step }, folder } = this.#run;
    const { inputs, outputs } = await reconstructAll(model, samples.batches(1, { epochs: 1 }));
    await folder.saveImages(step, inputs, outputs);
    return outputs;
  }

  /**
   * Draws a sheet with the original and the reconstructions before and after the training, for two pictures per row.
   */
  async #compare(): Promise<string | null> {
    const { samples, trainer: { model }, folder } = this.#run;
    if (!this.#first) return null;
    const { inputs, outputs } = await reconstructAll(model, samples.batches(1, { epochs: 1 }));
    const path = join(folder.path, "before-after.png");
    const first = this.#first;
    const across = inputs.length % 2 === 0 ? 2 : 1;
    const rows: Picture[][] = Array.from({ length: inputs.length / across }, () => []);
    inputs.forEach((input, i) => rows[Math.floor(i / across)].push(input, first[i], outputs[i]));
    const labels = Array.from({ length: across }, () => ["original", "before", "after"]).flat();
    await savePng(path, await sideBySide(rows, { labels }));
    return path;
  }
}

async function reconstructAll(
  model: VQGAN,
  batches: AsyncIterable<Batch>,
): Promise<{ inputs: Picture[]; outputs: Picture[] }> {
  const inputs: Picture[] = [], outputs: Picture[] = [];
  for await (const { pixels, shape, pictures } of batches) {
    const floats = await asyncScope(() => model.reconstruct(tensor(pixels, shape)).floats());
    inputs.push(...pictures);
    outputs.push(...toPictures(floats, shape, model.range));
  }
  return { inputs, outputs };
}
