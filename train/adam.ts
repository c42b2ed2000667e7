// Adam (Kingma & Ba 2015) over named parameters, with the same arithmetic as torch:
// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps).
// With weight decay it is AdamW (Loshchilov & Hutter 2019): p *= 1 - lr * decay comes first.
import {
  callback,
  check,
  checkOptions,
  fraction,
  needed,
  notNegative,
  type Rule,
  rule,
  type Rules,
  shown,
} from "../src/check.ts";
import { adamStep, keep, type Tensor, zeros } from "../src/index.ts";
import { checkTensor } from "../src/operands.ts";

/** The settings of Adam. */
export interface AdamOptions {
  /** The learning rate. */
  readonly lr: number;
  /** The decay rates of the two averages. Default (0.5, 0.9), with which taming trains both networks. */
  readonly betas?: readonly [number, number];
  /** Added to the divisor, so that the quotient stays finite. Default 1e-8. */
  readonly eps?: number;
  /** The share of a weight that each step takes away, per unit of the learning rate. Default 0. Above 0 it is AdamW. */
  readonly weightDecay?: number;
  /** Which parameters decay. Default all. */
  readonly decays?: (key: string, parameter: Tensor) => boolean;
  /** The factor of the learning rate for a parameter. Default 1 for all. */
  readonly rateFactor?: (key: string) => number;
}

/** The rule of Adam's decay rates. */
export const aPairOfBetas: Rule = rule(
  "two numbers from 0 to below 1",
  (value) => Array.isArray(value) && value.length === 2 && value.every(fraction.accepts),
);
const rules: Rules<AdamOptions> = {
  lr: needed(notNegative),
  betas: aPairOfBetas,
  eps: notNegative,
  weightDecay: notNegative,
  decays: callback,
  rateFactor: callback,
};

/** The running averages of a parameter's gradient and of its square, and the number of gradients in them. */
export interface Moments {
  /** The number of gradients. */
  step: number;
  /** The average of the gradient, in the parameter's shape. */
  readonly expAvg: Tensor;
  /** The average of its square, in the parameter's shape. */
  readonly expAvgSq: Tensor;
}

/**
 * Updates parameters in place by their `.grad`. A parameter without a gradient is skipped, and so is its step count, as
 * in torch.
 *
 * @example One step down a parabola
 * ```ts
 * import { Adam, backward, tensor } from "@tessera/vqgan/core";
 *
 * const w = tensor([3], [1], { requiresGrad: true });
 * const adam = new Adam(new Map([["w", w]]), { lr: 0.1 });
 * backward(w.square().sum());
 * adam.step();
 * adam.zeroGrad();
 * console.log(await w.item()); // 2.9
 * ```
 */
export class Adam {
  /** The tensors to update, by the names under which a checkpoint keeps their moments. */
  readonly parameters: ReadonlyMap<string, Tensor>;

  /** The learning rate of the next `step()`. */
  lr: number;
  /** The factor by which the gradients are multiplied (loss_scale.ts), for the next `step()`. */
  lossScale: number | undefined;
  /** The decay rates of the two averages. */
  readonly betas: readonly [number, number];
  /** Added to the divisor, so that the quotient stays finite. */
  readonly eps: number;
  readonly #options: AdamOptions;
  readonly #moments = new Map<string, Moments>();

  /**
   * Makes an optimizer without moments. The options apply to all parameters.
   * @throws TypeError if the parameters are not a Map of tensors, the learning rate is missing, or a setting is not a
   * number
   */
  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamOptions) {
    if (!(parameters instanceof Map)) {
      throw new TypeError(
        `Adam: the parameters are ${
          shown(parameters)
        }, expected a Map of tensors, such as model.generatorParameters()`,
      );
    }
    for (const parameter of parameters.values()) checkTensor("Adam", parameter);
    checkOptions("Adam", options, rules);
    this.parameters = parameters;
    this.lr = options.lr;
    this.betas = options.betas ?? [0.5, 0.9];
    this.eps = options.eps ?? 1e-8;
    this.#options = options;
  }

  /** Updates every parameter that has a gradient. @throws TypeError if `lr` is not a number; then nothing is counted */
  step(): void {
    const { betas: [beta1, beta2], eps, lossScale } = this;
    const { weightDecay = 0, decays = () => true } = this.#options;
    check("Adam", "lr", this.lr, notNegative);
    for (const [key, parameter] of this.parameters) {
      if (!parameter.grad) continue;
      const moments = this.moments(key);
      const step = ++moments.step;
      const lr = this.rateOf(key);
      const decay = decays(key, parameter) ? 1 - lr * weightDecay : 1;
      const spec = { lr, beta1, beta2, eps, step, lossScale, decay };
      adamStep(parameter, parameter.grad, moments.expAvg, moments.expAvgSq, spec);
    }
  }

  /** The learning rate of one parameter. */
  rateOf(key: string): number {
    return this.lr * (this.#options.rateFactor?.(key) ?? 1);
  }

  /** Returns the key of a parameter, which depends on where its module is. @throws if it is not in this optimizer */
  keyOf(parameter: Tensor): string {
    for (const [key, p] of this.parameters) if (p === parameter) return key;
    throw new Error(
      `Adam: a tensor of shape [${parameter.shape}] is not one of its ${this.parameters.size} parameters`,
    );
  }

  /** Frees the gradients. */
  zeroGrad(): void {
    for (const parameter of this.parameters.values()) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Returns the moments of a parameter, which are zeros at first. @throws if the parameter is not in this optimizer */
  moments(key: string): Moments {
    const known = this.#moments.get(key);
    if (known) return known;
    const parameter = this.parameters.get(key);
    if (!parameter) throw new Error(`Adam: "${key}" is not one of its ${this.parameters.size} parameters`);
    const zeroMoment = () => keep(zeros(parameter.shape, "f32", parameter.backend));
    const fresh = { step: 0, expAvg: zeroMoment(), expAvgSq: zeroMoment() };
    this.#moments.set(key, fresh);
    return fresh;
  }

  /** Returns the moments of every parameter that has received a gradient, by key, for a checkpoint. */
  state(): ReadonlyMap<string, Moments> {
    return this.#moments;
  }

  /** Frees the moments. The parameters belong to the caller. */
  dispose(): void {
    for (const { expAvg, expAvgSq } of this.#moments.values()) {
      expAvg.dispose();
      expAvgSq.dispose();
    }
    this.#moments.clear();
  }
}
