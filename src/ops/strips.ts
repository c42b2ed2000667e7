// Large maps in horizontal strips, each of which is a part of the computation (parts.ts). Group norm, swish and a 3x3
// convolution also save memory in this way: the normalised map is never stored as a whole. The result is exact, because the
// statistics are those of the whole map and every strip gets the rows around it. For inference only.
import { materialize, type Tensor } from "../array.ts";
import { type DType, itemBytes } from "../backends/buffer.ts";
import type { NormSpec } from "../backends/kernels.ts";
import { isGradEnabled } from "../scope.ts";
import type { Parts } from "../parts.ts";
import { copyInto } from "./broadcast.ts";
import { conv2d, type Conv2dOptions } from "./conv.ts";
import { slice } from "./shape.ts";

/** Bytes of a strip of the input: small compared to the map, large compared to the rows that two strips share. */
const STRIP = 4 * 2 ** 20;
/** Strips begin at the rows at which Winograd's 4x4 patches begin, so that sums have the same order as without strips. */
const PATCH = 4;

interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  /** How its output is stored. Default: like its input. */
  readonly dtype?: DType;
}

export interface StripOptions {
  /** Added to the output, which has its shape. */
  readonly residual?: Tensor;
  /** Write the output over x, which must have its shape, and return x. */
  readonly overwrite?: boolean;
  /** Bytes of a strip. Only tests set it. */
  readonly stripBytes?: number;
}

/** Whether x should be computed in strips: nothing is recorded, and x is larger than eight strips. */
export function takesStrips(x: Tensor): boolean {
  return !isGradEnabled() && x.isPlain && x.size * itemBytes[x.dtype] > 8 * STRIP;
}

/**
 * conv2d(groupNorm(x, { swish: true }), { padding: 1, residual }) for x [B, H, W, I] and a filter [O, I, 3, 3], with 32
 * groups and eps 1e-6, bit for bit, in the memory of the output and a few strips. Records no gradient.
 *
 * @throws if the filter is not 3x3, or with `overwrite` if the output's shape or dtype differs from that of x
 */
export function* normConvStrips(
  x: Tensor,
  norm: Affine,
  conv: Affine,
  options: StripOptions = {},
): Parts<Tensor> {
  const [batch, height, width, channels] = x.shape;
  const [outChannels, , kh, kw] = conv.weight.shape;
  const { residual, overwrite = false, stripBytes = STRIP } = options;
  if (kh !== 3 || kw !== 3) throw new Error(`normConvStrips: needs a 3x3 filter, got ${kh}x${kw}`);
  const dtype = conv.dtype ?? x.dtype;
  if (overwrite && (outChannels !== channels || dtype !== x.dtype)) {
    throw new Error(
      `normConvStrips: an output of ${outChannels} channels in ${dtype} does not fit over ${channels} in ${x.dtype}`,
    );
  }
  const { backend } = x;
  const spec = (pixels: number): NormSpec => ({
    batch,
    pixels,
    channels,
    groups: 32,
    eps: 1e-6,
    swish: true,
  });
  const stats = x.like([batch, 32, 2], "f32");
  backend.run("groupNormStats", { x: x.slot, stats: stats.slot, spec: spec(height * width) });
  const out = overwrite ? x : x.like([batch, height, width, outChannels], dtype);
  const units = Math.ceil(height / PATCH);
  const count = Math.min(units, Math.ceil(x.size * itemBytes[x.dtype] / stripBytes));
  const start = (i: number) => Math.min(height, Math.floor(i * units / count) * PATCH);
  /** The normalised rows of strip i, with one row more on each side where the map has one. */
  const normalised = (i: number) => {
    const raw = rows(x, Math.max(0, start(i) - 1), Math.min(height, start(i + 1) + 1));
    const strip = raw.like(raw.shape, norm.dtype ?? x.dtype);
    backend.run("groupNormApply", {
      x: raw.slot,
      weight: norm.weight.slot,
      bias: norm.bias!.slot,
      stats: stats.slot,
      out: strip.slot,
      spec: spec(raw.shape[1] * raw.shape[2]),
    });
    raw.dispose();
    return strip;
  };
  let strip = normalised(0);
  for (let i = 0; i < count; i++) {
    const from = start(i), to = start(i + 1);
    const next = i + 1 < count ? normalised(i + 1) : null; // now, because this strip overwrites rows that it reads
    const add = residual && rows(residual, from, to);
    const padding = [from === 0 ? 1 : 0, to === height ? 1 : 0, 1, 1] as const;
    const part = conv2d(strip, conv.weight, conv.bias, { padding, residual: add, dtype });
    copyInto(part, out, [0, from]);
    for (const t of [strip, add, part]) t?.dispose();
    if (next) strip = next;
    yield;
  }
  stats.dispose();
  return out;
}

