// Numbers that need no file: they are drawn by a generator that is seeded with a name, so that references in other languages
// and this suite have the same numbers. Also the differences between two arrays.
import { type Shape, type Tensor, tensor } from "../../src/index.ts";
import { sizeOf } from "../../src/shape.ts";

/** FNV-1a, 32 bits. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** A generator of numbers in [0, 1) with a state of 32 bits. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` numbers drawn from [-1, 1) in double precision, to be scaled before they are rounded. */
export function doubleDraws(name: string, count: number): Float64Array {
  const next = mulberry32(fnv1a32(name));
  return Float64Array.from({ length: count }, () => 2 * next() - 1);
}

/** `count` numbers drawn from [-1, 1), as f32. */
export function draws(name: string, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(doubleDraws(name, count));
}

/** A tensor of drawn numbers. */
export function drawn(name: string, shape: Shape): Tensor {
  return tensor(draws(name, sizeOf(shape)), shape);
}

/** Reorders values from [B, C, H, W] to [B, H, W, C]. */
export function toNHWC(values: ArrayLike<number>, shape: Shape): Float32Array<ArrayBuffer> {
  const [batch, channels, height, width] = shape;
  const out = new Float32Array(values.length);
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p < height * width; p++) {
      for (let c = 0; c < channels; c++) out[at++] = values[(b * channels + c) * height * width + p];
    }
  }
  return out;
}

/** Reorders values from [B, H, W, C] to [B, C, H, W]. */
export function toNCHW(values: ArrayLike<number>, shape: Shape): Float32Array<ArrayBuffer> {
  const [batch, height, width, channels] = shape;
  return toNHWC(values, [batch, height * width, channels, 1]);
}

/** The largest |a - b|; infinite if a difference is not a number. @throws if the lengths differ */
export function maxError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`maxError: ${a.length} values against ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(a[i] - b[i]);
    worst = Math.max(worst, Number.isNaN(error) ? Infinity : error);
  }
  return worst;
}

/** The largest |a - b| / max|b|: the error relative to the largest value. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const size = Array.from(b).reduce((most, n) => Math.max(most, Math.abs(n)), 0);
  return maxError(a, b) / (size === 0 ? 1 : size);
}
