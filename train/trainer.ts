// A model in training: its optimizers, its step count, and what a step of both networks needs.
import { setPrecision } from "../nn/precision.ts";
import type { Precision } from "../nn/layers.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import {
  callback,
  check,
  checkOptions,
  flag,
  needed,
  notNegative,
  object,
  oneOf,
  orNull,
  type Rules,
} from "../src/check.ts";
import { full, keep, type Random, type Tensor, zeros } from "../src/index.ts";
import { withAdvice } from "./advice.ts";
import { clipGradients } from "./clip.ts";
import type { CodeLearning } from "./codebook/learning.ts";
import { makeLearning } from "./codebook/make_learning.ts";
import { codebookOf, type CodebookTraining, passOf } from "./codebook/options.ts";
import { countStep, type StepShape } from "./count.ts";
import { meanOf, oneRank, type Ranks } from "./distributed/ranks.ts";
import { WeightAverages } from "./ema.ts";
import { Gan } from "./gan/gan.ts";
import { type GanTerms, termRules } from "./gan/options.ts";
import { anIdentity, CountedIdentity, type IdentityLoss } from "./identity.ts";
import type { Logs } from "./logs.ts";
import { LossScale } from "./loss_scale.ts";
import { type UpdateOptions, updateRules } from "./optimizer_options.ts";
import { applyGradients, makeOptimizers, type Network, type Optimizers } from "./optimizers.ts";
import { type LossFactors, type StepResult, trainingStep } from "./step.ts";
import type { TrainState } from "./train_state.ts";
import { aRandom, checkBatches, checkModel } from "./step_checks.ts";

/** How a `Trainer` trains. */
export interface TrainerOptions {
  /** Returns the learning rate of both optimizers for a step, counted from 0. */
  readonly learningRate: (step: number) => number;
  /** Shows the discriminator what the autoencoder produces after its update; see `TrainingStepOptions`. */
  readonly tamingExact?: boolean;
  /** The type of the activations. f16 sets the model's precision (`setPrecision`) and scales the loss. Default f32. */
  readonly precision?: Precision;
  /** Dropout inside LPIPS, which taming used by accident. Default: none. */
  readonly lpipsDropout?: Random | null;
  /** The identity loss, which the trainer frees. Default: none. */
  readonly identity?: IdentityLoss | null;
  /** AdamW, clipping, rates of parts, and an average of the weights. Default: Adam as in taming. */
  readonly update?: UpdateOptions;
  /** The course and the balance of the GAN. Default: taming's. */
  readonly gan?: Partial<GanTerms>;
  /** How the codebook is trained, where that differs from taming's way. */
  readonly codebook?: Partial<CodebookTraining>;
  /** The processes that train together, each with a copy of the model. Default: this one alone. */
  readonly ranks?: Ranks;
}

