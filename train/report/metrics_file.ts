// Reads metrics.jsonl while a run writes it: only whole lines count, what was read is not read again, and a file that was
// rewound or replaced is read anew.
import { open, stat } from "node:fs/promises";

/** One line of metrics.jsonl. */
export type Metrics = { readonly step: number } & Record<string, number | string>;

const chunkLength = 2 ** 20, lineFeed = 10;

/** Follows one metrics.jsonl, which it never writes. */
export class MetricsFile {
  /** The path of the file, which need not exist yet. */
  readonly path: string;
  #rows: Metrics[] = [];
  /** How many bytes of whole lines were read, and of which file. */
  #read = 0;
  #inode: number | null = null;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Reads what is new. Lines that are no record with a step are left out. Where the steps go back, the run was rewound, and
   * what it had measured from there on counts no more.
   * @returns all lines so far; the array grows with the next call
   */
  async read(): Promise<readonly Metrics[]> {
    const isFile = (await stat(this.path).catch(() => null))?.isFile() ?? false; // opening a pipe would wait
    const file = isFile ? await open(this.path, "r").catch(() => null) : null;
    if (file === null) {
      this.#restart(null);
      return this.#rows;
    }
    try {
      const { size, ino } = await file.stat();
      if (ino !== this.#inode || size < this.#read) this.#restart(ino);
      let held = new Uint8Array(0);
      for (let at = this.#read; at < size;) {
        const chunk = new Uint8Array(Math.min(chunkLength, size - at));
        const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
        if (bytesRead === 0) break;
        at += bytesRead;
        const bytes = new Uint8Array(held.length + bytesRead);
        bytes.set(held);
        bytes.set(chunk.subarray(0, bytesRead), held.length);
        const end = bytes.lastIndexOf(lineFeed) + 1;
        for (const line of new TextDecoder().decode(bytes.subarray(0, end)).split("\n")) this.#add(line);
        this.#read += end;
        held = bytes.subarray(end);
      }
    } finally {
      await file.close();
    }
    return this.#rows;
  }

  #restart(inode: number | null): void {
    this.#rows = [];
    this.#read = 0;
    this.#inode = inode;
  }

  #add(line: string): void {
    const row = rowOf(line);
    if (row === null) return;
    const last = this.#rows.at(-1);
    if (last && row.step < last.step) this.#rows = this.#rows.filter(({ step }) => step < row.step);
    this.#rows.push(row);
  }
}

function rowOf(line: string): Metrics | null {
  try {
    const row = JSON.parse(line) as Metrics | null;
    return typeof row === "object" && Number.isSafeInteger(row?.step) && row!.step >= 0 ? row : null;
  } catch {
    return null;
  }
}

/** The values of one metric. Both lists have the same length. */
export interface MetricSeries {
  /** The name in metrics.jsonl, such as `train/rec_loss`. */
  readonly name: string;
  /** The steps at which it was logged. */
  readonly steps: readonly number[];
  /** The values, with six digits. */
  readonly values: readonly number[];
}

/** The most metrics that are collected, so that a damaged file cannot fill the memory of a page. */
const mostMetrics = 200;

/**
 * Collects the lines by metric, in the order in which the metrics appear first. What is no finite number is left out.
 * @param points the most values of a metric; of more, the lowest and the highest of each stretch are kept, and the last
 */
export function seriesOf(rows: readonly Metrics[], points: number): MetricSeries[] {
  const all = new Map<string, { steps: number[]; values: number[] }>();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (name === "step" || typeof value !== "number" || !Number.isFinite(value)) continue;
      let found = all.get(name);
      if (!found) {
        if (all.size === mostMetrics) continue;
        all.set(name, found = { steps: [], values: [] });
      }
      found.steps.push(row.step);
      found.values.push(Number(value.toPrecision(6)));
    }
  }
  return [...all].map(([name, { steps, values }]) => {
    const kept = thinned(values, points);
    return { name, steps: kept.map((i) => steps[i]), values: kept.map((i) => values[i]) };
  });
}

/** The places of the values that are kept. */
function thinned(values: readonly number[], most: number): number[] {
  if (values.length <= most) return [...values.keys()];
  const stretch = Math.ceil(values.length / Math.floor((most - 1) / 2)), kept: number[] = [];
  for (let start = 0; start < values.length; start += stretch) {
    let low = start, high = start;
    for (let i = start; i < Math.min(start + stretch, values.length); i++) {
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
    }
    kept.push(...new Set([Math.min(low, high), Math.max(low, high)]));
  }
  if (kept.at(-1) !== values.length - 1) kept.push(values.length - 1);
  return kept;
}
