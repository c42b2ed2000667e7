// Pooling of [B, H, W, C] over square windows.
import type { Tensor } from "../array.ts";
import { record } from "../autograd.ts";
import type { PoolSpec } from "../backends/kernels.ts";
import { checkOptions, flag, needed, type Rules, whole } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { plain } from "./broadcast.ts";

/** The windows of `maxPool2d`, in pixels. */
export interface MaxPoolOptions {
  /** Height and width of a window. */
  readonly size: number;
  /** From one window to the next. */
  readonly stride: number;
  /** Windows may hang over the lower and right edge (torch's ceil_mode). Default false. */
  readonly ceil?: boolean;
}

const rules: Rules<MaxPoolOptions> = { size: needed(whole(1)), stride: needed(whole(1)), ceil: flag };

/**
 * Largest value of each window of [B, H, W, C]; the gradient goes to the first maximum in raster order.
 * @throws if x has other than four axes, or no window fits
 * @example Half the height and width
 * ```ts
 * import { maxPool2d, ones } from "@tessera/vqgan/core";
 *
 * const y = maxPool2d(ones([1, 8, 8, 3]), { size: 2, stride: 2 }); // [1, 4, 4, 3]
 * ```
 */
export function maxPool2d(x: Tensor, options: MaxPoolOptions): Tensor {
  checkFloats("maxPool2d", x);
  checkOptions("maxPool2d", options, rules);
  if (x.ndim !== 4) throw new Error(`maxPool2d: needs an image [B,H,W,C], got shape [${x.shape}]`);
  const { size, stride, ceil = false } = options;
  const [batch, height, width, channels] = x.shape;
  const outSize = (n: number) => {
    const steps = (n - size) / stride;
    const out = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    return (out - 1) * stride >= n ? out - 1 : out; // a window must start inside
  };
  const spec: PoolSpec = {
    batch,
    height,
    width,
    channels,
    outHeight: outSize(height),
    outWidth: outSize(width),
    size,
    stride,
  };
  if (spec.outHeight < 1 || spec.outWidth < 1) {
    throw new Error(`maxPool2d: a window of ${size} does not fit shape [${x.shape}]`);
  }
  const from = plain(x);
  const out = x.like([batch, spec.outHeight, spec.outWidth, channels]);
  x.backend.run("maxPool2d", { x: from.slot, out: out.slot, spec });
  if (from !== x) from.dispose();
  return record("maxPool2d", out, [x], [x], (g, [x]) => {
    const gx = x.like(x.shape);
    x.backend.run("maxPool2dGrad", { x: plain(x).slot, g: plain(g).slot, out: gx.slot, spec });
    return [gx];
  });
}
