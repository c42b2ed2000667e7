// 2-D convolution of NHWC images with OIHW weights. Adding a bias and a residual, and enlarging the input by nearest
// neighbour, are part of the same kernel.
import { filled, type Tensor } from "../array.ts";
import { record, tracked } from "../tape.ts";
import type { DType } from "../backends/buffer.ts";
import type { ConvSpec, GroupedConvSpec } from "../backends/kernels.ts";
import { checkOptions, isWhole, oneOf, rule, type Rules, whole } from "../check.ts";
import { aTensor, checkFloats } from "../operands.ts";
import { disposeCopies, plain } from "./broadcast.ts";

/** Zeros around the image: the same on all sides, or [top, bottom, left, right]. */
export type Padding = number | readonly [number, number, number, number];

/** How `conv2d` moves its filters over the image, and what else it computes. */
export interface Conv2dOptions {
  /**
   * Divides the input and the output channels into this many groups; each output group reads only the input group of the
   * same number. As many groups as input channels make a depthwise convolution. Default 1.
   */
  readonly groups?: number;
  /** By how many pixels a filter moves at each step. Default 1. */
  readonly stride?: number;
  /** Default 0. */
  readonly padding?: Padding;
  /** 2: enlarge the input by nearest neighbour first; the enlarged image is never stored. Not with groups. */
  readonly upsample?: 1 | 2;
  /** Added to the output, which has its shape. */
  readonly residual?: Tensor;
  /** How the output is stored. Default: like x. */
  readonly dtype?: DType;
}

/** The kernels of the convolution and of its two gradients, without and with groups. */
const dense = ["conv2d", "conv2dInputGrad", "conv2dWeightGrad"] as const;
const grouped = ["groupedConv2d", "groupedConv2dInputGrad", "groupedConv2dWeightGrad"] as const;

const rules: Rules<Conv2dOptions> = {
  groups: whole(1),
  stride: whole(1),
  padding: rule(
    "a whole number >= 0, or four: [top, bottom, left, right]",
    (p) => isWhole(p) || Array.isArray(p) && p.length === 4 && p.every(isWhole),
  ),
  upsample: oneOf(1, 2),
  residual: aTensor,
  dtype: oneOf("f32", "f16"),
};

function geometry(x: Tensor, weight: Tensor, options: Conv2dOptions): ConvSpec & GroupedConvSpec {
  if (x.ndim !== 4 || weight.ndim !== 4) {
    throw new Error(
      `conv2d: needs an image [B,H,W,C] and a weight [O,I,H,W], got shapes [${x.shape}] and [${weight.shape}]`,
    );
  }
  const [batch, height, width, inChannels] = x.shape;
  const [outChannels, weightChannels, kh, kw] = weight.shape;
  const { groups = 1, stride = 1, padding = 0, upsample = 1 } = options;
  if (groups !== 1) checkGroups(groups, inChannels, outChannels, upsample);
  if (inChannels / groups !== weightChannels) {
    const share = groups === 1 ? "" : ` in ${groups} groups of ${inChannels / groups}`;
    throw new Error(
      `conv2d: input has ${inChannels} channels${share}, weight expects ${weightChannels} (weight shape [${weight.shape}])`,
    );
  }
  const [top, bottom, left, right] = typeof padding === "number"
    ? [padding, padding, padding, padding]
    : padding;
  const outHeight = Math.floor((height * upsample + top + bottom - kh) / stride) + 1;
  const outWidth = Math.floor((width * upsample + left + right - kw) / stride) + 1;
  if (outHeight < 1 || outWidth < 1) {
    throw new Error(
      `conv2d: a ${kh}x${kw} filter does not fit a ${height}x${width} image with padding [${top},${bottom},${left},${right}]`,
    );
  }
  return {
    batch,
    height,
    width,
    inChannels,
    outHeight,
    outWidth,
    outChannels,
    kernel: [kh, kw],
    stride,
    padTop: top,
    padLeft: left,
    upsample,
    groups,
  };
}

