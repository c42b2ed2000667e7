// Max pooling, nearest code, embedding, dropout and the LPIPS distance.
import { record } from "../autograd.ts";
import type { PoolSpec } from "../backends/backend.ts";
import type { Random } from "../random.ts";
import { empty, Tensor, zeros } from "../tensor.ts";
import { plain } from "./broadcast.ts";
import { affine, greater, mul } from "./elementwise.ts";
import { mean } from "./reduce.ts";

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
  const out = empty([batch, spec.outHeight, spec.outWidth, channels], x.dtype, x.backend);
  x.backend.maxPool2d(from.buffer, out.buffer, spec);
  if (from !== x) from.dispose();
  return record("maxPool2d", out, [x], [x], (g, [x]) => {
    const gx = empty(x.shape, x.dtype, x.backend);
    x.backend.maxPool2dGrad(plain(x).buffer, plain(g).buffer, gx.buffer, spec);
    return [gx];
  });
}

/**
 * For each row of z [N, C] the index of the nearest row of the codebook [K, C] by Euclidean distance, i32 [N].
 * The lowest index wins ties. No gradient.
 */
export function nearestCode(z: Tensor, codebook: Tensor): Tensor {
  const [count, channels] = z.shape;
  if (z.ndim !== 2 || codebook.ndim !== 2 || codebook.shape[1] !== channels) {
    throw new Error(`nearestCode: z [${z.shape}] and codebook [${codebook.shape}] must be [N, C] and [K, C]`);
  }
  const out = empty([count], "i32", z.backend);
  const [rows, codes] = [plain(z), plain(codebook)];
  z.backend.nearestCode(rows.buffer, codes.buffer, out.buffer, count, codebook.shape[0], channels);
  if (rows !== z) rows.dispose();
  if (codes !== codebook) codes.dispose();
  return out;
}

/**
 * Rows of a table [K, C] by i32 indices [...]: [..., C].
 * @throws naming an index that is not in 0..K-1; on a GPU, which cannot look, such an index gives any row of the table
 */
export function embedding(indices: Tensor, table: Tensor): Tensor {
  if (indices.dtype !== "i32") throw new Error(`embedding: indices must be i32, these are ${indices.dtype}`);
  const columns = table.shape[1], count = indices.size;
  const rows = plain(indices);
  const out = empty([...indices.shape, columns], "f32", table.backend);
  table.backend.gather(rows.buffer, plain(table).buffer, out.buffer, count, columns);
  return record("embedding", out, [table], [rows], (g, [rows]) => {
    const gt = zeros(table.shape, "f32", table.backend);
    table.backend.scatterAdd(rows.buffer, plain(g).buffer, gt.buffer, count, columns);
    return [gt];
  });
}

/** Sets each element to 0 with probability p and divides the others by 1 - p. */
export function dropout(x: Tensor, p: number, random: Random): Tensor {
  if (p <= 0) return x;
  const mask = affine(greater(random.uniform(x.shape), p), 1 / (1 - p), 0);
  return mul(x, mask);
}

/**
 * The LPIPS distance of two feature maps [B, H, W, C] (Zhang et al. 2018): features are divided by their length at
 * each pixel, squared differences weighted by channel [C] and averaged over pixels, giving [B]. Where a feature vector
 * is zero its gradient is 0 (the textbook formula gives NaN).
 */
export function lpipsDistance(a: Tensor, b: Tensor, weight: Tensor): Tensor {
  if (`${a.shape}` !== `${b.shape}` || weight.size !== a.shape[a.ndim - 1]) {
    throw new Error(
      `lpipsDistance: shapes [${a.shape}] and [${b.shape}] with ${weight.size} weights do not fit`,
    );
  }
  const channels = weight.size, pixels = a.size / channels;
  const [pa, pb] = [plain(a), plain(b)];
  const out = empty([a.shape[0], pixels / a.shape[0]], "f32", a.backend);
  a.backend.lpipsDistance(pa.buffer, pb.buffer, weight.buffer, out.buffer, pixels, channels);
  record("lpipsDistance", out, [a, b], [a, b, weight], (g, [a, b, weight], needs) => {
    const side = (x: Tensor, y: Tensor) => {
      const gx = empty(x.shape, x.dtype, x.backend);
      const buffers = [x, y].map((t) => plain(t).buffer);
      a.backend.lpipsDistanceGrad(
        buffers[0],
        buffers[1],
        weight.buffer,
        plain(g).buffer,
        gx.buffer,
        pixels,
        channels,
      );
      return gx;
    };
    return [needs[0] ? side(a, b) : null, needs[1] ? side(b, a) : null];
  });
  return mean(out, 1);
}
