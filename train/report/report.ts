// Everything that the page of a run shows, read from the run's folder, which may be in the middle of its training. Nothing is
// written and no lock is taken.
import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { readEnding, type RunEnding } from "./ending.ts";
import { type Metrics, type MetricSeries, MetricsFile, seriesOf } from "./metrics_file.ts";
import { type Sheet, SheetReader } from "./sheets.ts";

/** What a run is doing. */
export type RunActivity = "waiting" | "training" | "finished" | "stopped";

/** A sheet of pictures with the address of its image. */
export interface ShownSheet extends Omit<Sheet, "file" | "version"> {
  /** The address: a path below the page's, or the image itself as a `data:` address. */
  readonly src: string;
}

/** What the page of a run shows. */
export interface RunReport {
  /** The name of the run's folder. */
  readonly name: string;
  /** What the run is doing. */
  readonly activity: RunActivity;
  /** Why it ended; null if it has not, or its process was killed. */
  readonly why: string | null;
  /** The number of steps done, as far as the folder tells. */
  readonly step: number;
  /** The number of steps of the whole run; null if config.json does not say. */
  readonly steps: number | null;
  /** The seconds until the end, as the run itself expects; null if it does not say or is not training. */
  readonly secondsLeft: number | null;
  /** How often the run has gone through its pictures. */
  readonly passes: number | null;
  /** When this was read, as an ISO date. */
  readonly time: string;
  /** Each metric with its values. */
  readonly metrics: readonly MetricSeries[];
  /** The sheets, by kind and step. */
  readonly sheets: readonly ShownSheet[];
  /** The settings in config.json, in its order. */
  readonly settings: readonly (readonly [name: string, value: string])[];
}

/** The most values of a metric that a page gets. */
const points = 600;
/** Milliseconds without a heartbeat after which a run counts as stopped. A heartbeat comes every 15 seconds. */
const quiet = 60_000;
/** The most characters of a setting. */
const mostCharacters = 300;

/** Reads one run again and again. */
export class ReportReader {
  /** The folder of the run. */
  readonly folder: string;
  readonly #metrics: MetricsFile;
  readonly #sheets: SheetReader;

  /** Reads the run in a folder, which need not have any numbers yet. */
  constructor(folder: string) {
    this.folder = resolve(folder);
    this.#metrics = new MetricsFile(join(this.folder, "metrics.jsonl"));
    this.#sheets = new SheetReader(this.folder);
  }

  /** The sheets of the run, by kind and step. */
  async sheets(): Promise<Sheet[]> {
    return await this.#sheets.list();
  }

  /**
   * Reads the run as it is now.
   * @param show returns the address of a sheet's image; null leaves the sheet out
   * @param known how the run ended, if its own process asks
   */
  async read(show: (sheet: Sheet) => string | null, known: RunEnding | null = null): Promise<RunReport> {
    const rows = await this.#metrics.read(), now = Date.now();
    const config = await readConfig(join(this.folder, "config.json"));
    const steps = typeof config.steps === "number" ? config.steps : null;
    const ending = known ?? await readEnding(this.folder);
    const beat = await dateOf(join(this.folder, "lock.json"));
    const isAlive = beat !== null && Math.abs(now - beat) < quiet;
    const activity = ending?.activity ?? (rows.length === 0 ? "waiting" : isAlive ? "training" : "stopped");
    const sheets: ShownSheet[] = [];
    for (const sheet of await this.#sheets.list()) {
      const src = show(sheet);
      const { file: _file, version: _version, ...shown } = sheet;
      if (src !== null) sheets.push({ ...shown, src });
    }
    return {
      name: basename(this.folder),
      activity,
      why: ending?.why ?? null,
      step: Math.max(rows.at(-1)?.step ?? 0, ending?.step ?? 0),
      steps,
      secondsLeft: activity === "training" ? await this.#secondsLeft(rows, now) : null,
      passes: lastNumber(rows, "passes"),
      time: new Date(now).toISOString(),
      metrics: seriesOf(rows, points),
      sheets,
      settings: Object.entries(config).map(([name, value]) => [name, inWords(value)] as const),
    };
  }

  /** What the last line with an expectation says, less the time since it was written. */
  async #secondsLeft(rows: readonly Metrics[], now: number): Promise<number | null> {
    const left = lastNumber(rows, "seconds_left"), written = await dateOf(this.#metrics.path);
    return left === null || written === null ? left : Math.max(0, left - (now - written) / 1000);
  }
}

function lastNumber(rows: readonly Metrics[], name: string): number | null {
  const value = rows.findLast((row) => typeof row[name] === "number")?.[name];
  return typeof value === "number" ? value : null;
}

async function readConfig(path: string): Promise<Record<string, unknown>> {
  try {
    const config = JSON.parse(await readFile(path, "utf8")) as unknown;
    return typeof config === "object" && config !== null ? config as Record<string, unknown> : {};
  } catch {
    return {};
  }
}

async function dateOf(path: string): Promise<number | null> {
  return await stat(path).then(({ mtimeMs }) => mtimeMs, () => null);
}

function inWords(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return text.length <= mostCharacters ? text : `${text.slice(0, mostCharacters)}…`;
}
