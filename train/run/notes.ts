// What a run tells its user: what was loaded, what has changed, what was measured, and what failed beside the training.
import { systemMessage } from "../../data/files/system_errors.ts";
import type { Measurements } from "../validate.ts";
import { RunTakenError } from "../errors.ts";

/** Work beside the training: without it a run goes on. */
export type SideWork =
  | "metrics"
  | "rewinding"
  | "pictures"
  | "validation"
  | "best"
  | "kept"
  | "curves"
  | "comparison"
  | "report"
  | "table"
  | "estimate"
  | "tensorboard";

/** Something that a run tells its user. `text` says it in one line; `kind` and the other fields are for programs. */
export type RunNote =
  & {
    /** One line for people. */
    readonly text: string;
  }
  & (
    /** Where the model comes from, and what is as it was. */
    | { readonly kind: "model" }
    /** Something that the user may want to change. */
    | { readonly kind: "warning" }
    /** The run goes on from a checkpoint. */
    | { readonly kind: "resumed"; readonly checkpoint: string; readonly step: number }
    /** The run goes on in a new folder, because the checkpoint is not the last one of its run. */
    | { readonly kind: "branched"; readonly from: string; readonly folder: string }
    /** A metric no longer gets better, which ends the run early. */
    | { readonly kind: "stopped"; readonly step: number; readonly metric: string }
    /** The run has all its steps, or has ended early. */
    | { readonly kind: "finished"; readonly step: number }
    /** An option has another value from now on. */
    | { readonly kind: "changed"; readonly option: string }
    /** The pictures are not those of before: how many are new, missing, or have another size or date. */
    | { readonly kind: "data"; readonly added: number; readonly gone: number; readonly changed: number }
    /** Pictures of `data` are left out, because they are validation pictures too. */
    | { readonly kind: "shared"; readonly count: number }
    /** The discriminator starts, or counts for more. */
    | { readonly kind: "gan"; readonly step: number }
    /** The losses have jumped, and the run goes back to an earlier step with a gentler GAN. */
    | { readonly kind: "guard"; readonly step: number; readonly to: number }
    /** Since an earlier step, training pictures got better and those kept back worse. */
    | { readonly kind: "overfitting"; readonly step: number }
    /** The model was measured. */
    | { readonly kind: "measured"; readonly step: number; readonly values: Measurements }
    /** A picture could not be read. Only the first few are told one by one. */
    | { readonly kind: "skipped" }
    /** Something beside the training failed. It is told once, and counted. */
    | { readonly kind: "failed"; readonly what: SideWork; readonly step: number }
    /**
     * How long the run will still take, in seconds (null: not known yet). Before the first step also what it takes, in bytes,
     * and later only if it takes much longer, or shorter, than was said.
     */
    | {
      readonly kind: "estimate";
      readonly step: number;
      readonly seconds: number | null;
      readonly memory?: number;
      readonly disk?: number;
    }
    /** A checkpoint could not be written, and will be tried again. */
    | { readonly kind: "unsaved"; readonly step: number }
    /** A checkpoint was written after a failure, or because the run ends with an error. */
    | { readonly kind: "saved"; readonly step: number; readonly checkpoint: string }
  );

/** Shows the progress of a training, for example with a progress bar. */
export interface TrainMonitor {
  /** Called after each step. The text has the step's losses; `left` is the seconds until the end of the run, with all that it does. */
  update(step: number, text?: string, left?: number): void;
  /** Called for an event that deserves its own line. */
  log(line: string): void;
  /** Called with the same events, for programs that look at more than the line. */
  note?(note: RunNote): void;
  /** Called while something other than a step is done, with what it is and how far; null when it ends. */
  aside?(text: string | null): void;
}

/** How often something failed beside the training. */
export interface Failure {
  /** What failed. */
  readonly what: SideWork;
  /** How often. */
  readonly times: number;
  /** The step at which it failed first, and why. */
  readonly first: { readonly step: number; readonly reason: string };
}

/** How many pictures that cannot be read are told one by one. */
const shownSkips = 5;

