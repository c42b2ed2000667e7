// A live progress line for long work: a bar, the count, the rate, the elapsed and remaining time, and a text. If the
// output is not a terminal (a file, CI), a plain line is printed every few seconds instead. The cursor is never hidden,
// so that the terminal stays intact when the process is killed.
import process from "node:process";
import { printable } from "../data/formats/text.ts";
import { muted, printAside } from "./print.ts";

/** The destination of the lines, such as process.stdout. */
interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressOptions {
  /** The number of units. Without it neither a bar nor the remaining time is shown. */
  readonly total?: number;
  /** Units that were done earlier, such as the steps of a resumed run. They count for the bar but not for the rate. */
  readonly start?: number;
  /** The name of the work, at the start of the line. */
  readonly label?: string;
  /** The name of a unit, for the rate. Default "it". */
  readonly unit?: string;
  /** How the rate is shown, from the first line to the last: 2.5 step/s (default), or 0.4 s/step. */
  readonly rate?: "per second" | "seconds each";
  /** Milliseconds in which nothing is shown, so that short work leaves no line. Default 0. */
  readonly patience?: number;
  /** Default: process.stdout. */
  readonly stream?: ProgressStream;
  /** Whether the line is drawn again and again in its place. Default: if the stream is a terminal. */
  readonly isLive?: boolean;
  /** The clock in milliseconds, for tests. */
  readonly now?: () => number;
}

/** Milliseconds between two drawings of the live line. */
const liveInterval = 100;
/** Milliseconds between two plain lines if the stream is not a terminal. */
const plainInterval = 5000;
/** The rate is measured over this many milliseconds, so that it recovers from a pause or a slow start. */
const rateWindow = 30_000;
/** The patience with work that is mostly short, such as listing a folder. */
export const shortWork = 1000;

/** Formats seconds as 7s, 3:05 or 2:03:05. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** Formats a rate as 12.3 it/s, or as 0.0813 s/it. */
export function formatRate(
  perSecond: number,
  unit: string,
  kind: ProgressOptions["rate"] = "per second",
): string {
  const [shown, each] = kind === "per second" ? [perSecond, `${unit}/s`] : [1 / perSecond, `s/${unit}`];
  if (!(perSecond > 0)) return `- ${each}`;
  return `${shown >= 100 ? Math.round(shown) : shown.toPrecision(3)} ${each}`;
}

