// What a run writes so that people can see it: report.html, metrics.csv and, if asked for, TensorBoard's event files. All of it
// is work beside the training: a failure is told once and counted.
import type { RunEnding } from "../report/ending.ts";
import { ReportFiles } from "../report/files.ts";
import type { Metrics } from "../report/metrics_file.ts";
import type { SheetKind } from "../report/sheets.ts";
import type { EventFile } from "../report/tensorboard/event_file.ts";
import type { Run } from "./run.ts";

/** The most numbers of a tensor that a histogram counts. */
const mostNumbers = 2 ** 16;

/** Shows one training. */
export class Showing {
  readonly #run: Run;
  readonly #files: ReportFiles;
  #events: EventFile | null = null;

  constructor(run: Run) {
    this.#run = run;
    this.#files = new ReportFiles(run.folder.path);
  }

  /** Begins an event file, if the run writes them. */
  async begin(): Promise<void> {
    const { settings: { report }, folder, trainer: { step, ranks } } = this.#run;
    if (!report.tensorboard || !ranks.isFirst) return;
    const begin = async () => {
      const { EventFile } = await import("../report/tensorboard/event_file.ts"); // it needs a library for protobuf
      return await EventFile.begin(folder.path, step, await folder.readMetrics());
    };
    this.#events = await this.#attempt(begin);
  }

  /** Shows a line of metrics. */
  async metrics(metrics: Metrics): Promise<void> {
    const events = this.#events;
    if (events) await this.#attempt(() => events.scalars(metrics));
  }

  /** Shows a sheet of pictures that is in images/. */
  async sheet(kind: SheetKind): Promise<void> {
    const events = this.#events;
    if (events) await this.#attempt(() => events.sheet(kind, this.#run.trainer.step));
  }

  /** Shows how the weights that learn are distributed, for each part of the networks. */
  async weights(): Promise<void> {
    const events = this.#events, { trainer: { model, step }, reporter } = this.#run;
    if (!events) return;
    const count = async () => {
      const { histogramOf } = await import("../report/tensorboard/events.ts");
      const parts = new Map<string, Float32Array[]>();
      for (const [name, parameter] of model.namedParameters()) {
        if (!parameter.requiresGrad) continue;
        const part = partOf(name);
        parts.set(part, [...parts.get(part) ?? [], everyNth(await parameter.floats())]);
      }
      const histograms = [...parts].flatMap(([part, values]) => {
        const histogram = histogramOf(values);
        return histogram ? [[`weights/${part}`, histogram] as const] : [];
      });
      await events.histograms(step, histograms);
    };
    await this.#attempt(() => reporter.aside("counting weights", count));
  }

  /**
   * Writes report.html and metrics.csv, and at the end ending.json, if this is rank 0.
   * @param ending how the run ended; null while it goes on
   * @returns the path of report.html; null if it could not be written
   */
  async files(ending: Omit<RunEnding, "step"> | null = null): Promise<string | null> {
    const { reporter, trainer: { step, ranks } } = this.#run;
    if (!ranks.isFirst) return null;
    await reporter.attempt("table", step, () => this.#files.writeTable());
    return await reporter.attempt("report", step, () => this.#files.writePage(ending && { ...ending, step }));
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | null> {
    const { reporter, trainer: { step } } = this.#run;
    return reporter.attempt("tensorboard", step, work);
  }
}

/** The part of the networks to which a parameter belongs, such as decoder.up.0 or quantize. */
function partOf(name: string): string {
  const words = name.split("."), [network, block] = words;
  if (network !== "encoder" && network !== "decoder") return network === "loss" ? block : network;
  return words.slice(0, block === "down" || block === "up" ? 3 : 2).join(".");
}

function everyNth(values: Float32Array): Float32Array {
  const stride = Math.ceil(values.length / mostNumbers);
  return stride === 1
    ? values
    : Float32Array.from({ length: Math.floor(values.length / stride) }, (_, i) => values[i * stride]);
}