const words: Readonly<Record<SideWork, string>> = {
  metrics: "metrics could not be written",
  rewinding: "what later steps had left could not be removed",
  pictures: "the sheet of pictures could not be made",
  validation: "validation failed",
  best: "the best checkpoint could not be kept",
  kept: "a checkpoint could not be kept",
  curves: "loss.png could not be drawn",
  comparison: "before-after.png could not be drawn",
  report: "report.html could not be written",
  table: "metrics.csv could not be written",
  estimate: "the time of the run could not be estimated",
  tensorboard: "the event file for TensorBoard could not be written",
};

/** Collects the notes of a run, and passes them on while it trains. */
export class Notes {
  /** All notes so far. */
  readonly all: RunNote[] = [];
  readonly #failures = new Map<SideWork, Failure>();
  #monitor: TrainMonitor | null = null;
  #signal: AbortSignal | undefined;
  readonly #skipped = new Set<string>();
  #asideTime = 0;
  /** How many pieces of such work are going on, one within the other. */
  #depth = 0;

  /** From now on notes also go to the monitor. */
  attach(monitor: TrainMonitor | null, signal?: AbortSignal): void {
    this.#monitor = monitor;
    this.#signal = signal;
  }

  /** Tells the user something. */
  add(note: RunNote): void {
    this.all.push(note);
    this.#monitor?.log(note.text);
    this.#monitor?.note?.(note);
  }

  /** Tells that a picture cannot be read. */
  skip(path: string, reason: string): void {
    if (this.#skipped.has(path)) return; // a picture may be a sample too
    this.#skipped.add(path);
    if (this.#skipped.size <= shownSkips) this.add({ kind: "skipped", text: `skipped ${path}: ${reason}` });
    else if (this.#skipped.size === shownSkips + 1) {
      this.add({
        kind: "skipped",
        text: "more pictures cannot be read; the end of the run has their number",
      });
    }
  }

  /**
   * Does work without which the training can go on. A failure is told once and counted.
   * @returns null if it failed
   */
  async attempt<T>(what: SideWork, step: number, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof RunTakenError || this.isStop(error)) throw error;
      const { times, first } = this.#failures.get(what) ??
        { times: 0, first: { step, reason: reasonOf(error) } };
      this.#failures.set(what, { what, times: times + 1, first });
      if (times === 0) {
        const text = `step ${step}: ${words[what]}: ${first.reason}. Training goes on.`;
        this.add({ kind: "failed", what, step, text });
      }
      return null;
    }
  }

  /** Milliseconds so far in which something other than steps was done. */
  get asideTime(): number {
    return this.#asideTime;
  }

  /**
   * Does something other than a step, shows how far it is, and measures its time.
   * @param work gets a function to call with what is done and how much there is, and a signal that stops it
   */
  async aside<T>(
    what: string,
    work: (watch: { onProgress: (done: number, total: number) => void; signal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const show = (text: string | null) => this.#monitor?.aside?.(text);
    show(what);
    try {
      const onProgress = (done: number, total: number) => show(`${what} ${done}/${total}`);
      return await this.apart(() => work({ onProgress, signal: this.#signal }));
    } finally {
      show(null);
    }
  }

  /** Does something whose time does not count as that of steps. */
  async apart<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    this.#depth++;
    try {
      return await work();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#asideTime += performance.now() - start;
    }
  }

  /** Whether an error only says that the user has stopped the run. */
  isStop(error: unknown): boolean {
    const { aborted = false, reason } = this.#signal ?? {};
    return aborted && (error === reason || error instanceof Error && error.name === "AbortError");
  }

  /** What failed so far. */
  get failures(): Failure[] {
    return [...this.#failures.values()];
  }

  /** Says how often each thing failed that failed more than once. */
  countFailures(): void {
    for (const { what, times, first: { step } } of this.failures) {
      if (times === 1) continue;
      const text = `${words[what]} ${times} times, the first time at step ${step}`;
      this.add({ kind: "failed", what, step, text });
    }
  }
}

/** The message of an error, or of any other thrown value, without its last full stop. An error of the system is put into words. */
export function reasonOf(error: unknown): string {
  const message = systemMessage(error) ?? (error instanceof Error ? error.message : String(error));
  return message.replace(/\.$/, "");
}
