// How long a run will take, with its measurements, pictures and checkpoints: foreseen before its first step from the time of
// one reconstruction, and corrected by everything that it does.
import { formatBytes } from "../../data/formats/text.ts";
import { checkpointBytes } from "./checkpoint.ts";
import type { Run } from "./run.ts";
import { countWork, diskBytes, timesDue } from "./workload.ts";

/** What a run does beside its steps. */
export type Beside = "draw" | "measure" | "save";

/** Steps are timed over so many milliseconds, so that the rate follows when the discriminator starts or the machine is busy. */
const window = 60_000;
/** How many of the last times of everything else count. */
const lastTimes = 5;
/** Bytes that a disk takes in a second, until a checkpoint was saved. */
const diskSpeed = 3e8;
/** A measurement also computes losses and SSIM: so many times a reconstruction. */
const measuring = 1.5;
/** From so many steps and milliseconds on the foreseen time of a step can be corrected. */
const enough = { steps: 10, time: 10_000 };
/** How many times longer or shorter than foreseen is worth a line. */
const surprising = 1.25;

/** Foresees the time of one training. */
export class Outlook {
  readonly #run: Run;
  /** When steps were done, without the time of everything else. */
  readonly #marks: { readonly time: number; readonly step: number }[] = [];
  readonly #times: Record<Beside, number[]> = { draw: [], measure: [], save: [] };
  /** The seconds of one step and of everything else, as foreseen. */
  #foreseen: Record<Beside | "step", number> | null = null;
  #isCorrected = false;

  constructor(run: Run) {
    this.#run = run;
  }

  /**
   * Foresees the run before its next step, and tells it.
   * @param picture the seconds of one picture's reconstruction; null if none was timed, as when a run is resumed
   */
  async foresee(picture: number | null): Promise<void> {
    const { settings, trainer: { model, step, ranks, options: { identity = null } }, reporter } = this.#run;
    if (!ranks.isFirst) return;
    const hasPerceptual = model.loss?.perceptual_loss?.ready ?? false;
    const { ratio, memory } = await countWork(settings, hasPerceptual, identity);
    const each = picture === null ? await this.#lastRate() : picture * ratio;
    if (each !== null) this.#foreseen = this.#foresee(each, each / ratio);
    const disk = await diskBytes(this.#run), seconds = this.secondsLeft;
    const time = seconds === null ? "" : `about ${inMinutes(seconds)} for ${this.#plan()}; `;
    const text = `estimate: ${time}${formatBytes(memory)} of memory for tensors, ${
      formatBytes(disk)
    } on the disk`;
    reporter.add({ kind: "estimate", step, seconds, memory, disk, text });
  }

  #foresee(step: number, picture: number): Record<Beside | "step", number> {
    const { samples, seen, validation, trainer } = this.#run;
    return {
      step,
      draw: picture * samples.length,
      measure: picture * measuring * (seen.length + (validation?.length ?? 0)) / trainer.ranks.size,
      save: checkpointBytes(trainer) / diskSpeed,
    };
  }

  /** The seconds per step that the run had before it was resumed. */
  async #lastRate(): Promise<number | null> {
    const rates = (await this.#run.folder.readMetrics()).map((row) => row.seconds_per_step)
      .filter((rate) => typeof rate === "number").slice(-20).sort((a, b) => a - b);
    return rates.length === 0 ? null : rates[rates.length >> 1];
  }

  /** Does something beside the steps, and measures its time. */
  async time<T>(kind: Beside, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await this.#run.reporter.apart(work);
    } finally {
      const times = this.#times[kind];
      times.push((performance.now() - start) / 1000);
      if (times.length > lastTimes) times.shift();
    }
  }

  /** Takes note of a step. The first one of a training counts for nothing, because it may compile kernels. */
  stepped(): void {
    const { trainer: { step }, settings: { steps }, reporter } = this.#run, marks = this.#marks;
    const time = performance.now() - reporter.asideTime;
    if (step <= (marks.at(-1)?.step ?? -1)) marks.splice(0); // the run has gone back
    marks.push({ time, step });
    while (marks.length > 2 && time - marks[1].time > window) marks.shift();
    const foreseen = this.#foreseen?.step, each = this.#measured, seconds = this.secondsLeft;
    if (this.#isCorrected || foreseen === undefined || each === null || seconds === null) return;
    if (marks.length <= enough.steps || time - marks[0].time < enough.time || step >= steps) return;
    this.#isCorrected = true;
    if (Math.max(each / foreseen, foreseen / each) < surprising) return;
    const took = `a step takes ${each.toPrecision(2)} s, and not ${foreseen.toPrecision(2)}`;
    const text = `step ${step}: ${took}: about ${inMinutes(seconds)} are left`;
    reporter.add({ kind: "estimate", step, seconds, text });
  }

  /** The run goes on from an earlier step. */
  goBack(): void {
    this.#marks.length = 0;
  }

  /** The seconds of a step, as measured; null until there are two. */
  get #measured(): number | null {
    const first = this.#marks[0], last = this.#marks.at(-1);
    return first && last && last.step > first.step
      ? (last.time - first.time) / 1000 / (last.step - first.step)
      : null;
  }

  /** The seconds until the end of the run; null if nothing is known yet. */
  get secondsLeft(): number | null {
    const { trainer: { step }, settings: { steps } } = this.#run;
    const each = this.#measured ?? this.#foreseen?.step;
    if (each === undefined) return null;
    const due = this.#due();
    due.draw++; // before-after.png
    return Object.entries(due).reduce(
      (sum, [kind, times]) => sum + times * this.#usual(kind as Beside),
      each * (steps - step),
    );
  }

  #usual(kind: Beside): number {
    const times = this.#times[kind];
    if (times.length === 0) return this.#foreseen?.[kind] ?? 0;
    return times.reduce((sum, time) => sum + time) / times.length;
  }

  #due(): Record<Beside, number> {
    const { trainer: { step }, settings: { steps, imageEvery, valEvery, saveEvery } } = this.#run;
    return {
      draw: timesDue(imageEvery, step, steps),
      measure: timesDue(valEvery, step, steps),
      save: timesDue(saveEvery, step, steps),
    };
  }

  #plan(): string {
    const { trainer: { step }, settings: { steps } } = this.#run, { draw, measure, save } = this.#due();
    const each = this.#foreseen?.step ?? 0;
    return `${count(steps - step, "step")} of ${each.toPrecision(2)} s, ${count(measure, "measurement")}, ` +
      `${count(draw, "sheet")} of pictures and ${count(save, "checkpoint")}`;
  }
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** Seconds as "40 s", "12 min", "3 h 05 min" or "2.1 days". */
export function inMinutes(seconds: number): string {
  if (seconds < 59.5) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (minutes < 60) return `${minutes} min`;
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${(minutes / 1440).toFixed(1)} days`;
}
