// The numbers of a run: the losses of its steps and the measurements on pictures that stay the same, in metrics.jsonl and as
// lines for the user.
import type { Tensor } from "../../src/index.ts";
import type { ImageDataset } from "../../data/index.ts";
import { meansOver } from "../distributed/ranks.ts";
import type { Logs } from "../logs.ts";
import { type Reconstructed, WorstPictures } from "../report/worst.ts";
import { type Measurements, readItems, validate } from "../validate.ts";
import type { Metrics } from "../report/metrics_file.ts";
import type { GanCourse } from "./gan_course.ts";
import type { Outlook } from "./outlook.ts";
import type { Run } from "./run.ts";
import type { Saver } from "./saver.ts";
import type { Showing } from "./showing.ts";
import { observed, passesDone, whyStopped } from "./stopping.ts";
import { lossOf, overfitting } from "./verdict.ts";

/** The losses that are shown behind the progress, with their labels. */
const shown: readonly [label: string, name: string][] = [
  ["rec", "train/rec_loss"],
  ["lpips", "train/p_loss"],
  ["quant", "train/quant_loss"],
  ["disc", "train/disc_loss"],
];

/** What is told of training pictures. Without augmentation, it is comparable with the pictures kept back. */
const seenNames: readonly string[] = ["val/psnr", "val/ssim", "val/rec_loss", "val/p_loss", "val/pictures"];

/** How well the discriminator tells pictures from reconstructions, as long as it learns. */
function discriminatorInWords(values: Record<string, number>): string[] {
  if (values["train/disc_loss"] === 0) return [];
  const percent = ["real", "fake"].map((kind) => `${Math.round(100 * values[`train/disc_acc_${kind}`])}`);
  return [`acc ${percent.join("/")} % gap ${values["train/logit_gap"].toPrecision(2)}`];
}

/** Measures one training. */
export class Measuring {
  readonly #run: Run;
  readonly #saver: Saver;
  readonly #gan: GanCourse;
  readonly #outlook: Outlook;
  readonly #showing: Showing;
  /** When losses were logged last, not counting the time of other work than steps. */
  #clock: { time: number; step: number };
  #hasOverfitted = false;
  /** The losses that were logged last, for the progress line. */
  text = "";

  constructor(run: Run, saver: Saver, showing: Showing, gan: GanCourse, outlook: Outlook) {
    this.#run = run;
    this.#saver = saver;
    this.#showing = showing;
    this.#gan = gan;
    this.#outlook = outlook;
    this.#clock = { time: this.#now(), step: run.trainer.step };
  }

  /** Measures the rate anew, after the run has gone back. */
  restartClock(): void {
    this.#clock = { time: this.#now(), step: this.#run.trainer.step };
  }

  /** Writes the losses of a step. @throws DivergedError if one of them is not a finite number */
  async log(logs: Logs, lr: number): Promise<void> {
    const { trainer: { step }, progress: { epoch, sampler } } = this.#run;
    const values = await this.read(logs);
    const time = this.#now(), seconds = (time - this.#clock.time) / 1000;
    const each = seconds / (step - this.#clock.step);
    this.#clock = { time, step };
    const { usage, perplexity, tokens } = await this.#run.usage.recent();
    const codes = {
      "train/codebook_usage": usage,
      "train/perplexity": perplexity,
      "train/codebook_tokens": tokens,
    };
    const times: Record<string, number> = { passes: passesDone(sampler), seconds_per_step: each };
    const left = this.#outlook.secondsLeft;
    if (left !== null) times.seconds_left = left;
    await this.#write({ step, epoch, lr, ...times, ...values, ...codes });
    const losses = shown.filter(([, name]) => values[name] !== 0)
      .map(([label, name]) => `${label} ${values[name].toPrecision(3)}`).concat(discriminatorInWords(values));
    this.text = [...losses, `codes ${percent(usage)}`, `perplexity ${perplexity.toPrecision(3)}`].join(" ");
  }

  #now(): number {
    return performance.now() - this.#run.reporter.asideTime;
  }

