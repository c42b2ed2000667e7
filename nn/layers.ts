// The layers that networks are made of: convolution, normalisation, activations and pooling. Images are [B, H, W, C].
import {
  batchNorm,
  groupNorm,
  leakyRelu,
  maxPool2d,
  noGrad,
  ones,
  relu,
  type Tensor,
  zeros,
} from "../src/index.ts";
import { convStrips } from "../src/ops/strips.ts";
import type { Parts } from "../src/parts.ts";
import { buffer, constantParameter, fanIn, type Init, normalParameter, uniformParameter } from "./init.ts";
import { chain, Layer } from "./module.ts";

/** How activations, the outputs of layers, are stored. f16 needs a GPU that supports it. */
export type Precision = "f32" | "f16";

/** How a `Conv2d` layer is built. */
export interface Conv2dLayerOptions {
  /** Default 1. */
  readonly stride?: number;
  /** Zeros around the image: one number, or [top, bottom, left, right]. */
  readonly padding?: number | readonly [number, number, number, number];
  /** With 2 the input is first enlarged by nearest neighbour. */
  readonly upsample?: 1 | 2;
  /** Whether it has a bias. Default true. */
  readonly bias?: boolean;
  /** The standard deviation of normal initial weights. Default: torch's uniform distribution. */
  readonly std?: number;
}

/** Convolution with a square kernel; `weight` is [out, in, k, k] as in torch. */
export class Conv2d extends Layer {
  /** [out, in, k, k]. */
  readonly weight: Tensor;
  /** [out]. */
  readonly bias: Tensor | null;
  /** How the output is stored (precision.ts). */
  dtype: Precision = "f32";
  readonly #options: Conv2dLayerOptions;

  /** A layer with new weights. @param kernel the height and width of its filters */
  constructor(
    inChannels: number,
    outChannels: number,
    kernel: number,
    init: Init,
    options: Conv2dLayerOptions = {},
  ) {
    super();
    const shape = [outChannels, inChannels, kernel, kernel];
    const bound = 1 / Math.sqrt(fanIn(shape));
    this.weight = options.std === undefined
      ? uniformParameter(init, shape, bound)
      : normalParameter(init, shape, 0, options.std);
    this.bias = options.bias === false ? null : uniformParameter(init, [outChannels], bound);
    this.#options = options;
  }

  /** The convolution of x, plus a residual of the output's shape. */
  protected override forward(x: Tensor, residual?: Tensor): Parts<Tensor> {
    const { stride = 1, padding = 0, upsample = 1 } = this.#options;
    const { dtype } = this;
    return convStrips(x, this.weight, this.bias, { stride, padding, upsample, residual, dtype });
  }
}

/** Normalisation over 32 groups of channels with eps 1e-6. With `swish`, t * sigmoid(t) of the result t. */
export class GroupNorm extends Layer {
  /** [channels]. */
  readonly weight: Tensor;
  /** [channels]. */
  readonly bias: Tensor;
  /** How the output is stored (precision.ts). */
  dtype: Precision = "f32";
  readonly #swish: boolean;

  /** A layer with weights of 1 and biases of 0. @throws if channels is not a multiple of 32. */
  constructor(channels: number, options: { swish?: boolean } = {}) {
    super();
    if (channels % 32 !== 0) {
      throw new Error(`GroupNorm: ${channels} channels do not divide into 32 groups; use a multiple of 32`);
    }
    this.weight = constantParameter([channels], 1);
    this.bias = constantParameter([channels], 0);
    this.#swish = options.swish ?? false;
  }

  /** The normalised x. */
  protected override forward(x: Tensor): Tensor {
    return groupNorm(x, this.weight, this.bias, {
      groups: 32,
      eps: 1e-6,
      swish: this.#swish,
      dtype: this.dtype,
    });
  }
}

/**
 * Normalisation by the statistics of the batch (training) or by their running averages (evaluation).
 * As in torch, each call moves the averages by a tenth of the difference, and they use the unbiased variance.
 */
export class BatchNorm2d extends Layer {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;
  /** A count, stored as f32, which is exact up to 2^24; in torch's files it is an int64. */
  readonly num_batches_tracked: Tensor;

  /** A layer with weights drawn from N(1, std) and biases of 0. */
  constructor(channels: number, init: Init, std = 0.02) {
    super();
    this.weight = normalParameter(init, [channels], 1, std);
    this.bias = constantParameter([channels], 0);
    this.running_mean = buffer(zeros([channels]));
    this.running_var = buffer(ones([channels]));
    this.num_batches_tracked = buffer(zeros([]));
  }

  protected override bufferNames(): readonly string[] {
    return ["running_mean", "running_var", "num_batches_tracked"];
  }

  /** @throws in training if a channel has only one value, because that has no variance. */
  protected override forward(x: Tensor): Tensor {
    if (!this.training) {
      const scale = this.weight.div(this.running_var.add(1e-5).sqrt());
      return x.sub(this.running_mean).mul(scale).add(this.bias);
    }
    const count = x.size / this.weight.size;
    if (count < 2) {
      throw new Error(
        `BatchNorm2d: one value per channel (input [${x.shape}]) has no variance; use a larger batch`,
      );
    }
    const { out, mean, variance } = batchNorm(x, this.weight, this.bias, { eps: 1e-5 });
    noGrad(() => {
      move(this.running_mean, mean, 1);
      move(this.running_var, variance, count / (count - 1));
      this.num_batches_tracked.assign(this.num_batches_tracked.add(1));
    });
    return out;
  }
}

/** average <- 0.9 average + 0.1 factor value. */
function move(average: Tensor, value: Tensor, factor: number): void {
  average.assign(average.mul(0.9).add(value.mul(0.1 * factor)));
}

export class ReLU extends Layer {
  protected override forward(x: Tensor): Tensor {
    return relu(x);
  }
}

export class LeakyReLU extends Layer {
  protected override forward(x: Tensor): Tensor {
    return leakyRelu(x, 0.2);
  }
}

export class MaxPool2d extends Layer {
  readonly #window: { size: number; stride: number; ceil: boolean };

  /** With `ceil`, the last window may extend beyond the edge. */
  constructor(size: number, stride: number, ceil = false) {
    super();
    this.#window = { size, stride, ceil };
  }

  protected override forward(x: Tensor): Tensor {
    return maxPool2d(x, this.#window);
  }
}

/** Runs layers one after another. Their keys are numbers from `first` on, as in torch's slices of a longer network. */
export class Sequential extends Layer {
  [index: number]: Layer;

  constructor(layers: readonly Layer[], first = 0) {
    super();
    layers.forEach((layer, i) => this[first + i] = layer);
  }

  protected override forward(x: Tensor): Parts<Tensor> {
    return chain(x, Object.values(this).filter((value): value is Layer => value instanceof Layer));
  }
}