/**
 * A progress line.
 * @example
 * const progress = new Progress({ total: 500, label: "fine-tune", unit: "step" });
 * for (let step = 1; step <= 500; step++) progress.update(step, `rec 0.123`);
 * progress.finish();
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #isLive: boolean;
  readonly #startTime: number;
  readonly #marks: { time: number; readonly done: number }[];
  #done: number;
  #text = "";
  /** How many units were done when the text came. */
  #textAt = 0;
  /** Other work that is shown instead of the text, and when it began. */
  #aside: { text: string; readonly since: number } | null = null;
  /** When the work ends, as `update` was told; null if it was not. */
  #end: number | null = null;
  #drawn = -Infinity;
  #isShown = false;
  #isFinished = false;

  constructor(options: ProgressOptions = {}) {
    this.#options = options;
    this.#stream = options.stream ?? process.stdout;
    this.#now = options.now ?? (() => performance.now());
    this.#isLive = options.isLive ?? (this.#stream.isTTY === true && process.env.TERM !== "dumb");
    this.#startTime = this.#now();
    this.#done = options.start ?? 0;
    this.#marks = [{ time: this.#startTime, done: this.#done }];
    if (this.#isLive) this.#drawIfDue();
    else this.#drawn = this.#startTime; // the first plain line comes after one interval
  }

  /**
   * Sets how many units are done in total, and the text behind them. An old text is shown with the unit that it is of.
   * @param left the seconds until the end, if more is known than the rate tells
   */
  update(done: number, text = this.#text, left?: number): void {
    if (done < this.#done) this.#marks.splice(0); // a run has gone back
    this.#done = done;
    this.#setText(text);
    const time = this.#now();
    this.#end = left === undefined ? null : time + 1000 * left;
    this.#marks.push({ time, done });
    while (this.#marks.length > 2 && time - this.#marks[1].time > rateWindow) this.#marks.shift();
    this.#drawIfDue();
  }

  #setText(text: string): void {
    if (text !== this.#text) this.#textAt = this.#done;
    this.#text = text;
  }

  /** Shows other work, such as "validating 3/20". Its time does not count for the rate. null ends it. */
  aside(text: string | null): void {
    const time = this.#now();
    if (text !== null) {
      this.#aside = { text, since: this.#aside?.since ?? time };
      this.#drawIfDue();
    } else if (this.#aside) {
      for (const mark of this.#marks) mark.time += time - this.#aside.since;
      this.#aside = null;
    }
  }

  /** Counts one more unit. */
  tick(text?: string): void {
    this.update(this.#done + 1, text);
  }

  /** Prints a line above the live line. */
  log(line: string): void {
    this.#write(`${this.#isLive ? "\r\x1b[K" : ""}${printable(line)}\n`);
    if (this.#isLive && !this.#isFinished && this.#isShown) this.#draw();
  }

  /** Draws the last state and ends the line. Calling it again does nothing. */
  finish(text = this.#text): void {
    if (this.#isFinished) return;
    this.#setText(text);
    this.aside(null);
    this.#isFinished = true;
    if (!this.#isShown && this.#now() - this.#startTime < (this.#options.patience ?? 0)) return;
    this.#draw();
    if (this.#isLive) this.#write("\n");
  }

  /** Ends the line without a trace, where other lines have said everything. */
  erase(): void {
    if (!this.#isFinished && this.#isShown && this.#isLive) this.#write("\r\x1b[K");
    this.#isFinished = true;
  }

  /** Returns the current line, cut to `width` characters. */
  line(width = Infinity): string {
    const { total, label, unit = "it", rate: kind } = this.#options;
    const time = this.#now();
    const oldest = this.#marks[0];
    const rate = (this.#done - oldest.done) / (((this.#aside?.since ?? time) - oldest.time) / 1000);
    const elapsed = formatDuration((time - this.#startTime) / 1000);
    const byRate = total !== undefined && rate > 0 ? (total - this.#done) / rate : null;
    const seconds = this.#end === null ? byRate : (this.#end - time) / 1000;
    const left = seconds === null ? "?" : formatDuration(seconds);
    const clock = total === undefined || this.#done >= total ? elapsed : `${elapsed}, ${left} left`;
    const count = total === undefined ? `${this.#done} ${unit}` : `${this.#done}/${total}`;
    const old = this.#textAt < this.#done ? `${this.#text} at ${this.#textAt}` : this.#text;
    const text = printable(this.#aside?.text ?? (this.#text === "" ? "" : old));
    const parts = [count, formatRate(rate, unit, kind), clock, ...(text === "" ? [] : [text])];
    const tail = parts.join(" | ");
    const head = label === undefined ? "" : `${label} `;
    if (total === undefined) return clip(head + tail, width);
    const share = total > 0 ? Math.max(0, Math.min(1, this.#done / total)) : 1;
    const percent = `${String(Math.floor(share * 100)).padStart(3)}% `;
    const room = width - head.length - percent.length - tail.length - 3;
    const cells = [30, 20, 10].find((cells) => cells <= room); // only a few lengths, so that the bar does not flicker
    const bar = this.#isLive && cells !== undefined ? `${drawBar(share, cells)} ` : "";
    return clip(head + percent + bar + tail, width);
  }

  #drawIfDue(): void {
    const time = this.#now();
    if (time - this.#startTime < (this.#options.patience ?? 0)) return;
    if (time - this.#drawn >= (this.#isLive ? liveInterval : plainInterval)) this.#draw();
  }

  #write(text: string): void {
    if (!muted()) this.#stream.write(text);
  }

  #draw(): void {
    this.#isShown = true;
    this.#drawn = this.#now();
    if (!this.#isLive) {
      this.#write(`${this.line()}\n`);
      return;
    }
    // One column stays free, because a full line would wrap and leave copies behind.
    this.#write(`\r${this.line((this.#stream.columns || 80) - 1)}\x1b[K`);
  }
}

function clip(line: string, width: number): string {
  return line.length <= width ? line : line.slice(0, Math.max(0, width - 1)) + "…";
}

/** Draws a bar of `cells` characters with a resolution of an eighth of a character. */
function drawBar(share: number, cells: number): string {
  const eighths = Math.round(share * cells * 8);
  const part = eighths % 8 === 0 ? "" : " ▏▎▍▌▋▊▉"[eighths % 8];
  const filled = "█".repeat(Math.floor(eighths / 8)) + part;
  return `▕${filled.padEnd(cells)}▏`;
}

/**
 * A progress line in megabytes for reading, writing or downloading a file. Work that ends within a second shows nothing. The
 * line goes to stderr, because stdout is for results. `log` prints another line above it. A total of Infinity is unknown.
 */
export function bytesProgress(
  label: string,
): { report(bytes: number, total: number): void; log(text: string): void; finish(): void } {
  const megabytes = (bytes: number) => Math.round(bytes / 1e6);
  const startTime = performance.now();
  let line: Progress | null = null;
  return {
    report(bytes, total) {
      const done = megabytes(bytes);
      if (!line && performance.now() - startTime < shortWork) return;
      line ??= new Progress({
        ...(total === Infinity ? {} : { total: megabytes(total) }),
        start: done,
        label,
        unit: "MB",
        stream: process.stderr,
      });
      line.update(done);
    },
    log: (text) => line ? line.log(text) : printAside(text),
    finish: () => line?.finish(),
  };
}