function checkGroups(groups: number, inChannels: number, outChannels: number, upsample: number): void {
  if (inChannels % groups !== 0 || outChannels % groups !== 0) {
    throw new Error(
      `conv2d: ${groups} groups do not divide ${inChannels} input and ${outChannels} output channels`,
    );
  }
  if (upsample !== 1) {
    throw new Error(
      `conv2d: upsample ${upsample} does not go with ${groups} groups; enlarge the input beforehand, or use 1 group`,
    );
  }
}

/**
 * Cross-correlation of an image [B, H, W, I] with filters [O, I / groups, kh, kw]. Returns [B, H', W', O] with
 * H' = floor((H * upsample + top + bottom - kh) / stride) + 1. It computes what torch.nn.functional.conv2d computes, and
 * takes `weight` and `bias` in torch's layout.
 * @throws if channels, groups, bias or residual do not fit, or an option is out of range
 * @example A 3x3 filter that keeps the size
 * ```ts
 * import { conv2d, ones } from "@tessera/vqgan/core";
 *
 * const image = ones([1, 16, 16, 3]), weight = ones([8, 3, 3, 3]);
 * const y = conv2d(image, weight, null, { padding: 1 }); // [1, 16, 16, 8]
 * const depthwise = conv2d(y, ones([8, 1, 3, 3]), null, { padding: 1, groups: 8 });
 * ```
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: Conv2dOptions = {},
): Tensor {
  checkFloats("conv2d", x, weight, ...[bias, options.residual].filter((t) => t !== null && t !== undefined));
  checkOptions("conv2d", options, rules);
  const spec = geometry(x, weight, options);
  const [forward, inputGrad, weightGrad] = spec.groups === 1 ? dense : grouped;
  const residual = options.residual ?? null;
  const shape = [spec.batch, spec.outHeight, spec.outWidth, spec.outChannels];
  if (bias && bias.size !== spec.outChannels) {
    throw new Error(`conv2d: bias has ${bias.size} values, the weight makes ${spec.outChannels} channels`);
  }
  if (residual && `${residual.shape}` !== `${shape}`) {
    throw new Error(`conv2d: the residual has shape [${residual.shape}], the output [${shape}]`);
  }
  const { backend } = x;
  const out = x.like(shape, options.dtype ?? x.dtype);
  const [px, pw] = [plain(x), plain(weight)];
  const pb = bias && plain(bias);
  const pr = residual && plain(residual);
  backend.run(forward, {
    x: px.slot,
    weight: pw.slot,
    bias: pb && pb.slot,
    residual: pr && pr.slot,
    out: out.slot,
    spec,
  });
  disposeCopies([px, pw, pb, pr], [x, weight, bias, residual]);
  const needsX = tracked(weight), needsWeight = tracked(x);
  const save = [...(needsX ? [x] : []), ...(needsWeight ? [weight] : [])];
  return record("conv2d", out, [x, weight, bias, residual], save, (gradient, saved, needs) => {
    if (gradient.size === 0) { // an empty batch, over which the kernels cannot sum
      return [x, weight, bias, residual].map((t, i) => t && needs[i] ? filled(t, t.shape, 0) : null);
    }
    const g = plain(gradient);
    const grads: (Tensor | null)[] = [null, null, null, needs[3] ? g : null];
    if (needs[0]) {
      grads[0] = g.like(x.shape, x.dtype);
      const weight = plain(saved[needsX ? 1 : 0]);
      backend.run(inputGrad, { g: g.slot, weight: weight.slot, out: grads[0].slot, spec });
    }
    if (needs[1]) {
      grads[1] = g.like(weight.shape, "f32");
      backend.run(weightGrad, { x: plain(saved[0]).slot, g: g.slot, out: grads[1].slot, spec });
    }
    if (needs[2]) {
      const rows = spec.batch * spec.outHeight * spec.outWidth, columns = spec.outChannels;
      grads[2] = g.like(bias!.shape, "f32");
      backend.run("sumColumns", { x: g.slot, out: grads[2].slot, rows, columns });
    }
    return grads;
  });
}