const rules: Rules<TrainerOptions> = {
  learningRate: needed(callback),
  tamingExact: flag,
  precision: oneOf("f32", "f16"),
  lpipsDropout: orNull(aRandom),
  identity: orNull(anIdentity),
  update: object,
  gan: object,
  codebook: object,
  ranks: object,
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
  /** The model to train. */
  readonly model: VQGAN;
  /** The options that were given to the constructor. */
  readonly options: TrainerOptions;
  /** The optimizers of the two networks. */
  readonly optimizers: Optimizers;
  /**
   * The loss scale of f16; null with f32.
   * @internal
   */
  lossScale: LossScale | null = null;
  /** What moves the codes; null if Adam moves each by itself. */
  readonly codes: CodeLearning | null;
  /** What else is kept from step to step; checkpoints hold it, and `dispose` frees it. */
  readonly states: TrainState[] = [];
  /** The average of the weights; null without one. */
  readonly averages: WeightAverages | null;
  /** The course and the balance of the GAN. `gan.scale` may change between steps. */
  readonly gan: Gan;
  /** How much the other terms of the loss count. It may change between steps. Default: 1 each. */
  factors: Partial<LossFactors> = {};
  /** The processes that train together. */
  readonly ranks: Ranks;
  #isBusy = false;
  #isBroken = false;
  /** The number of steps done. A step is one update of both networks, with any number of batches. */
  step = 0;

  /**
   * Makes the optimizers and sets the model's precision.
   * @throws if the model is no VQGAN, the learning rate is not a function, or the device does not support f16
   */
  constructor(model: VQGAN, options: TrainerOptions) {
    checkModel("Trainer", model);
    checkOptions("Trainer", options, rules);
    checkOptions("Trainer: gan", options.gan ?? {}, termRules);
    this.model = model;
    this.options = options;
    const { precision = "f32", update = {} } = options,
      codebook = codebookOf("Trainer", options.codebook ?? {});
    checkOptions("Trainer: update", update, updateRules);
    this.optimizers = makeOptimizers(model, this.lr, update); // first, so that an invalid rate leaves the model's precision as it was
    model.quantize.setPass(passOf(codebook));
    this.ranks = options.ranks ?? oneRank;
    this.codes = makeLearning(model, codebook, this.ranks);
    if (this.codes) this.states.push(this.codes);
    setPrecision(model, precision);
    this.averages = update.ema ? new WeightAverages(model, update.ema) : null;
    if (this.averages) this.states.push(this.averages);
    if (precision === "f16") this.lossScale = new LossScale();
    this.gan = new Gan(options.gan, model.decoder.conv_out.weight);
    if (this.gan.lecam) this.states.push(this.gan.lecam);
  }

  /**
   * Whether a step failed after it had begun to update weights. They then belong to no step, and nothing that continues from
   * them would have the same bits. A step that fails earlier leaves everything as it was.
   */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** The learning rate of the next step. @throws TypeError if the function does not return a number >= 0 */
  get lr(): number {
    const lr = this.options.learningRate(this.step);
    check("Trainer", `learningRate(${this.step})`, lr, notNegative);
    return lr;
  }

  /**
   * Runs one step on one batch, or on several whose gradients are averaged. Nothing is read back from the device,
   * except one number every ten steps with f16. The tensors in the result belong to the surrounding scope. A step that
   * fails frees its gradients.
   *
   * @throws TypeError if the batches are not a list of tensors, or the learning rate is not a number >= 0; Error if another
   * step is still running; BatchTooLargeError, with the batch size that would fit, if memory runs out
   */
  async trainStep(batches: readonly Tensor[]): Promise<StepResult> {
    checkBatches("trainStep", batches);
    if (this.#isBusy) {
      throw new Error("trainStep: a step is still running: await it before the next one begins");
    }
    this.#isBusy = true;
    try {
      return await this.#step(batches);
    } finally {
      this.#isBusy = false;
    }
  }

  async #step(batches: readonly Tensor[]): Promise<StepResult> {
    const { model, optimizers, ranks, gan, options: { tamingExact, lpipsDropout, identity } } = this;
    const lossScale = this.lossScale?.value;
    optimizers.generator.lr = optimizers.discriminator.lr = this.lr;
    optimizers.generator.lossScale = lossScale;
    const { step: globalStep, factors } = this;
    const options = { globalStep, lossScale, lpipsDropout, tamingExact, identity, gan, factors, ranks };
    const averages = this.#copyAverages(), norms = new Map<string, Tensor>();
    let hasChanged = false;
    const apply = (network: Network) => {
      hasChanged = true;
      return this.#apply(network, norms);
    };
    try {
      const result = await trainingStep(model, batches, options, apply);
      await this.codes?.afterStep(result.latents, result.indices);
      for (const average of gan.lecam?.tensors().values() ?? []) average.assign(await meanOf(ranks, average));
      this.step++;
      const more: Logs = Object.fromEntries([...norms].map(([name, norm]) => [name, norm.detach()]));
      if (lossScale !== undefined) more["train/loss_scale"] = full([], lossScale, batches[0].backend);
      return { ...result, logs: { ...result.logs, ...more } };
    } catch (error) {
      if (hasChanged) this.#isBroken = true;
      else for (const [average, copy] of averages) average.assign(copy);
      const largest = batches.reduce((a, b) => b.size > a.size ? b : a);
      const [batch, height, width] = largest.shape, { precision = "f32" } = this.options;
      const count = (shape: StepShape) => countStep(model.config, shape, (other) => this.#counted(other));
      throw await withAdvice(error, { batch, height, width, precision }, count, batches.length);
    } finally {
      for (const kept of [...averages.values(), ...norms.values()]) kept.dispose();
    }
  }

  /** A trainer like this one, of a model on a device that only counts. */
  #counted(model: VQGAN): Trainer {
    const { identity } = this.options, own = this.model.namedParameters();
    for (const [key, parameter] of model.namedParameters()) {
      parameter.requiresGrad = own.get(key)?.requiresGrad ?? parameter.requiresGrad;
    }
    const lpips = model.loss?.perceptual_loss;
    if (lpips) lpips.ready = this.model.loss?.perceptual_loss?.ready ?? false;
    const counted = identity ? new CountedIdentity(identity) : null;
    return new Trainer(model, { ...this.options, identity: counted, ranks: oneRank });
  }

  /** Copies the averages of batch norm and of LeCam, which every pass of the discriminator changes. */
  #copyAverages(): Map<Tensor, Tensor> {
    const copies = new Map<Tensor, Tensor>();
    const averages = [
      ...this.model.loss?.discriminator.namedBuffers().values() ?? [],
      ...this.gan.lecam?.tensors().values() ?? [],
    ];
    for (const average of averages) {
      const copy = keep(zeros(average.shape, average.dtype, average.backend));
      copy.assign(average);
      copies.set(average, copy);
    }
    return copies;
  }

  /**
   * Gives all ranks the running statistics of batch norm that rank 0 has, because those are measured and saved. Training does
   * not use them.
   */
  async shareStatistics(): Promise<void> {
    await this.ranks.broadcast([...this.model.loss?.discriminator.namedBuffers().values() ?? []]);
  }

  /** Updates a network, and adds the norm of its gradients to `norms` if they are clipped. */
  async #apply(network: Network, norms: Map<string, Tensor>): Promise<void> {
    const optimizer = this.optimizers[network], { clip = 0 } = this.options.update ?? {};
    if (network === "generator") {
      await this.lossScale?.update(this.step + 1, this.#watchedGradient());
      this.codes?.beforeUpdate(optimizer);
    }
    const norm = clip > 0 ? clipGradients(optimizer.parameters.values(), clip, optimizer.lossScale) : null;
    if (norm) norms.set(`train/${network === "generator" ? "" : "disc_"}grad_norm`, keep(norm));
    applyGradients(optimizer);
    if (network === "generator") this.averages?.update();
  }

  /**
   * Runs a function that evaluates the model, with the average of the weights in place of the weights if there is one.
   * @throws Error if a step is running
   */
  async evaluate<T>(fn: () => Promise<T>): Promise<T> {
    if (this.#isBusy) throw new Error("evaluate: a step is still running: await it first");
    if (!this.averages) return await fn();
    this.#isBusy = true;
    try {
      return await this.averages.during(fn);
    } finally {
      this.#isBusy = false;
    }
  }

  /**
   * Returns a gradient that shows every overflow: that of the first layer, which the backward pass reaches last, or the
   * sum of all gradients if this layer is frozen.
   */
  #watchedGradient(): Tensor {
    const { weight, bias } = this.model.encoder.conv_in;
    if (bias?.grad) return bias.grad;
    const gradients = [...this.model.generatorParameters().values()].flatMap(({ grad }) => grad ?? []);
    return gradients.reduce((sum, gradient) => sum.add(gradient.sum()), full([], 0, weight.backend));
  }

  /** Frees the optimizers' moments and the identity loss. The model stays. */
  dispose(): void {
    this.options.identity?.dispose();
    for (const optimizer of Object.values(this.optimizers)) optimizer.dispose();
    this.lossScale?.dispose();
    for (const state of this.states) state.dispose();
  }
}
