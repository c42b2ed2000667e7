// The layer of which Inception is made: a convolution without bias, batch norm by its stored averages, and ReLU.
import { conv2d, ones, relu, type Tensor, zeros } from "../../src/index.ts";
import { buffer } from "../init.ts";
import { Layer, Module } from "../module.ts";

/** How the filters move. */
export interface ConvNormOptions {
  readonly stride?: number;
  /** Zeros above and below, and on the left and on the right. */
  readonly padding?: readonly [vertical: number, horizontal: number];
}

/** The stored averages of batch norm and its weights, under torch's names. */
class Norm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;

  constructor(channels: number) {
    super();
    this.weight = buffer(ones([channels]));
    this.bias = buffer(zeros([channels]));
    this.running_mean = buffer(zeros([channels]));
    this.running_var = buffer(ones([channels]));
  }
}

/** relu(norm(conv(x))). */
export class ConvNorm extends Layer {
  readonly conv: { readonly weight: Tensor };
  readonly bn: Norm;
  readonly #stride: number;
  readonly #padding: readonly [number, number, number, number];

  constructor(from: number, to: number, kernel: readonly [number, number], options: ConvNormOptions = {}) {
    super();
    const { stride = 1, padding: [vertical, horizontal] = [0, 0] } = options;
    this.conv = { weight: buffer(zeros([to, from, ...kernel])) };
    this.bn = new Norm(to);
    this.#stride = stride;
    this.#padding = [vertical, vertical, horizontal, horizontal];
  }

  protected override forward(x: Tensor): Tensor {
    const { weight, bias, running_mean, running_var } = this.bn;
    const factor = weight.div(running_var.add(1e-3).sqrt());
    const filters = this.conv.weight.mul(factor.reshape(-1, 1, 1, 1)); // the norm is part of the filters
    const shift = bias.sub(running_mean.mul(factor));
    return relu(conv2d(x, filters, shift, { stride: this.#stride, padding: this.#padding }));
  }
}
