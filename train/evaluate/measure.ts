// Measures what models make of pictures, batch by batch, in one process or in several that share the pictures. Of the pictures
// only the worst are kept. Rank 0 adds everything up in the order of the pictures, so that any number of ranks gives the same
// bits.
import type { ImageDataset } from "../../data/index.ts";
import { faceDistance, type VQGAN } from "../../nn/index.ts";
import { CodebookUsage } from "../../nn/quantizers/codebook_usage.ts";
import type { Ranks } from "../distributed/ranks.ts";
import { together } from "../distributed/together.ts";
import { Moments } from "./frechet.ts";
import { type Judges, type Observation, observe, type Row } from "./observe.ts";
import { faceSize } from "./spaces.ts";
import { WorstReconstructions } from "./worst.ts";

/** What was measured of one model. */
export interface Measured {
  /** One for each picture that was read. */
  readonly rows: Row[];
  readonly usage: CodebookUsage;
  /** How many tokens a picture has. */
  tokensEach: number;
  /** By the names of spaces: the features of originals and of reconstructions. */
  readonly moments: Map<string, { readonly originals: Moments; readonly made: Moments }>;
  readonly worst: WorstReconstructions;
}

/** How the work is watched, stopped and divided. */
export interface MeasureOptions {
  readonly batch: number;
  readonly ranks: Ranks;
  /** Called on rank 0. */
  readonly onProgress?: (pictures: number) => void;
  readonly signal?: AbortSignal;
}

/** The number by which the worst pictures are chosen. */
function worstBy({ lpips, faces }: Judges): string {
  const [first] = [...lpips].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return first ? `lpips_${first.kind}` : faces ? "identity" : "l1";
}
const order = ["alex", "vgg", "squeeze"];

/** What a rank tells the others after each batch. */
interface News {
  /** What it has observed; null if it has no more pictures. */
  readonly observations: readonly Observation[] | null;
  /** Pictures that it could not read, and why; none from rank 0, which reports its own. */
  readonly skipped: readonly (readonly [path: string, reason: string])[];
}

/**
 * Goes through the pictures once. The ranks take batches in turn, and tell each other after each of them.
 * @returns on rank 0 what was measured, on other ranks nothing
 */
export async function measure(
  models: readonly VQGAN[],
  pictures: ImageDataset,
  judges: Judges,
  { batch: size, ranks, onProgress, signal }: MeasureOptions,
): Promise<Totals | null> {
  const totals = ranks.isFirst ? new Totals(models, judges) : null;
  const worst = models.map(() => new WorstReconstructions(worstBy(judges))), told = new Set<string>();
  const batches = pictures.once(size, { rank: ranks.rank, size: ranks.size, block: size });
  const next = async (): Promise<News> => {
    const { value: batch } = await batches.next();
    signal?.throwIfAborted();
    const skipped = ranks.isFirst ? [] : [...pictures.skipped].filter(([path]) => !told.has(path));
    for (const [path] of skipped) told.add(path);
    if (!batch) return { observations: null, skipped };
    const { observations, made } = await observe(models, batch, judges, signal);
    for (const [i, { index, path, models }] of observations.entries()) {
      for (const [m, { row }] of models.entries()) {
        const { metric } = worst[m], isLost = metric === "identity" && row.face_lost === 1;
        const value = isLost ? Infinity : row[metric];
        worst[m].add({ index, path, value, original: batch.pictures[i], made: made[m][i] });
      }
    }
    return { observations, skipped };
  };
  const queues = Array.from({ length: ranks.size }, (): Queue => ({ waiting: [], isOver: false }));
  try {
    while (queues.some(({ isOver }) => !isOver)) {
      const all = await together(ranks, "evaluation", next, signal);
      for (const [rank, { observations, skipped }] of all.entries()) {
        queues[rank].isOver = observations === null;
        queues[rank].waiting.push(...observations ?? []);
        if (totals) { for (const [path, reason] of skipped) pictures.noteSkipped(path, reason); }
      }
      for (const one of inOrder(queues)) totals?.add(one);
      if (totals) onProgress?.(totals.paths.length);
    }
  } finally {
    await batches.return(undefined); // it waits for the pictures that are being read
  }
  const found = await together(ranks, "evaluation", () => worst.map(({ list }) => list));
  for (const lists of found) {
    for (const [m, list] of lists.entries()) for (const one of list) totals?.measured[m].worst.add(one);
  }
  return totals;
}

/** The observations of a rank that have not been added up yet, because some of other ranks come first. */
interface Queue {
  readonly waiting: Observation[];
  isOver: boolean;
}

/** Takes observations out of the queues, in the order of the pictures, as long as it is certain which one comes next. */
function* inOrder(queues: readonly Queue[]): Generator<Observation> {
  while (queues.every(({ waiting, isOver }) => isOver || waiting.length > 0)) {
    const full = queues.filter(({ waiting }) => waiting.length > 0);
    if (full.length === 0) return;
    const first = full.reduce((a, b) => b.waiting[0].index < a.waiting[0].index ? b : a);
    yield first.waiting.shift()!;
  }
}

/** What all pictures add up to. */
export class Totals {
  readonly measured: readonly Measured[];
  /** The paths of the pictures that could be read. */
  readonly paths: string[] = [];
  readonly #judges: Judges;
  /** The distances of each original's face from that of the next one. */
  readonly #apart: number[] = [];
  #neighbour: Float32Array | null = null;

  constructor(models: readonly VQGAN[], judges: Judges) {
    this.#judges = judges;
    const spaces = [...judges.spaces, ...judges.faces ? [{ name: "face", size: faceSize }] : []];
    this.measured = models.map((model) => ({
      rows: [],
      usage: new CodebookUsage(model.vocabulary),
      tokensEach: 0,
      moments: new Map(
        spaces.map(({ name, size }) => [name, { originals: new Moments(size), made: new Moments(size) }]),
      ),
      worst: new WorstReconstructions(worstBy(judges)),
    }));
  }

  /** The mean distance of the face of each original from that of the next one; NaN if there are no two faces. */
  get strangers(): number {
    return this.#apart.reduce((sum, d) => sum + d, 0) / this.#apart.length;
  }

  /** Adds a picture. The bits of the sums depend on the order. */
  add({ path, original, models }: Observation): void {
    this.paths.push(path);
    const { face } = original;
    if (face && this.#neighbour) this.#apart.push(faceDistance(face, this.#neighbour));
    this.#neighbour = face ?? this.#neighbour;
    for (const [m, { row, tokens, features, face: made }] of models.entries()) {
      const one = this.measured[m];
      one.rows.push(row);
      one.usage.add(tokens);
      one.tokensEach = tokens.length;
      const add = (space: string, original: Float32Array, made: Float32Array) => {
        one.moments.get(space)!.originals.add(original);
        one.moments.get(space)!.made.add(made);
      };
      this.#judges.spaces.forEach(({ name }, s) => add(name, original.features[s], features[s]));
      if (face && made) add("face", face, made);
    }
  }
}
