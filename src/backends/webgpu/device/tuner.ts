// Measures which tiles are fastest on a GPU. At a pause, each new shape is timed once with every tile that fits. The answers
// are kept in a file, by adapter. They do not change results, because all tiles add in the same order.
import { variable } from "../../../environment.ts";
import type { Dispatch } from "../kernels/source.ts";

/** Not imported, because bundlers for web pages would try to include it. */
const disk = globalThis.process?.getBuiltinModule?.("node:fs/promises");

/** One of several tiles to choose from. Its name is different from those of the others. */
export interface Choice {
  readonly name: string;
  /** The call to time, on memory of the size of its operands. */
  readonly trial: () => Dispatch;
}

export interface Clock {
  /** Returns the milliseconds that `calls` calls of each trial take. */
  time(trials: readonly Dispatch[], calls: number): Promise<number[]>;
}

interface Question {
  readonly name: string;
  readonly work: number;
  readonly choices: readonly Choice[];
}

/** How many calls are timed together, because Chrome's clock has steps of 0.1 ms. */
const CALLS = 8;
/** The most rounds after the first one. Times are steady when none is below this fraction of its previous value. */
const ROUNDS = 4, STEADY = 0.9;
/** The most milliseconds that a process measures; the next process measures the rest. */
const BUDGET = 4000;
/** Another tile replaces the first choice, which is used before measuring, if it takes less than this fraction of its time. */
const MARGIN = 0.95;

export class Tuner {
  readonly #adapter: string;
  readonly #file: string | null;
  readonly #isOn: boolean;
  /** The names of the fastest choices, by the name of the question. */
  readonly #answers = new Map<string, string>();
  readonly #open = new Map<string, Question>();
  #left: number;

  /**
   * @param file the file in which answers are kept, or null
   * @param isOn whether to measure at all
   * @param budget the most milliseconds to measure
   */
  constructor(adapter: string, file: string | null, isOn: boolean, budget: number = BUDGET) {
    this.#adapter = adapter;
    this.#file = file;
    this.#isOn = isOn;
    this.#left = budget;
  }

  /** Makes a tuner and reads earlier measurements from the file. */
  static async open(adapter: string, file: string | null, isOn: boolean): Promise<Tuner> {
    const tuner = new Tuner(adapter, file, isOn);
    for (const [name, answer] of Object.entries((await tuner.#read())[adapter] ?? {})) {
      if (typeof answer === "string") tuner.#answers.set(name, answer);
    }
    return tuner;
  }

  /** The number of questions that are answered. */
  get size(): number {
    return this.#answers.size;
  }

  /**
   * Returns the index of the choice to use, which is 0 until a pause has measured.
   * @param work the number of multiplications; the questions with the most work are measured first
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

  /** Measures the questions since the last call, within the budget, and stores the answers. */
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
      return {}; // there is no file yet, or it is damaged, so everything is measured again
    }
  }

  async #write(): Promise<void> {
    if (!this.#file || !disk) return;
    const all = await this.#read(); // again, because another process may have written meanwhile
    all[this.#adapter] = { ...all[this.#adapter], ...Object.fromEntries(this.#answers) };
    try {
      const temporary = `${this.#file}.${crypto.randomUUID()}.tmp`; // random, because containers may share the folder
      await disk.mkdir(this.#file.replace(/[^/\\]*$/, ""), { recursive: true });
      await disk.writeFile(temporary, JSON.stringify(all), { flag: "wx" });
      await disk.rename(temporary, this.#file);
    } catch {
      // the folder cannot be written, so the next process will measure again
    }
  }
}

/** Repeats measurements until they are steady, because an idle GPU takes a while to reach its full clock rate. */
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

/** The path of the file, in the user's folder for caches; null in browsers, which have no files. */
export function cacheFile(): string | null {
  const home = variable("HOME");
  const folder = variable("XDG_CACHE_HOME") ?? variable("LOCALAPPDATA") ?? (home ? `${home}/.cache` : null);
  return folder ? `${folder}/tessera/tiles.json` : null;
}
