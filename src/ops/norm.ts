// Group normalisation with swish folded in (Wu & He 2018), and batch statistics (Ioffe & Szegedy 2015).
import { record } from "../autograd.ts";
import type { NormSpec } from "../backends/backend.ts";
import { type DType, empty, Tensor } from "../tensor.ts";
import { plain } from "./broadcast.ts";
import { add, affine, div, mul, sqrt, square, sub } from "./elementwise.ts";
import { mean } from "./reduce.ts";

export interface GroupNormOptions {
  /** Default 32. */
  readonly groups?: number;
  /** Default 1e-6, as taming has it (torch's own default is 1e-5). */
  readonly eps?: number;
  /** Multiply the result by its sigmoid. */
  readonly swish?: boolean;
  /** How the output is stored; as x is, unless it says else. */
  readonly dtype?: DType;
}

/**
 * Normalises [B, ..., C] to mean 0 and variance 1 within each sample and group of C / groups neighbouring channels
 * (biased variance), then scales and shifts by channel. Only the statistics are kept for backward: the output is
 * made again from x when it is needed.
 * @throws if the groups do not divide the channels
 */
export function groupNorm(x: Tensor, weight: Tensor, bias: Tensor, options: GroupNormOptions = {}): Tensor {
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
  const spec: NormSpec = { batch, pixels: x.size / (batch * channels), channels, groups, eps, swish };
  const { backend } = x;
  const from = plain(x);
  const out = empty(x.shape, dtype, backend);
  const stats = empty([batch, groups, 2], "f32", backend);
  backend.groupNorm(from.buffer, weight.buffer, bias.buffer, out.buffer, stats.buffer, spec);
  if (from !== x) from.dispose();
  record("groupNorm", out, [x, weight, bias], [x, weight, bias, stats], (g, [x, weight, bias, stats]) => {
    const grads = [x, weight, bias].map((t) => empty(t.shape, t.dtype, backend));
    const [gx, gw, gb] = grads;
    const to = { x: gx.buffer, weight: gw.buffer, bias: gb.buffer };
    backend.groupNormGrad(
      plain(x).buffer,
      weight.buffer,
      bias.buffer,
      stats.buffer,
      plain(g).buffer,
      to,
      spec,
    );
    return grads;
  }, ([x, weight, bias, stats]) => {
    const again = empty(x.shape, dtype, backend);
    backend.groupNormApply(plain(x).buffer, weight.buffer, bias.buffer, stats.buffer, again.buffer, spec);
    return again;
  });
  stats.dispose();
  return out;
}

/**
 * Normalises each channel of [B, H, W, C] over samples and pixels with the batch's own statistics, which it also
 * answers (biased variance) for the caller's running averages.
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: { eps?: number } = {},
): { out: Tensor; mean: Tensor; variance: Tensor } {
  const axes = x.shape.map((_, i) => i).slice(0, -1);
  const average = mean(x, axes);
  const centred = sub(x, average);
  const variance = mean(square(centred), axes);
  const scale = div(weight, sqrt(affine(variance, 1, options.eps ?? 1e-5)));
  return { out: add(mul(centred, scale), bias), mean: average.detach(), variance: variance.detach() };
}