/** A copy of some rows of a batch of maps. */
function rows(t: Tensor, from: number, to: number): Tensor {
  const view = slice(t, [0, from], [t.shape[0], to]);
  const copy = materialize(view);
  view.dispose();
  return copy;
}

/** The most work of a part, in operations of the definition: on two cores a fraction of a second. */
const WORK = 2 ** 32;

/** Which rows of the output a strip computes, from which rows of the input, and how many of its own rows come before those. */
interface Strip {
  readonly from: number;
  readonly to: number;
  readonly input: readonly [from: number, to: number];
  readonly padding: readonly [top: number, bottom: number];
  readonly skip: number;
}

/**
 * `conv2d`, bit for bit, in strips if that is much work and nothing is recorded.
 * @param work the most work of a strip. Only tests set it.
 */
export function* convStrips(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  options: Conv2dOptions,
  work = WORK,
): Parts<Tensor> {
  const { padding = 0, stride = 1, upsample = 1, residual } = options;
  const [top, bottom, left, right] = typeof padding === "number"
    ? [padding, padding, padding, padding]
    : padding;
  const [batch, height, width] = x.shape, [outChannels, inChannels, kh, kw] = weight.shape;
  const outHeight = Math.floor((height * upsample + top + bottom - kh) / stride) + 1;
  const outWidth = Math.floor((width * upsample + left + right - kw) / stride) + 1;
  const perRow = 2 * batch * outWidth * outChannels * inChannels * kh * kw;
  const fits = upsample === 1 || (kh === 3 && top === 1 && bottom === 1 && !residual);
  if (isGradEnabled() || !x.isPlain || outHeight * perRow <= 2 * work || !fits) {
    return conv2d(x, weight, bias, options);
  }
  // strips begin where patches begin; those of an enlarged map compute a patch more at each end, so they are made longer
  const unit = upsample === 2 ? 10 : PATCH, most = upsample === 2 ? 4 * work : work;
  const step = Math.max(1, Math.floor(most / perRow / unit)) * unit;
  const stripAt = (from: number): Strip => {
    const to = Math.min(outHeight, from + step);
    if (upsample === 2) {
      const input = [Math.max(0, from / 2 - 5), Math.min(height, Math.ceil(to / 2) + 5)] as const;
      return { from, to, input, padding: [top, bottom], skip: from - 2 * input[0] };
    }
    const first = from * stride - top, end = (to - 1) * stride - top + kh;
    const input = [Math.max(0, first), Math.min(height, end)] as const;
    return { from, to, input, padding: [input[0] - first, end - input[1]], skip: 0 };
  };
  const out = x.like([batch, outHeight, outWidth, outChannels], options.dtype ?? x.dtype);
  for (let from = 0; from < outHeight; from += step) {
    const { to, input, padding: [above, below], skip } = stripAt(from);
    const strip = rows(x, ...input), add = residual && rows(residual, from, to);
    const made = conv2d(strip, weight, bias, {
      ...options,
      residual: add,
      padding: [above, below, left, right],
    });
    const part = slice(made, [0, skip], [batch, skip + to - from]);
    copyInto(part, out, [0, from]);
    for (const t of [strip, add, made, part]) t?.dispose();
    yield;
  }
  return out;
}
