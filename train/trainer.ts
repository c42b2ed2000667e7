// The adversarial training step in taming's order: the autoencoder learns (optimizer 0), then the discriminator
// (optimizer 1), on the same pictures; only then the step counts.
import { asyncScope, full, noGrad, type Random, type Tensor } from "../src/index.ts";
import {
  discriminatorStep,
  generatorStep,
  type Logs,
  type Precision,
  setPrecision,
  type VQGAN,
} from "../nn/index.ts";
import { Adam } from "./adam.ts";
import { withAdvice } from "./estimate.ts";
import { LossScale } from "./loss_scale.ts";

export interface TrainerOptions {
  /** The learning rate of both optimizers at a step, counted from 0. */
  readonly learningRate: (step: number) => number;
  /**
   * Shows the discriminator a reconstruction by the autoencoder that has just learnt, at the price of another forward
   * pass, as Lightning did. Default: the one that is already there.
   */
  readonly tamingExact?: boolean;
  /** f16 sets the model's precision (`setPrecision`) and scales the loss. Default f32. */
  readonly precision?: Precision;
  /** Dropout inside LPIPS, which taming trained with by accident. Default none. */
  readonly lpipsDropout?: Random | null;
}

export interface StepResult {
  /** One-element tensors under taming's names, averaged over the accumulated batches. */
  readonly logs: Logs;
  /** Tokens of each batch, i32 [B, h, w]. */
  readonly indices: Tensor[];
}

/**
 * Both networks with their optimizers.
 * @example
 * const trainer = new Trainer(model, { learningRate: () => 4.5e-6 });
 * const { logs } = await trainer.trainStep([images]); // reads nothing back; the caller frees the logs
 */
export class Trainer {
  readonly model: VQGAN;
  readonly options: TrainerOptions;

  readonly generator: Adam;
  readonly critic: Adam;
  /** Of f16. */
  lossScale: LossScale | null = null;
  /** Steps done. A step is one update of both networks, however many batches went into it. */
  step = 0;

  /** @throws if f16 is asked of a device that has none */
  constructor(model: VQGAN, options: TrainerOptions) {
    this.model = model;
    this.options = options;
    const { precision = "f32" } = options;
    setPrecision(model, precision);
    if (precision === "f16") this.lossScale = new LossScale();
    const lr = options.learningRate(0);
    this.generator = new Adam(model.generatorParameters(), { lr });
    this.critic = new Adam(model.discriminatorParameters(), { lr });
  }

  /** The rate at which the next step learns. */
  get lr(): number {
    return this.options.learningRate(this.step);
  }

  /**
   * One step on one batch, or on several whose gradients are averaged. Nothing is read back from the device (with f16 one
   * number every ten steps); the
   * tensors in the result are passed to the surrounding scope.
   */
  trainStep(batches: readonly Tensor[]): Promise<StepResult> {
    if (batches.length === 0) throw new Error("trainStep: no batch was given");
    this.generator.lr = this.critic.lr = this.lr;
    return asyncScope(async () => {
      const results: StepResult[] = [];
      for (const [i, images] of batches.entries()) {
        results.push(await this.#batch(images, batches.length, i === batches.length - 1));
      }
      this.step++;
      return {
        logs: results.length === 1 ? results[0].logs : average(results.map(({ logs }) => logs)),
        indices: results.flatMap(({ indices }) => indices),
      };
    });
  }

  /** @throws where memory does not suffice, with the batch for which it would */
  async #batch(images: Tensor, count: number, isLast: boolean): Promise<StepResult> {
    try {
      return await this.#learn(images, count, isLast);
    } catch (error) {
      const [batch, height, width] = images.shape, { precision = "f32" } = this.options;
      throw withAdvice(error, this.model.config, { batch, height, width, precision });
    }
  }

  #learn(images: Tensor, count: number, isLast: boolean): Promise<StepResult> {
    const { model, options: { tamingExact, lpipsDropout } } = this;
    const lossScale = this.lossScale?.value;
    const options = { globalStep: this.step, gradScale: 1 / count, lossScale, lpipsDropout };
    return asyncScope(async () => {
      const generator = generatorStep(model, images, options);
      if (isLast) {
        await this.lossScale?.update(this.step + 1, model.encoder.conv_in.bias!.grad!);
        this.generator.lossScale = lossScale;
        update(this.generator);
      }
      await images.backend.pause(); // without it a signal or a finished read would wait for many steps
      const reconstruction = tamingExact
        ? noGrad(() => model.forward(images).reconstruction)
        : generator.reconstruction;
      const criticLogs = discriminatorStep(model, images, reconstruction, options);
      if (isLast) update(this.critic);
      await images.backend.pause();
      const scaleLog: Logs = lossScale === undefined ? {} : { "train/loss_scale": full([], lossScale) };
      return { logs: { ...generator.logs, ...criticLogs, ...scaleLog }, indices: [generator.indices] };
    });
  }

  dispose(): void {
    this.generator.dispose();
    this.critic.dispose();
    this.lossScale?.dispose();
  }
}

function update(optimizer: Adam): void {
  optimizer.step();
  optimizer.zeroGrad();
}

function average(all: readonly Logs[]): Logs {
  return Object.fromEntries(
    Object.keys(all[0]).map((name) => {
      const sum = all.slice(1).reduce((sum, logs) => sum.add(logs[name]), all[0][name]);
      return [name, sum.mul(1 / all.length)];
    }),
  );
}
