// Codes as running averages of the vectors that chose them (van den Oord et al. 2017, appendix A.1), with decay d and Laplace
// smoothing: n <- d n + (1 - d) counts; m <- d m + (1 - d) sums; N = sum n; code = m / ((n + eps) / (N + K eps) N), where
// counts and sums are over the vectors of a step, on all ranks. The loss then has no codebook term.
import type { Quantizer } from "../../nn/quantizers/quantizer.ts";
import { asyncScope, embedding, full, grad, keep, type Tensor, zeros } from "../../src/index.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import type { CodeLearning } from "./learning.ts";
import { checkStarted } from "./started.ts";

/** The Laplace smoothing, as in taming's EMAVectorQuantizer. */
const EPS = 1e-5;

/** Moves the codes of a quantizer by running averages. Before the first step every code counts as the average of one vector. */
export class EmaCodes implements CodeLearning {
  readonly name = "codebook_ema";
  readonly #quantizer: Quantizer;
  readonly #decay: number;
  readonly #ranks: Ranks;
  /** n as [K, 1], and m as [K, C]. */
  #averages: { readonly sizes: Tensor; readonly sums: Tensor } | null = null;
  /** Until the first step the averages follow the codes, which k-means or a file may still replace. */
  #isStarted = false;

  /** @param decay from 0 to below 1 */
  constructor(quantizer: Quantizer, decay: number, ranks: Ranks = oneRank) {
    this.#quantizer = quantizer;
    this.#decay = decay;
    this.#ranks = ranks;
  }

  /** Adam has nothing to do with these codes. */
  beforeUpdate(): void {}

  /** Averages the vectors of a step, and sets the codes. */
  async afterStep(latents: readonly Tensor[], indices: readonly Tensor[]): Promise<void> {
    const { codebook } = this.#quantizer;
    if (!codebook.requiresGrad) return;
    const { sizes, sums } = this.#start();
    await asyncScope(async () => {
      const [codes, channels] = codebook.shape, d = this.#decay;
      const counted = zeros(sizes.shape, "f32", codebook.backend);
      const summed = zeros(sums.shape, "f32", codebook.backend);
      latents.forEach((z, i) => {
        const rows = this.#quantizer.comparable(z.detach().reshape(-1, channels));
        const tokens = indices[i].reshape(-1);
        const one = full([rows.shape[0], 1], 1, codebook.backend);
        counted.assign(counted.add(sumByCode(one, tokens, codes)));
        summed.assign(summed.add(sumByCode(rows, tokens, codes)));
      });
      await this.#ranks.sum([counted, summed]);
      sizes.assign(sizes.mul(d).add(counted.mul(1 - d)));
      sums.assign(sums.mul(d).add(summed.mul(1 - d)));
      const total = sizes.sum();
      codebook.assign(sums.div(sizes.add(EPS).div(total.add(codes * EPS)).mul(total)));
    });
  }

  /** Codes that were moved count as the average of as many vectors as the average code. */
  async moved(moved: readonly number[]): Promise<void> {
    const { codebook } = this.#quantizer, [codes, channels] = codebook.shape;
    const { sizes, sums } = this.#start();
    const size = (await sizes.floats()).reduce((sum, n) => sum + n, 0) / codes;
    const values = await codebook.floats();
    for (const k of moved) {
      sizes.write(Float32Array.of(size), k);
      sums.write(values.slice(k * channels, (k + 1) * channels).map((value) => value * size), k * channels);
    }
  }

  /** The averages, which begin as the codes. */
  #start(): { readonly sizes: Tensor; readonly sums: Tensor } {
    const averages = this.#made();
    if (!this.#isStarted) {
      averages.sizes.write(new Float32Array(averages.sizes.size).fill(1));
      averages.sums.assign(this.#quantizer.codebook);
      this.#isStarted = true;
    }
    return averages;
  }

  #made(): { readonly sizes: Tensor; readonly sums: Tensor } {
    const { codebook: { shape, backend } } = this.#quantizer;
    return this.#averages ??= {
      sizes: keep(zeros([shape[0], 1], "f32", backend)),
      sums: keep(zeros(shape, "f32", backend)),
    };
  }

  /** The averages, as a checkpoint stores them. */
  tensors(): ReadonlyMap<string, Tensor> {
    return new Map(Object.entries(this.#made()));
  }

  /** Whether there was a step. */
  values(): { isStarted: boolean } {
    return { isStarted: this.#isStarted };
  }

  /** Takes the value back. @throws if it is no truth value */
  restore(values: unknown): void {
    this.#isStarted = checkStarted(values).isStarted;
  }

  /** Frees the averages. */
  dispose(): void {
    this.#averages?.sizes.dispose();
    this.#averages?.sums.dispose();
    this.#averages = null;
  }
}

/** The sum of those rows [N, C] that have the same token [N], for each of `codes` codes. It is the gradient of a look-up. */
function sumByCode(rows: Tensor, tokens: Tensor, codes: number): Tensor {
  const table = zeros([codes, rows.shape[1]], "f32", rows.backend);
  table.requiresGrad = true;
  return grad([embedding(tokens, table)], [table], { gradOutputs: [rows] })[0];
}