  /** Reads the losses of a step, averaged over all ranks. @throws DivergedError if one of them is not a finite number */
  async read(logs: Logs): Promise<Record<string, number>> {
    const values = await meansOver(this.#run.trainer.ranks, await readItems(logs));
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) throw this.#saver.diverged(`${name} is ${value}`);
    }
    return values;
  }

  /** Moves the codes that were not chosen to vectors of the pictures. */
  async restart(images: Tensor): Promise<void> {
    const { restarts, trainer: { step } } = this.#run;
    if (!restarts) return;
    await this.#write({ step, "train/codes_restarted": await restarts.restart(images) });
  }

  /**
   * Measures the model on the pictures kept back and on some training pictures, and saves it if it is the best so far. A
   * failure is told and counted.
   */
  async measure(): Promise<void> {
    const { trainer, progress, list, reporter } = this.#run, { step, model } = trainer;
    await trainer.shareStatistics();
    const values = await reporter.attempt("validation", step, () => this.#values());
    if (values === null) return;
    const isFirst = progress.first === null;
    progress.last = { step, values };
    progress.first ??= progress.last;
    await this.#write({ step, epoch: progress.epoch, ...values });
    await this.#showing.weights();
    const text = `step ${step}: ${inWords(values, list.learnt, model.config.nEmbed)}`;
    reporter.add({ kind: "measured", step, values, text });
    const loss = lossOf(values);
    if (!Number.isFinite(loss)) throw this.#saver.diverged(`rec_loss is measured as ${loss}`);
    this.#gan.afterMeasurement(loss, isFirst);
    this.#observe(values);
    const best = { step, loss, seen: values["seen/rec_loss"] ?? null };
    if (isFirst && this.#run.saved === null) progress.best = { ...best, file: null }; // it is the file that the run started from
    else if (loss < (progress.best?.loss ?? Infinity)) await this.#saver.saveBest(best);
    const heart = overfitting(progress);
    if (heart !== null && !this.#hasOverfitted) {
      reporter.add({ kind: "overfitting", step, text: `warning: ${heart}` });
    }
    this.#hasOverfitted = heart !== null;
  }

  /** Looks whether a metric no longer gets better, and the run ends early. */
  #observe(values: Measurements): void {
    const { trainer: { step }, settings: { stopWhen }, progress, reporter } = this.#run;
    if (stopWhen === null) return;
    progress.patience = observed(stopWhen, progress.patience, step, values);
    const why = whyStopped(stopWhen, progress.patience);
    if (why !== null) {
      reporter.add({
        kind: "stopped",
        step,
        metric: stopWhen.metric,
        text: `step ${step}: the run ends, because ${why}`,
      });
    }
  }

  async #values(): Promise<Measurements> {
    const { validation, seen, settings: { batch }, trainer, folder, reporter } = this.#run,
      { model, step, ranks, options: { identity } } = trainer;
    const worst = new WorstPictures();
    const measured = (what: string, pictures: ImageDataset) => {
      const onPicture = pictures === (validation ?? seen)
        ? (one: Reconstructed) => worst.add(one)
        : undefined;
      return reporter.aside(
        what,
        (watch) =>
          trainer.evaluate(() =>
            validate(model, pictures, batch, step, { ...watch, onPicture, identity, ranks })
          ),
      );
    };
    const known = Object.entries(await measured("measuring training pictures", seen))
      .filter(([name]) => seenNames.includes(name))
      .map(([name, value]) => [name.replace("val/", "seen/"), value]);
    const held = validation ? await measured("validating", validation) : {};
    const found = (await ranks.gather(worst.list)).flat(), worstOfAll = new WorstPictures();
    for (const one of found) worstOfAll.add(one);
    if (ranks.isFirst) {
      await reporter.attempt("pictures", step, async () => {
        await folder.saveSheet("worst", step, worstOfAll.list);
        await this.#showing.sheet("worst");
      });
    }
    return { ...held, ...Object.fromEntries(known) };
  }

  async #write(metrics: Metrics): Promise<void> {
    const { folder, reporter, trainer: { step, ranks } } = this.#run;
    if (!ranks.isFirst) return;
    await reporter.attempt("metrics", step, () => folder.addMetrics(metrics));
    await this.#showing.metrics(metrics);
  }
}

/**
 * Measurements in one line, with the gap between training pictures and those kept back.
 * @param learnt how many of the validation pictures are not kept back, because the run has learnt from them
 * @param codes the number of codes of the model
 */
function inWords(values: Measurements, learnt: number, codes: number): string {
  const shown = (kind: string) => {
    const lpips = values[`${kind}/p_loss`] > 0 ? `, LPIPS ${values[`${kind}/p_loss`].toFixed(4)}` : "";
    return `PSNR ${values[`${kind}/psnr`].toFixed(2)} dB${lpips}, rec_loss ${
      values[`${kind}/rec_loss`].toFixed(4)
    }`;
  };
  const count = (kind: string) =>
    `${values[`${kind}/pictures`]} picture${values[`${kind}/pictures`] === 1 ? "" : "s"}`;
  const seen = `${shown("seen")} on ${count("seen")} of the training`;
  if (values["val/psnr"] === undefined) return seen;
  const used = Math.round(values["val/codebook_usage"] * codes);
  const use = `${used} of the ${codes} codes in ${values["val/codebook_tokens"]} tokens`;
  return `${shown("val")}, ${use} on ${count("val")} ${
    learnt === 0 ? "kept back" : `for validation (${learnt} of them learnt from)`
  }; ${seen}`;
}

/** A fraction as a percentage with two or three digits. */
function percent(share: number): string {
  return `${(100 * share).toPrecision(share < 0.1 ? 2 : 3)}%`;
}
