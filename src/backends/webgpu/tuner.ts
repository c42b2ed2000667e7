// Which tiles a GPU likes best is measured, not known: each new shape is timed once with every tile that fits, at a pause,
// and the answers are kept in a file by adapter. Results do not depend on them, as all tiles add in the same order.
import type { Gpu } from "./gpu.ts";
import type { Kernel, Params } from "./pipelines.ts";

/** One way to compute something, to be timed on memory of these sizes. */
export interface Trial {
  readonly kernel: Kernel;
  readonly groups: number;
  /** Bytes of the kernel's buffers, and which of them hold f16. */
  readonly buffers: readonly { readonly bytes: number; readonly isHalf: boolean }[];
  readonly params: Params;
}

/** What may be chosen, by a name that tells it from its rivals. */
export interface Choice {
  readonly name: string;
  readonly trial: () => Trial;
}

interface Question {
  readonly name: string;
  readonly work: number;
  readonly choices: readonly Choice[];
}

/** Calls that are timed together: Chrome tells time in steps of 0.1 ms. */
const CALLS = 8;
/** Rounds after the first at most, and what a time must not fall below to be steady. */
const ROUNDS = 4, STEADY = 0.9;
/** Milliseconds of measuring in a process at most; what is left is measured by the next. */
const BUDGET = 4000;
/** A rival must be so much faster than what is taken unmeasured. */
const MARGIN = 0.95;

export class Tuner {
  readonly adapter: string;
  readonly file: string | null;
  readonly isOn: boolean;

  /** By name of the question: the name of the choice that won. */
  readonly #answers = new Map<string, string>();
  readonly #open = new Map<string, Question>();
  #left: number;

  /**
   * @param file where answers are kept, or null
   * @param isOn whether to measure at all
   */
  constructor(
    adapter: string,
    file: string | null,
    isOn: boolean,
    budget = BUDGET,
  ) {
    this.adapter = adapter;
    this.file = file;
    this.isOn = isOn;
    this.#left = budget;
  }

  /** Knows what was measured before. */
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
   * The number of the choice to take: 0 until a pause has measured.
   * @param work what it costs, in any unit: the dearest are measured first
   */
  choose(name: string, work: number, choices: readonly Choice[]): number {
    const answer = this.#answers.get(name);
    const known = choices.findIndex((choice) => choice.name === answer);
    if (known >= 0) return known;
    if (this.isOn && choices.length > 1 && this.#left > 0) {
      this.#open.set(name, { name, work, choices });
    }
    return 0;
  }

  /** Measures what was asked since the last time, within the budget, and writes the answers down. */
  async measure(gpu: Gpu): Promise<void> {
    if (this.#open.size === 0) return;
    const questions = [...this.#open.values()].sort((a, b) => b.work - a.work);
    this.#open.clear();
    for (const { name, choices } of questions) {
      if (this.#left <= 0) break;
      const start = performance.now();
      const times = await steadyTimes(gpu, choices.map(({ trial }) => trial()));
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
    if (!this.file) return {};
    try {
      const { readFile } = await import("node:fs/promises");
      const all: unknown = JSON.parse(await readFile(this.file, "utf8"));
      return typeof all === "object" && all !== null ? all as Record<string, Record<string, string>> : {};
    } catch {
      return {}; // not there yet, or damaged: measured anew
    }
  }

  async #write(): Promise<void> {
    if (!this.file) return;
    const all = await this.#read(); // others may have written since
    all[this.adapter] = { ...all[this.adapter], ...Object.fromEntries(this.#answers) };
    try {
      const [{ mkdir, rename, writeFile }, { dirname }] = await Promise.all([
        import("node:fs/promises"),
        import("node:path"),
      ]);
      const temporary = `${this.file}.${crypto.randomUUID()}.tmp`; // containers may share the folder
      await mkdir(dirname(this.file), { recursive: true });
      await writeFile(temporary, JSON.stringify(all));
      await rename(temporary, this.file);
    } catch {
      // a folder that cannot be written costs the next process its two seconds, no more
    }
  }
}

/** A GPU that had nothing to do needs a while to reach its clock: timed again until that changes nothing any more. */
async function steadyTimes(gpu: Gpu, trials: readonly Trial[]): Promise<number[]> {
  let times = await gpu.time(trials, CALLS);
  for (let round = 0; round < ROUNDS; round++) {
    const again = await gpu.time(trials, CALLS);
    const isSteady = again.every((time, i) => time > STEADY * times[i]);
    times = again.map((time, i) => Math.min(time, times[i]));
    if (isSteady) break;
  }
  return times;
}

/** In the user's folder for caches; null in browsers, which have no files. */
export function cacheFile(): string | null {
  const env: Record<string, string | undefined> = globalThis.process?.env ?? {};
  const folder = env.XDG_CACHE_HOME ?? env.LOCALAPPDATA ?? (env.HOME ? `${env.HOME}/.cache` : null);
  return folder ? `${folder}/tessera/tiles.json` : null;
}
