// Measures how many codes of a codebook are used, and how evenly.
import { check, isWhole, rule, whole } from "../../src/check.ts";

// an array works as well, in programs without type checks
const tokens = rule(
  "an Int32Array of tokens",
  (value) => Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView)),
);

/**
 * Counts how often each code was chosen, over any number of batches.
 * @example Two of four codes
 * ```ts
 * import { CodebookUsage } from "@tessera/vqgan/core";
 *
 * const usage = new CodebookUsage(4);
 * usage.add(Int32Array.of(0, 1, 1, 0));
 * console.log(usage.summary()); // { used: 2, usage: 0.5, perplexity: 2, total: 4 }
 * ```
 */
export class CodebookUsage {
  /** How often each code was chosen. */
  readonly counts: Int32Array;

  /** Starts with counts of 0. @param nEmbed the number of codes @throws if it is not a whole number above 0 */
  constructor(nEmbed: number) {
    check("CodebookUsage", "nEmbed", nEmbed, whole(1));
    this.counts = new Int32Array(nEmbed);
  }

  /** Takes counts that were made elsewhere. */
  static of(counts: Int32Array): CodebookUsage {
    const usage = new CodebookUsage(counts.length);
    usage.counts.set(counts);
    return usage;
  }

  /** Adds tokens to the counts. @throws if an index is outside the codebook. */
  add(indices: Int32Array): void {
    check("CodebookUsage", "the argument of add", indices, tokens);
    for (const index of indices) {
      if (!(isWhole(index) && index < this.counts.length)) {
        throw new Error(
          `CodebookUsage: index ${index} is outside the codebook of ${this.counts.length} codes`,
        );
      }
      this.counts[index]++;
    }
  }

  /** `usage` is the fraction of codes that were chosen at least once, `perplexity` the effective number of codes. */
  summary(): { used: number; usage: number; perplexity: number; total: number } {
    const { counts } = this;
    const used = counts.filter((n) => n > 0).length;
    return { used, usage: used / counts.length, perplexity: perplexity(counts), total: sum(counts) };
  }

  /** Sets all counts to 0. */
  clear(): void {
    this.counts.fill(0);
  }
}

/** exp(-sum p log p) of the frequencies p: the number of equally frequent codes that would have the same entropy. */
function perplexity(counts: Int32Array): number {
  const total = sum(counts);
  if (total === 0) return 0;
  let entropy = 0;
  for (const n of counts) if (n > 0) entropy -= (n / total) * Math.log(n / total);
  return Math.exp(entropy);
}

function sum(counts: Int32Array): number {
  return counts.reduce((sum, n) => sum + n, 0);
}
