// Group normalisation with swish folded in (Wu & He 2018), and batch statistics (Ioffe & Szegedy 2015).
import { filled, type Tensor } from "../array.ts";
import { record } from "../tape.ts";
import type { DType } from "../backends/buffer.ts";
import type { NormSpec } from "../backends/kernels.ts";
import { checkOptions, flag, notNegative, oneOf, type Rules, whole } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { sizeOf } from "../shape.ts";
import { disposeCopies, plain } from "./broadcast.ts";
import { add, affine, div, mul, sqrt, square, sub } from "./elementwise.ts";
import { mean } from "./reduce.ts";

/** How `groupNorm` normalises. */
export interface GroupNormOptions {
  /** Default 32. */
  readonly groups?: number;
  /** Default 1e-6, as in taming (torch's own default is 1e-5). */
  readonly eps?: number;
  /** Multiply the result by its sigmoid. */
  readonly swish?: boolean;
  /** How the output is stored. Default: like x. */
  readonly dtype?: DType;
}

const rules: Rules<GroupNormOptions> = {
  groups: whole(1),
  eps: notNegative,
  swish: flag,
  dtype: oneOf("f32", "f16"),
};

/**
 * Normalises [B, ..., C] to mean 0 and variance 1 within each sample and group of C / groups neighbouring channels
 * (biased variance), then scales and shifts each channel. Only the statistics are kept for backward; if the output
 * is needed, it is computed again from x.
 * @throws if the groups do not divide the channels, a sample is empty, or there is not one weight and one bias for each channel
 */
export function groupNorm(x: Tensor, weight: Tensor, bias: Tensor, options: GroupNormOptions = {}): Tensor {
  checkFloats("groupNorm", x, weight, bias);
  checkOptions("groupNorm", options, rules);
  if (x.ndim < 2) throw new Error(`groupNorm: needs [B, ..., C], got shape [${x.shape}]`);
  const { groups = 32, eps = 1e-6, swish = false, dtype = x.dtype } = options;
  const channels = x.shape[x.ndim - 1], batch = x.shape[0];
  if (channels % groups !== 0) {
    throw new Error(
      `groupNorm: ${groups} groups do not divide ${channels} channels (input shape [${x.shape}])`,
    );
  }
  if (weight.size !== channels || bias.size !== channels) {
    throw new Error(`groupNorm: ${channels} channels, but ${weight.size} weights and ${bias.size} biases`);
  }
  const pixels = sizeOf(x.shape.slice(1, -1));
  if (pixels * channels === 0) {
    throw new Error(
      `groupNorm: shape [${x.shape}] has no values to normalise; it needs a pixel and a channel`,
    );
  }
  const spec: NormSpec = { batch, pixels, channels, groups, eps, swish };
  const { backend } = x;
  const [from, w, b] = [x, weight, bias].map(plain);
  const out = x.like(x.shape, dtype);
  const stats = x.like([batch, groups, 2], "f32");
  backend.run("groupNorm", {
    x: from.slot,
    weight: w.slot,
    bias: b.slot,
    out: out.slot,
    stats: stats.slot,
    spec,
  });
  disposeCopies([from, w, b], [x, weight, bias]);
  record("groupNorm", out, [x, weight, bias], [x, weight, bias, stats], (g, [x, weight, bias, stats]) => {
    if (g.size === 0) return [x, weight, bias].map((t) => filled(t, t.shape, 0)); // an empty batch
    const grads = [x, weight, bias].map((t) => t.like(t.shape));
    backend.run("groupNormGrad", {
      x: plain(x).slot,
      weight: plain(weight).slot,
      bias: plain(bias).slot,
      stats: stats.slot,
      g: plain(g).slot,
      xGrad: grads[0].slot,
      weightGrad: grads[1].slot,
      biasGrad: grads[2].slot,
      spec,
    });
    return grads;
  }, ([x, weight, bias, stats]) => {
    const again = x.like(x.shape, dtype);
    backend.run("groupNormApply", {
      x: plain(x).slot,
      weight: plain(weight).slot,
      bias: plain(bias).slot,
      stats: stats.slot,
      out: again.slot,
      spec,
    });
    return again;
  });
  stats.dispose();
  return out;
}

/**
 * Normalises each channel of [B, H, W, C] over samples and pixels by the statistics of the batch. Returns the statistics
 * too (biased variance), from which the caller can compute running averages.
 * @param options `eps`, default 1e-5, is added to the variance
 * @throws if there is not one weight and one bias for each channel
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: { eps?: number } = {},
): { out: Tensor; mean: Tensor; variance: Tensor } {
  checkFloats("batchNorm", x, weight, bias);
  checkOptions("batchNorm", options, { eps: notNegative });
  const channels = x.shape[x.ndim - 1];
  if (x.ndim < 2 || weight.size !== channels || bias.size !== channels) {
    throw new Error(
      `batchNorm: shape [${x.shape}] with ${weight.size} weights and ${bias.size} biases, expected [B, ..., C] with C weights and C biases`,
    );
  }
  const axes = x.shape.map((_, i) => i).slice(0, -1);
  const average = mean(x, axes);
  const centred = sub(x, average);
  const variance = mean(square(centred), axes);
  const scale = div(weight, sqrt(affine(variance, 1, options.eps ?? 1e-5)));
  return { out: add(mul(centred, scale), bias), mean: average.detach(), variance: variance.detach() };
}
