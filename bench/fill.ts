// Weights and pictures by the rule of bench/keyed_fill.py, so that both sides of a benchmark compute with the same numbers.
// Tensors are written piece by piece, so that filling them does not raise the peak memory that a benchmark reports.
import { type Tensor, tensor } from "../src/index.ts";
import { fnv1a32, mulberry32 } from "../tests/support/numbers.ts";

const PIECE = 65536;

/** Overwrites a tensor with shift + scale * u, where u is drawn from [-1, 1) by the stream `name`. */
function fill(t: Tensor, name: string, scale: number, shift: number): void {
  const next = mulberry32(fnv1a32(name));
  const piece = new Float32Array(Math.min(PIECE, t.size));
  for (let start = 0; start < t.size; start += piece.length) {
    const n = Math.min(piece.length, t.size - start);
    for (let i = 0; i < n; i++) piece[i] = shift + scale * (2 * next() - 1);
    t.write(piece.subarray(0, n), start);
  }
}

/** Fills a model by its keys. Counters become 0, and the scaling layer of LPIPS does not change. */
export function fillModel(state: ReadonlyMap<string, Tensor>): void {
  for (const [key, t] of state) {
    if (key.includes("scaling_layer")) continue;
    if (key.endsWith("num_batches_tracked")) fill(t, key, 0, 0);
    else if (key.endsWith("running_mean")) fill(t, key, 0.1, 0);
    else if (key.endsWith("running_var")) fill(t, key, 0.2, 1);
    else if (key.includes("embedding")) fill(t, key, 0.5, 0);
    else if (key.includes(".lin")) fill(t, key, 0.5, 0.5);
    else if (t.ndim >= 2) fill(t, key, Math.sqrt(3 * t.shape[0] / t.size), 0);
    else fill(t, key, 0.1, key.endsWith("weight") ? 1 : 0);
  }
}

/** An image tensor [batch, height, width, channels], whose values are drawn in the order [batch, channels, height, width]. */
export function drawnImage(name: string, shape: [number, number, number, number], scale: number): Tensor {
  const next = mulberry32(fnv1a32(name)), [batch, channels, height, width] = shape;
  const values = new Float32Array(batch * channels * height * width);
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      for (let p = 0; p < height * width; p++) {
        values[(b * height * width + p) * channels + c] = scale * (2 * next() - 1);
      }
    }
  }
  return tensor(values, [batch, height, width, channels]);
}

/** A smooth picture [batch, size, size, 3]: noise averaged over 16x16 blocks, times 4, within [-1, 1]. */
export function drawnPicture(name: string, batch: number, size: number): Tensor {
  const side = size / 16;
  const noise = drawnImage(name, [batch, 3, size, size], 1);
  const blocks = noise.reshape(batch, side, 16, side, 16, 3).mean([2, 4], true).mul(4).clamp(-1, 1);
  const picture = blocks.expand([batch, side, 16, side, 16, 3]).reshape(batch, size, size, 3);
  noise.dispose();
  blocks.dispose();
  return picture;
}
