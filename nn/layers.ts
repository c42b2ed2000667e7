// The layers that networks are made of: convolution, normalisation, activations, pooling. Images are [B, H, W, C].
import {
  batchNorm,
  conv2d,
  groupNorm,
  keep,
  leakyRelu,
  maxPool2d,
  noGrad,
  ones,
  relu,
  type Tensor,
  zeros,
} from "../src/index.ts";
import { constantParameter, fanIn, type Init, normalParameter, uniformParameter } from "./init.ts";
import { chain, Layer } from "./module.ts";

/** How activations are stored. f16 needs a GPU that has it. */
export type Precision = "f32" | "f16";

/** How a `Conv2d` layer is built. */
export interface Conv2dLayerOptions {
  /** Default 1. */
  readonly stride?: number;
  /** Zeros around the image: one number, or [top, bottom, left, right]. */
  readonly padding?: number | readonly [number, number, number, number];
  /** 2 enlarges the input by nearest neighbour first. */
  readonly upsample?: 1 | 2;
  /** Whether it has a bias. Default true. */
  readonly bias?: boolean;
  /** Standard deviation of normal initial weights; torch's uniform default if absent. */
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

  /** A layer with new weights: torch's defaults, unless `std` is given. @param kernel its height and width */
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
  protected override forward(x: Tensor, residual?: Tensor): Tensor {
    const { stride = 1, padding = 0, upsample = 1 } = this.#options;
    const { dtype } = this;
    return conv2d(x, this.weight, this.bias, { stride, padding, upsample, residual, dtype });
  }
}

/** Normalisation over 32 groups of channels with eps 1e-6; with `swish`, t * sigmoid(t) of the result. */
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
 * The averages move by a tenth with each call and take the unbiased variance, as torch does.
 */
export class BatchNorm2d extends Layer {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;
  /** A count kept in f32, exact to 2^24; torch files hold it as int64. */
  readonly num_batches_tracked: Tensor;

  /** Initial weights are N(1, std). */
  constructor(channels: number, init: Init, std = 0.02) {
    super();
    this.weight = normalParameter(init, [channels], 1, std);
    this.bias = constantParameter([channels], 0);
    this.running_mean = keep(zeros([channels]));
    this.running_var = keep(ones([channels]));
    this.num_batches_tracked = keep(zeros([]));
  }

  protected override bufferNames(): readonly string[] {
    return ["running_mean", "running_var", "num_batches_tracked"];
  }

  /** @throws in training if a channel has only one value, which has no variance. */
  protected override forward(x: Tensor): Tensor {
    if (!this.training) {
      const scale = this.weight.div(this.running_var.add(1e-5).sqrt());
      return x.sub(this.running_mean).mul(scale).add(this.bias);
    }
    const count = x.size / this.weight.size;
    if (count < 2) {
      throw new Error(
        `BatchNorm2d: one value a channel (input [${x.shape}]) has no variance; use a larger batch`,
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

/** Layers in a row. Their keys are numbers counted from `first`, as torch names a slice of a longer network. */
export class Sequential extends Layer {
  [index: number]: Layer;

  constructor(layers: readonly Layer[], first = 0) {
    super();
    layers.forEach((layer, i) => this[first + i] = layer);
  }

  protected override forward(x: Tensor): Tensor {
    return chain(x, Object.values(this).filter((value): value is Layer => value instanceof Layer));
  }
}
