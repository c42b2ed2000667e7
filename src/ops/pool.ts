// Pooling of [B, H, W, C] over square windows.
import type { Tensor } from "../array.ts";
import { record } from "../autograd.ts";
import type { PoolSpec } from "../backends/kernels.ts";
import { plain } from "./broadcast.ts";

export interface MaxPoolOptions {
  readonly size: number;
  readonly stride: number;
  /** Windows may hang over the lower and right edge (torch's ceil_mode). */
  readonly ceil?: boolean;
}

/** Largest value of each window of [B, H, W, C]; the gradient goes to the first maximum in raster order. */
export function maxPool2d(x: Tensor, options: MaxPoolOptions): Tensor {
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
