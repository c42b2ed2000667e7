// A model in training: its optimizers, its step count, and what a step of either network needs.
import { setPrecision } from "../nn/precision.ts";
import type { Precision } from "../nn/layers.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { callback, checkOptions, flag, needed, oneOf, orNull, type Rules } from "../src/check.ts";
import { full, type Random, type Tensor } from "../src/index.ts";
import { withAdvice } from "./estimate.ts";
import { LossScale } from "./loss_scale.ts";
import {
  applyGradients,
  aRandom,
  checkBatches,
  makeOptimizers,
  type Network,
  type Optimizers,
  type StepResult,
  trainingStep,
} from "./step.ts";

/** How a `Trainer` trains. */
export interface TrainerOptions {
  /** The learning rate of both optimizers at a step, counted from 0. */
  readonly learningRate: (step: number) => number;
  /** Shows the discriminator what the autoencoder makes after its own update; see `TrainingStepOptions`. */
  readonly tamingExact?: boolean;
  /** f16 sets the model's precision (`setPrecision`) and scales the loss. Default f32. */
  readonly precision?: Precision;
  /** Dropout inside LPIPS, which taming trained with by accident. Default none. */
  readonly lpipsDropout?: Random | null;
}

const rules: Rules<TrainerOptions> = {
  learningRate: needed(callback),
  tamingExact: flag,
  precision: oneOf("f32", "f16"),
  lpipsDropout: orNull(aRandom),
};

/**
 * Both networks with their optimizers.
 * @example A step, and one of its losses
 * ```ts
 * import { asyncScope, Random, Trainer, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt", { withLoss: true });
 * const trainer = new Trainer(model, { learningRate: () => 4.5e-6 });
 * await asyncScope(async () => {
 *   const images = new Random(1).uniform([1, 32, 32, 3], -1, 1);
 *   const { logs } = await trainer.trainStep([images]); // reads nothing back
 *   console.log(await logs["train/rec_loss"].item());
 * });
 * ```
 */
export class Trainer {
  /** What is trained. */
  readonly model: VQGAN;
  /** As given to the constructor. */
  readonly options: TrainerOptions;
  /** One for each network. */
  readonly optimizers: Optimizers;
  /**
   * The factor of the loss in f16; null in f32.
   * @internal
   */
  lossScale: LossScale | null = null;
  /** Steps done. A step is one update of both networks, however many batches went into it. */
  step = 0;

  /** Makes the optimizers and sets the model's precision. @throws if the learning rate is no function, or f16 is asked of a device that has none */
  constructor(model: VQGAN, options: TrainerOptions) {
    checkOptions("Trainer", options, rules);
    this.model = model;
    this.options = options;
    const { precision = "f32" } = options;
    setPrecision(model, precision);
    if (precision === "f16") this.lossScale = new LossScale();
    this.optimizers = makeOptimizers(model, options.learningRate(0));
  }

  /** The rate at which the next step learns. */
  get lr(): number {
    return this.options.learningRate(this.step);
  }

  /**
   * One step on one batch, or on several whose gradients are averaged. Nothing is read back from the device, except with
   * f16 one number every ten steps. The tensors in the result pass to the surrounding scope.
   *
   * @throws TypeError unless the batches are a list of tensors; BatchTooLargeError where memory does not suffice, with the batch for which it would
   */
  async trainStep(batches: readonly Tensor[]): Promise<StepResult> {
    checkBatches("trainStep", batches);
    const { model, optimizers, options: { tamingExact, lpipsDropout } } = this;
    const lossScale = this.lossScale?.value;
    optimizers.generator.lr = optimizers.discriminator.lr = this.lr;
    optimizers.generator.lossScale = lossScale;
    const options = { globalStep: this.step, lossScale, lpipsDropout, tamingExact };
    try {
      const { logs, indices } = await trainingStep(
        model,
        batches,
        options,
        (network) => this.#apply(network),
      );
      this.step++;
      if (lossScale === undefined) return { logs, indices };
      return { logs: { ...logs, "train/loss_scale": full([], lossScale, batches[0].backend) }, indices };
    } catch (error) {
      const largest = batches.reduce((a, b) => b.size > a.size ? b : a);
      const [batch, height, width] = largest.shape, { precision = "f32" } = this.options;
      throw await withAdvice(error, model.config, { batch, height, width, precision }, batches.length);
    }
  }

  async #apply(network: Network): Promise<void> {
    if (network === "generator") await this.lossScale?.update(this.step + 1, this.#watchedGradient());
    applyGradients(this.optimizers[network]);
  }

  /** Where every overflow shows: in the first layer, which backward reaches last; if that is frozen, in the sum of all. */
  #watchedGradient(): Tensor {
    const { weight, bias } = this.model.encoder.conv_in;
    if (bias?.grad) return bias.grad;
    const gradients = [...this.model.generatorParameters().values()].flatMap(({ grad }) => grad ?? []);
    return gradients.reduce((sum, gradient) => sum.add(gradient.sum()), full([], 0, weight.backend));
  }

  /** Frees what the optimizers remember. The model lives on. */
  dispose(): void {
    for (const optimizer of Object.values(this.optimizers)) optimizer.dispose();
    this.lossScale?.dispose();
  }
}
