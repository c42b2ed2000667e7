// Group norm, swish and a 3x3 convolution in horizontal strips, to save memory on large maps: the normalised map is never
// stored as a whole. The result is exact, because the statistics are those of the whole map and every strip gets the rows
// around it. For inference only.
import { materialize, type Tensor } from "../array.ts";
import { type DType, itemBytes } from "../backends/buffer.ts";
import type { NormSpec } from "../backends/kernels.ts";
import { isGradEnabled } from "../scope.ts";
import { copyInto } from "./broadcast.ts";
import { conv2d } from "./conv.ts";
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
export function normConvStrips(x: Tensor, norm: Affine, conv: Affine, options: StripOptions = {}): Tensor {
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
  const rows = (t: Tensor, from: number, to: number) => {
    const view = slice(t, [0, from], [batch, to]);
    const copy = materialize(view);
    view.dispose();
    return copy;
  };
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
  }
  stats.dispose();
  return out;
}
