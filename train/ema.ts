// The average of a model's weights over the steps (Polyak & Juditsky 1992), with weights that fall exponentially (EMA). It is
// less noisy than the weights of the last step, and is what a run measures, draws and calls the best.
import { isAutoencoder } from "../data/formats/state_dict_keys.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { check, isWhole, rule } from "../src/check.ts";
import { keep, type Tensor, zeros } from "../src/index.ts";
import { lerpInPlace } from "../src/ops/in_place.ts";
import { checkModel } from "./step_checks.ts";
import type { TrainState } from "./train_state.ts";

const aDecay = rule("a number above 0 and below 1", (n) => typeof n === "number" && n > 0 && n < 1);

/**
 * The average of the autoencoder's weights: average = d average + (1 - d) weight after each step. As in TensorFlow, d begins
 * low, (1 + n) / (10 + n) after n steps, so that the first weights are soon forgotten. What is frozen has no average.
 */
export class WeightAverages implements TrainState {
  /** "ema", its name in checkpoints. */
  readonly name = "ema";
  /** How much of the average remains after a step, once it is warm. */
  readonly decay: number;
  readonly #weights: ReadonlyMap<string, Tensor>;
  readonly #averages: ReadonlyMap<string, Tensor>;
  #updates = 0;

  /** Begins with the weights as they are. @throws TypeError if the decay is not between 0 and 1 */
  constructor(model: VQGAN, decay: number) {
    checkModel("WeightAverages", model);
    check("WeightAverages", "the decay", decay, aDecay);
    this.decay = decay;
    const parameters = model.namedParameters();
    this.#weights = new Map(
      [...model.stateDict()].filter(([key, t]) =>
        isAutoencoder(key) && t.dtype === "f32" && (parameters.get(key)?.requiresGrad ?? true)
      ),
    );
    this.#averages = new Map(
      [...this.#weights].map(([key, { shape, backend }]) => [key, keep(zeros(shape, "f32", backend))]),
    );
    this.begin();
  }

  /** Begins again with the weights as they are. */
  begin(): void {
    for (const [key, average] of this.#averages) average.assign(this.#weights.get(key)!);
    this.#updates = 0;
  }

  /** Takes the weights after a step into the average. */
  update(): void {
    this.#updates++;
    const decay = Math.min(this.decay, (1 + this.#updates) / (10 + this.#updates));
    for (const [key, average] of this.#averages) lerpInPlace(average, this.#weights.get(key)!, 1 - decay);
  }

  /** Gives numbers of a weight that were overwritten to the average too, because a mean of the two would be neither. */
  overwrite(weight: Tensor, values: Float32Array, offset: number): void {
    for (const average of this.averageOf(weight)) average.write(values, offset);
  }

  /** The average of a weight; none if the weight has none. */
  averageOf(weight: Tensor): Tensor[] {
    return [...this.#weights].flatMap(([key, own]) => own === weight ? [this.#averages.get(key)!] : []);
  }

  /**
   * Runs a function with the averages in place of the weights, without copying them. No step may run meanwhile.
   * @returns what it returns
   */
  async during<T>(fn: () => Promise<T>): Promise<T> {
    this.#exchange();
    try {
      return await fn();
    } finally {
      this.#exchange();
    }
  }

  #exchange(): void {
    for (const [key, average] of this.#averages) average.exchange(this.#weights.get(key)!);
  }

  /** The averages by the keys of their weights. */
  tensors(): ReadonlyMap<string, Tensor> {
    return this.#averages;
  }

  /** How many steps are in the average. */
  values(): { readonly updates: number } {
    return { updates: this.#updates };
  }

  /** Takes the number of steps back. @throws if it is not a whole number */
  restore(values: unknown): void {
    const { updates } = (values ?? {}) as { updates?: unknown };
    if (!isWhole(updates)) throw new Error(`the number of updates is ${updates}, expected a whole number`);
    this.#updates = updates;
  }

  /** Frees the averages. */
  dispose(): void {
    for (const average of this.#averages.values()) average.dispose();
  }
}
