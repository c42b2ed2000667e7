// Moves codes that are chosen too rarely to vectors of the current pictures (as in Jukebox, Dhariwal et al. 2020, section 3.1).
import type { CodebookUsage } from "../../nn/quantizers/codebook_usage.ts";
import type { VQGAN } from "../../nn/vqgan.ts";
import { check, checkOptions, fraction, object, orNull, rule, type Rules } from "../../src/check.ts";
import type { Random, Tensor } from "../../src/index.ts";
import type { Adam } from "../adam.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import { WeightAverages } from "../ema.ts";
import { checkAdam } from "../optimizers.ts";
import { aRandom, checkModel } from "../step_checks.ts";
import { encodedVectors } from "./kmeans.ts";
import type { CodeLearning } from "./learning.ts";
import { CodeUsage } from "./usage.ts";

/** How codes are restarted. */
export interface RestartOptions {
  /** A code is dead if it was chosen at most this many times as often as the average code. Default 0: if it was never chosen. */
  readonly below?: number;
  /** What moves the codes between restarts, if not Adam (`Trainer.codes`). */
  readonly learning?: CodeLearning | null;
  /** The average of the weights, which gets codes that move at once (`Trainer.averages`). */
  readonly averages?: WeightAverages | null;
  /** The processes that train together. Rank 0 moves the codes, with its pictures, and the others take them over. */
  readonly ranks?: Ranks;
}

const rules: Rules<RestartOptions> = {
  below: fraction,
  learning: orNull(object),
  averages: orNull(rule("a WeightAverages", (value) => value instanceof WeightAverages)),
  ranks: object,
};

/** Moves dead codes to vectors of the current pictures. */
export class DeadCodeRestart {
  /** The model whose codes are moved. */
  readonly model: VQGAN;
  /** The autoencoder's optimizer. The moments of a code that moves are cleared. */
  readonly optimizer: Adam;
  /** Counts which codes are chosen; training tells it the tokens of each step. */
  readonly usage: CodeUsage;
  /** Chooses the vectors to which codes move. */
  readonly random: Random;
  readonly #options: RestartOptions;
  readonly #counts: CodebookUsage;

  /** Starts to count. @throws TypeError if an argument has another type */
  constructor(
    model: VQGAN,
    optimizer: Adam,
    usage: CodeUsage,
    random: Random,
    options: RestartOptions = {},
  ) {
    checkModel("DeadCodeRestart", model);
    checkAdam("DeadCodeRestart", optimizer);
    check("DeadCodeRestart", "usage", usage, rule("a CodeUsage", (value) => value instanceof CodeUsage));
    check("DeadCodeRestart", "random", random, aRandom);
    checkOptions("DeadCodeRestart", options, rules);
    this.model = model;
    this.optimizer = optimizer;
    this.usage = usage;
    this.random = random;
    this.#options = options;
    this.#counts = usage.countForRestarts();
  }

  /**
   * Moves every code that is dead since the last call, clears its Adam moments, and starts to count again. A frozen codebook
   * stays as it is.
   * @returns how many codes were moved
   */
  async restart(images: Tensor): Promise<number> {
    const { ranks = oneRank } = this.#options;
    await this.usage.collect();
    let moved = 0;
    if (this.model.quantize.codebook.requiresGrad) {
      moved = await ranks.first("restarting codes", () => this.#move(images));
      await ranks.broadcast(this.#changed());
    }
    this.#counts.clear();
    return moved;
  }

  /** What a move changes. */
  #changed(): Tensor[] {
    const { model: { quantize: { codebook } }, optimizer } = this, { learning, averages } = this.#options;
    const moments = () => {
      const { expAvg, expAvgSq } = optimizer.moments(optimizer.keyOf(codebook));
      return [expAvg, expAvgSq];
    };
    const own = learning ? learning.tensors().values() : moments();
    return [codebook, ...own, ...averages?.averageOf(codebook) ?? []];
  }

  async #move(images: Tensor): Promise<number> {
    const { config: { nEmbed, embedDim }, quantize: { codebook } } = this.model;
    const { below = 0, learning = null, averages = null } = this.#options;
    const { counts } = this.#counts, { total } = this.#counts.summary();
    const vectors = await encodedVectors(this.model, images);
    const order = this.random.shuffle(vectors.length / embedDim);
    const moments = learning ? null : this.optimizer.moments(this.optimizer.keyOf(codebook));
    const nothing = new Float32Array(embedDim);
    const moved: number[] = [];
    for (let k = 0; k < nEmbed && moved.length < order.length; k++) {
      if (counts[k] > below * total / nEmbed) continue;
      const from = order[moved.length] * embedDim;
      moved.push(k);
      const vector = vectors.slice(from, from + embedDim);
      codebook.write(vector, k * embedDim);
      averages?.overwrite(codebook, vector, k * embedDim);
      moments?.expAvg.write(nothing, k * embedDim);
      moments?.expAvgSq.write(nothing, k * embedDim);
    }
    await learning?.moved(moved);
    return moved.length;
  }
}
