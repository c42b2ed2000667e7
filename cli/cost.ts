// Says beforehand what large pictures take, and how far they are.
import { formatBytes } from "../data/index.ts";
import { type Cost, costOfDecoding, costOfEncoding, type VQGAN } from "../nn/index.ts";
import { asyncScope, currentBackend, zeros } from "../src/index.ts";
import { formatDuration, type Progress } from "./progress.ts";

/** Seconds from which on the time of a picture is announced. */
const long = 10;
/** Operations below which no picture is large: about a second on a slow machine. */
const small = 2 ** 36;

/** The size of a batch: pictures, and pixels of height and width. */
export type Size = readonly [count: number, height: number, width: number];

/** What pictures take of a half of the model, or of both. */
export class Costs {
  readonly #model: VQGAN;
  readonly #halves: readonly ("encoder" | "decoder")[];
  /** Operations per second, measured when the first large picture comes. */
  #speed: number | null = null;
  readonly #known = new Map<string, Cost>();

  constructor(model: VQGAN) {
    this.#model = model;
    this.#halves = (["encoder", "decoder"] as const).filter((half) => !model.isWithout(half));
  }

  /** Counts what a batch takes: of encoding, of decoding, or of both one after the other. */
  of([count, height, width]: Size): Cost {
    const key = `${[count, height, width]}`;
    const known = this.#known.get(key);
    if (known) return known;
    const { config, factor: f } = this.#model, { maxBytes } = currentBackend();
    const costs = this.#halves.map((half) =>
      half === "encoder"
        ? costOfEncoding(config, [count, height, width], maxBytes)
        : costOfDecoding(config, [count, height / f, width / f], maxBytes)
    );
    const cost = costs.reduce((a, b) => ({
      flops: a.flops + b.flops,
      bytes: Math.max(a.bytes, b.bytes),
      done: [...a.done, ...b.done.map((flops) => a.flops + flops)],
      isWhole: a.isWhole && b.isWhole,
    }));
    this.#known.set(key, cost);
    return cost;
  }

  /**
   * Says why a batch does not fit into the device's memory; null if it does, or if the device does not tell.
   * @param option the way out: what should be smaller
   */
  refusal(size: Size, option?: string): string | null {
    const { maxBytes = Infinity, name } = currentBackend(), { bytes } = this.of(size);
    if (bytes <= maxBytes) return null;
    const [, height, width] = size;
    const wayOut = option === undefined ? "" : `: choose a smaller ${option}`, most = formatBytes(maxBytes);
    return `${width}x${height} pixels take more than the ${most} that the device (${name}) has${wayOut}`;
  }

  /** Describes what a batch takes, if it takes long; otherwise null. */
  async announcement(size: Size): Promise<string | null> {
    const { flops, bytes, isWhole } = this.of(size);
    if (flops < small) return null;
    const seconds = flops / (this.#speed ??= await this.#measure());
    if (seconds < long) return null;
    const [count, height, width] = size;
    return `${count > 1 ? `${count} pictures of ` : ""}${width}x${height} pixels take ${
      isWhole ? "about" : "more than"
    } ` +
      `${formatDuration(seconds)} and ${formatBytes(bytes)}; Ctrl-C stops at any time`;
  }

  /** Computes a small picture, the second time with a clock. */
  async #measure(): Promise<number> {
    const { factor: f } = this.#model, side = Math.ceil(128 / f) * f;
    let seconds = 0;
    for (let round = 0; round < 2; round++) {
      const start = performance.now();
      await asyncScope(async () => {
        for (const half of this.#halves) {
          const { embedDim } = this.#model.config;
          const made = half === "encoder"
            ? this.#model.encode(zeros([1, side, side, 3])).latents
            : this.#model.decode(zeros([1, side / f, side / f, embedDim]));
          await made.sum().item();
        }
      });
      seconds = (performance.now() - start) / 1000;
    }
    return this.of([1, side, side]).flops / seconds;
  }

  /** Returns a function to call after each part of a batch: it shows in the progress line how much of it is done. */
  parts(size: Size, name: string, progress: Progress, done: number): () => void {
    const { done: flops, flops: all } = this.of(size);
    let part = 0;
    if (all < small) return () => {};
    return () => progress.update(done, `${name} ${Math.floor(100 * flops[part++] / all)} %`);
  }
}
