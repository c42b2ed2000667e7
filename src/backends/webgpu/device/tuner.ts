// Which tiles are quickest on a GPU is measured: at a pause, each new shape is timed once with every tile that fits,
// and the answers are kept in a file by adapter. Results do not depend on them, because all tiles add in the same
// order.
import { variable } from "../../../environment.ts";
import type { Dispatch } from "../kernels/source.ts";

/** Not imported, because bundlers for web pages, which have no files, would look for it. */
const disk = globalThis.process?.getBuiltinModule?.("node:fs/promises");

/** What may be chosen, by a name that distinguishes it from its rivals. */
export interface Choice {
  readonly name: string;
  /** The call to be timed, on memory as large as its operands. */
  readonly trial: () => Dispatch;
}

export interface Clock {
  /** Milliseconds of `calls` calls of each trial. */
  time(trials: readonly Dispatch[], calls: number): Promise<number[]>;
}

interface Question {
  readonly name: string;
  readonly work: number;
  readonly choices: readonly Choice[];
}

/** Calls that are timed together, since Chrome's clock has steps of 0.1 ms. */
const CALLS = 8;
/** Rounds after the first one at most. Times are steady when none falls below this share of the time before. */
const ROUNDS = 4, STEADY = 0.9;
/** Milliseconds that a process measures at most; the next process measures what is left. */
const BUDGET = 4000;
/** A rival replaces the first choice, which is taken unmeasured, if it needs less than this share of its time. */
const MARGIN = 0.95;

export class Tuner {
  readonly #adapter: string;
  readonly #file: string | null;
  readonly #isOn: boolean;
  /** By name of the question: the name of the choice that won. */
  readonly #answers = new Map<string, string>();
  readonly #open = new Map<string, Question>();
  #left: number;

  /**
   * @param file where answers are kept, or null
   * @param isOn whether to measure at all
   * @param budget milliseconds of measuring
   */
  constructor(adapter: string, file: string | null, isOn: boolean, budget: number = BUDGET) {
    this.#adapter = adapter;
    this.#file = file;
    this.#isOn = isOn;
    this.#left = budget;
  }

  /** A tuner that has read what was measured before. */
  static async open(adapter: string, file: string | null, isOn: boolean): Promise<Tuner> {
    const tuner = new Tuner(adapter, file, isOn);
    for (const [name, answer] of Object.entries((await tuner.#read())[adapter] ?? {})) {
      if (typeof answer === "string") tuner.#answers.set(name, answer);
    }
    return tuner;
  }

  /** How many shapes have been decided. */
  get size(): number {
    return this.#answers.size;
  }

  /**
   * Returns the index of the choice to take: 0 until a pause has measured.
   * @param work how many multiplications it takes, because the dearest questions are measured first
   */
  choose(name: string, work: number, choices: readonly Choice[]): number {
    const answer = this.#answers.get(name);
    const known = choices.findIndex((choice) => choice.name === answer);
    if (known >= 0) return known;
    if (this.#isOn && choices.length > 1 && this.#left > 0) {
      this.#open.set(name, { name, work, choices });
    }
    return 0;
  }

  /** Measures what was asked since the last time, within the budget, and stores the answers. */
  async measure(clock: Clock): Promise<void> {
    if (this.#open.size === 0) return;
    const questions = [...this.#open.values()].sort((a, b) => b.work - a.work);
    this.#open.clear();
    for (const { name, choices } of questions) {
      if (this.#left <= 0) break;
      const start = performance.now();
      const times = await steadyTimes(clock, choices.map(({ trial }) => trial()));
      let best = 0;
      times.forEach((time, i) => {
        if (time < times[best] * (best === 0 ? MARGIN : 1)) best = i;
      });
      this.#answers.set(name, choices[best].name);
      this.#left -= performance.now() - start;
    }
    await this.#write();
  }

  async #read(): Promise<Record<string, Record<string, string>>> {
    if (!this.#file || !disk) return {};
    try {
      const all: unknown = JSON.parse(await disk.readFile(this.#file, "utf8"));
      return typeof all === "object" && all !== null ? all as Record<string, Record<string, string>> : {};
    } catch {
      return {}; // there is no file yet, or it is damaged: everything is measured again
    }
  }

  async #write(): Promise<void> {
    if (!this.#file || !disk) return;
    const all = await this.#read(); // another process may have written since
    all[this.#adapter] = { ...all[this.#adapter], ...Object.fromEntries(this.#answers) };
    try {
      const temporary = `${this.#file}.${crypto.randomUUID()}.tmp`; // containers may share the folder
      await disk.mkdir(this.#file.replace(/[^/\\]*$/, ""), { recursive: true });
      await disk.writeFile(temporary, JSON.stringify(all));
      await disk.rename(temporary, this.#file);
    } catch {
      // if the folder cannot be written, the next process measures again
    }
  }
}

/** Times until the times are steady, because a GPU that was idle takes a while to reach its full clock rate. */
async function steadyTimes(clock: Clock, trials: readonly Dispatch[]): Promise<number[]> {
  let times = await clock.time(trials, CALLS);
  for (let round = 0; round < ROUNDS; round++) {
    const again = await clock.time(trials, CALLS);
    const isSteady = again.every((time, i) => time > STEADY * times[i]);
    times = again.map((time, i) => Math.min(time, times[i]));
    if (isSteady) break;
  }
  return times;
}

/** The file in the user's folder for caches; null in browsers, which have no files. */
export function cacheFile(): string | null {
  const home = variable("HOME");
  const folder = variable("XDG_CACHE_HOME") ?? variable("LOCALAPPDATA") ?? (home ? `${home}/.cache` : null);
  return folder ? `${folder}/tessera/tiles.json` : null;
}
