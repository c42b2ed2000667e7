// The numbers of a run: the losses of its steps and the measurements on the validation pictures, in metrics.jsonl and as lines
// for the user.
import type { Tensor } from "../../src/index.ts";
import type { Logs } from "../step.ts";
import { readItems, validate } from "../validate.ts";
import type { Metrics } from "./curves.ts";
import type { Run } from "./run.ts";
import type { Saver } from "./saver.ts";

/** The losses that are shown behind the progress, with their labels. */
const shown: readonly [label: string, name: string][] = [
  ["rec", "train/rec_loss"],
  ["lpips", "train/p_loss"],
  ["quant", "train/quant_loss"],
  ["disc", "train/disc_loss"],
];

/** Measures one training. */
export class Measuring {
  readonly #run: Run;
  readonly #saver: Saver;
  #clock: { time: number; step: number };
  /** The losses that were logged last, for the progress line. */
  text = "";

  constructor(run: Run, saver: Saver) {
    this.#run = run;
    this.#saver = saver;
    this.#clock = { time: performance.now(), step: run.trainer.step };
  }

  /** Writes the losses of a step. @throws DivergedError if one of them is not a finite number */
  async log(logs: Logs, lr: number): Promise<void> {
    const { settings: { batch, accumulate }, trainer: { step }, progress: { epoch } } = this.#run;
    const values = await this.read(logs);
    const time = performance.now(), seconds = (time - this.#clock.time) / 1000;
    const rate = (step - this.#clock.step) * batch * accumulate / seconds;
    this.#clock = { time, step };
    await this.#write({ step, epoch, lr, images_per_second: rate, ...values });
    this.text = shown.filter(([, name]) => values[name] !== 0)
      .map(([label, name]) => `${label} ${values[name].toPrecision(3)}`).join(" ");
  }

  /** Reads the losses of a step. @throws DivergedError if one of them is not a finite number */
  async read(logs: Logs): Promise<Record<string, number>> {
    const values = await readItems(logs);
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) throw this.#saver.diverged(`${name} is ${value}`);
    }
    return values;
  }

  /** Moves the codes that were not chosen to vectors of the pictures. */
  async restart(images: Tensor): Promise<void> {
    const { restarts, trainer: { step } } = this.#run;
    if (!restarts) return;
    const { moved, perplexity } = await restarts.restart(images);
    await this.#write({ step, "train/codes_restarted": moved, "train/codebook_perplexity": perplexity });
  }

  /** Measures the model on the validation pictures, and saves it if it is the best so far. A failure is told and counted. */
  async validate(): Promise<void> {
    const { validation, settings, trainer: { model, step }, progress, reporter } = this.#run;
    if (!validation) return;
    const values = await reporter.attempt(
      "validation",
      step,
      () => validate(model, validation, settings.batch, step),
    );
    if (values === null) return;
    progress.last = { step, values };
    progress.first ??= progress.last;
    await this.#write({ step, epoch: progress.epoch, ...values });
    const { "val/psnr": psnr, "val/rec_loss": loss, "val/p_loss": p, "val/pictures": count } = values;
    const lpips = p === 0 ? "" : `, LPIPS ${p.toFixed(4)}`;
    const text = `step ${step}: PSNR ${psnr.toFixed(2)} dB${lpips}, rec_loss ${loss.toFixed(4)} ` +
      `(mean of ${count} validation pictures)`;
    reporter.add({ kind: "measured", step, values, text });
    if (step > 0 && loss < (progress.best?.loss ?? Infinity)) await this.#saver.saveBest(loss);
  }

  async #write(metrics: Metrics): Promise<void> {
    const { folder, reporter, trainer: { step } } = this.#run;
    await reporter.attempt("metrics", step, () => folder.addMetrics(metrics));
  }
}
