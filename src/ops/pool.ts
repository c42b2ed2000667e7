// Pooling of [B, H, W, C] over square windows.
import type { Tensor } from "../array.ts";
import { record } from "../tape.ts";
import type { AvgPoolSpec, PoolSpec } from "../backends/kernels.ts";
import { checkOptions, flag, needed, type Rules, whole } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { plain } from "./broadcast.ts";

/** The windows of `maxPool2d`, in pixels. */
export interface MaxPoolOptions {
  /** Height and width of a window. */
  readonly size: number;
  /** The distance from one window to the next. */
  readonly stride: number;
  /** Whether windows may extend beyond the lower and right edge (torch's ceil_mode). Default false. */
  readonly ceil?: boolean;
}

/** The windows of `avgPool2d`, in pixels. */
export interface AvgPoolOptions extends MaxPoolOptions {
  /** Zeros on each side of the picture, at most half of `size`. Default 0. */
  readonly padding?: number;
  /** Whether these zeros are counted in the average (torch's count_include_pad). Default true. */
  readonly countPadding?: boolean;
}

const maxRules: Rules<MaxPoolOptions> = { size: needed(whole(1)), stride: needed(whole(1)), ceil: flag };
const avgRules: Rules<AvgPoolOptions> = { ...maxRules, padding: whole(0), countPadding: flag };

/** The windows of a pooling over x with `padding` zeros on each side. */
function geometry(name: string, x: Tensor, options: MaxPoolOptions, padding: number): PoolSpec {
  checkFloats(name, x);
  const { size, stride, ceil = false } = options;
  if (x.ndim !== 4) throw new Error(`${name}: needs an image [B,H,W,C], got shape [${x.shape}]`);
  const most = Math.floor(size / 2);
  if (padding > most) {
    throw new Error(
      `${name}: the padding is ${padding}, windows of ${size} take a whole number from 0 to ${most}`,
    );
  }
  const [batch, height, width, channels] = x.shape;
  const outSize = (n: number) => {
    const steps = (n + 2 * padding - size) / stride;
    const out = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    return (out - 1) * stride >= n + padding ? out - 1 : out; // no window may start beyond the picture
  };
  const [outHeight, outWidth] = [outSize(height), outSize(width)];
  if (outHeight < 1 || outWidth < 1) {
    const padded = padding > 0 ? ` with a padding of ${padding}` : "";
    throw new Error(`${name}: a window of ${size} does not fit shape [${x.shape}]${padded}`);
  }
  return { batch, height, width, channels, outHeight, outWidth, size, stride };
}

/**
 * Largest value of each window of [B, H, W, C]; the gradient goes to the first maximum in raster order.
 * @throws if x does not have four axes, or no window fits
 * @example Half the height and width
 * ```ts
 * import { maxPool2d, ones } from "@tessera/vqgan/core";
 *
 * const y = maxPool2d(ones([1, 8, 8, 3]), { size: 2, stride: 2 }); // [1, 4, 4, 3]
 * ```
 */
export function maxPool2d(x: Tensor, options: MaxPoolOptions): Tensor {
  checkOptions("maxPool2d", options, maxRules);
  const spec = geometry("maxPool2d", x, options, 0);
  const from = plain(x);
  const out = x.like([spec.batch, spec.outHeight, spec.outWidth, spec.channels]);
  x.backend.run("maxPool2d", { x: from.slot, out: out.slot, spec });
  if (from !== x) from.dispose();
  return record("maxPool2d", out, [x], [x], (g, [x]) => {
    const gx = x.like(x.shape);
    x.backend.run("maxPool2dGrad", { x: plain(x).slot, g: plain(g).slot, out: gx.slot, spec });
    return [gx];
  });
}

/**
 * Average of each window of [B, H, W, C]. Returns [B, H', W', C] with H' = floor((H + 2 padding - size) / stride) + 1, or
 * ceil instead of floor. As in torch's avg_pool2d, the sum of a window is divided by the number of its pixels in the
 * picture and, with `countPadding`, in the padding. Pixels beyond the padding (with `ceil`) are never counted.
 * @throws if x does not have four axes, no window fits, or the padding is more than half of a window
 * @example Half the height and width
 * ```ts
 * import { avgPool2d, ones } from "@tessera/vqgan/core";
 *
 * const y = avgPool2d(ones([1, 8, 8, 3]), { size: 2, stride: 2 }); // [1, 4, 4, 3]
 * ```
 */
export function avgPool2d(x: Tensor, options: AvgPoolOptions): Tensor {
  checkOptions("avgPool2d", options, avgRules);
  const { padding = 0, countPadding = true } = options;
  const windows = geometry("avgPool2d", x, options, padding);
  const spec: AvgPoolSpec = { ...windows, padding, counted: countPadding ? padding : 0 };
  const from = plain(x);
  const out = x.like([spec.batch, spec.outHeight, spec.outWidth, spec.channels]);
  x.backend.run("avgPool2d", { x: from.slot, out: out.slot, spec });
  if (from !== x) from.dispose();
  return record("avgPool2d", out, [x], [], (g) => {
    const gx = g.like(x.shape, x.dtype);
    g.backend.run("avgPool2dGrad", { g: plain(g).slot, out: gx.slot, spec });
    return [gx];
  });
}
