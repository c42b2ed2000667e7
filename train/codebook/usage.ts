// How many codes training uses: the fraction that was chosen, and the perplexity, over the last tokens. A window of four tokens
// for each code is long enough to see a codebook that is used evenly (98 % of the codes), and the same for every size of batch.
import { CodebookUsage } from "../../nn/quantizers/codebook_usage.ts";
import { check, isList, isWhole, object, orNull, rule } from "../../src/check.ts";
import { Tensor } from "../../src/index.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import type { TrainState } from "../train_state.ts";

/** Tokens in the window for each code. */
const perCode = 4;
/** Indices of at most this many steps wait on the device. */
const maxPending = 64;

const tensors = rule(
  "a list of tensors",
  (value) => isList(value) && (value as unknown[]).every((t) => t instanceof Tensor),
);

/** What the last tokens use. */
export interface RecentUsage {
  /** The fraction of the codes that was chosen at least once. */
  readonly usage: number;
  /** The effective number of codes; see `CodebookUsage`. */
  readonly perplexity: number;
  /** How many tokens were counted: at most four for each code. */
  readonly tokens: number;
}

/** Counts which codes training chooses, on all ranks. The counts continue when a run is resumed. */
export class CodeUsage implements TrainState {
  readonly name = "code_usage";
  readonly #codes: number;
  readonly #ranks: Ranks;
  readonly #pending: Tensor[] = [];
  /** The last tokens in a ring: the next one is written at `#at`. */
  readonly #ring: Int32Array;
  #at = 0;
  #length = 0;
  readonly #inRing: Int32Array;
  #sinceRestart: CodebookUsage | null = null;

  /** Starts without tokens. @param codes the number of codes @param ranks the processes that train together */
  constructor(codes: number, ranks: Ranks = oneRank) {
    this.#codes = codes;
    this.#ranks = ranks;
    this.#ring = new Int32Array(perCode * codes);
    this.#inRing = new Int32Array(codes);
  }

  /** Begins to count for restarts too. @returns these counts, which the caller clears */
  countForRestarts(): CodebookUsage {
    return this.#sinceRestart ??= new CodebookUsage(this.#codes);
  }

  /** Takes ownership of index tensors that were kept. Most are read later, many at a time, and then freed. */
  observe(indices: readonly Tensor[]): Promise<void> {
    check("CodeUsage", "the argument of observe", indices, tensors);
    this.#pending.push(...indices);
    return this.#pending.length > maxPending ? this.collect() : Promise.resolve();
  }

  /** Reads the pending tensors of all ranks, which brings all counts up to date. @throws if one has an index outside the codebook */
  async collect(): Promise<void> {
    const pending = this.#pending.splice(0);
    try {
      for (const indices of pending) {
        for (const tokens of await this.#ranks.gather(await indices.ints())) this.#count(tokens);
      }
    } finally {
      for (const indices of pending) indices.dispose();
    }
  }

  #count(tokens: Int32Array): void {
    const outside = tokens.find((token) => !(token >= 0 && token < this.#codes));
    if (outside !== undefined) {
      throw new Error(`CodeUsage: index ${outside} is outside the codebook of ${this.#codes} codes`);
    }
    this.#sinceRestart?.add(tokens);
    for (const token of tokens) {
      if (this.#length === this.#ring.length) this.#inRing[this.#ring[this.#at]]--;
      else this.#length++;
      this.#ring[this.#at] = token;
      this.#at = (this.#at + 1) % this.#ring.length;
      this.#inRing[token]++;
    }
  }

  /** What the last tokens use, after reading what is pending. */
  async recent(): Promise<RecentUsage> {
    await this.collect();
    const { usage, perplexity, total } = CodebookUsage.of(this.#inRing).summary();
    return { usage, perplexity, tokens: total };
  }

  /** There are none. */
  tensors(): ReadonlyMap<string, Tensor> {
    return new Map();
  }

  /** The last tokens, oldest first, and the counts since the last restart. */
  async values(): Promise<{ recent: number[]; sinceRestart: number[] | null }> {
    await this.collect();
    const { length } = this.#ring, first = this.#length === length ? this.#at : 0;
    const recent = Array.from({ length: this.#length }, (_, i) => this.#ring[(first + i) % length]);
    return { recent, sinceRestart: this.#sinceRestart && [...this.#sinceRestart.counts] };
  }

  /** Takes the counts back. @throws if they do not belong to a codebook of this size */
  restore(values: unknown): void {
    check("the usage of the codes", "it", values, object);
    const { recent, sinceRestart } = values as { recent: number[]; sinceRestart: number[] | null };
    const counts = rule(
      `${this.#codes} whole numbers`,
      (list) =>
        isList(list) && (list as unknown[]).length === this.#codes && (list as unknown[]).every(isWhole),
    );
    const tokens = rule(
      `at most ${this.#ring.length} tokens below ${this.#codes}`,
      (list) =>
        isList(list) && (list as unknown[]).length <= this.#ring.length &&
        (list as unknown[]).every((token) => isWhole(token) && token < this.#codes),
    );
    check("the usage of the codes", "recent", recent, tokens);
    check("the usage of the codes", "sinceRestart", sinceRestart, orNull(counts));
    this.dispose(); // what is pending belongs to steps that are taken back
    this.#at = this.#length = 0;
    this.#inRing.fill(0);
    this.#count(Int32Array.from(recent));
    if (sinceRestart) this.#sinceRestart?.counts.set(sinceRestart);
  }

  /** Frees what is pending. */
  dispose(): void {
    for (const indices of this.#pending.splice(0)) indices.dispose();
  }
}
