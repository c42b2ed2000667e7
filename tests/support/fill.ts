// Weights and pictures that need no file: every tensor is filled by a generator seeded with its own name, so the
// reference and this suite agree on them (reference section 0.3). Also reads the goldens made with them.
import { readFileSync } from "node:fs";
import type { Tensor } from "../../src/index.ts";
import { type DDConfig, preset, type VQModelConfig } from "../../data/formats/config.ts";

export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** Numbers in [0, 1) from a 32-bit state. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` draws from [-1, 1), in double precision. */
export function draws(name: string, count: number): Float64Array {
  const next = mulberry32(fnv1a32(name));
  return Float64Array.from({ length: count }, () => 2 * next() - 1);
}

/** The values that the tensor under `key` has in all goldens. */
export function filled(key: string, shape: readonly number[]): Float32Array {
  const u = draws(key, shape.reduce((size, n) => size * n, 1));
  return Float32Array.from(u.map(rule(key, shape)));
}

function rule(key: string, shape: readonly number[]): (u: number) => number {
  if (key.endsWith("running_mean")) return (u) => 0.1 * u;
  if (key.endsWith("running_var")) return (u) => 1 + 0.2 * u;
  if (key.endsWith("num_batches_tracked")) return () => 0;
  if (key.includes("embedding")) return (u) => 0.5 * u;
  if (key.includes(".lin")) return (u) => (u + 1) / 2;
  if (shape.length >= 2) {
    const scale = Math.sqrt(3 / shape.slice(1).reduce((product, n) => product * n, 1));
    return (u) => scale * u;
  }
  return key.endsWith("weight") ? (u) => 1 + 0.1 * u : (u) => 0.1 * u;
}

/** Fills a state dict in place; `prefix` stands before the module's own keys in the whole model. */
export function fillState(state: ReadonlyMap<string, Tensor>, prefix = ""): void {
  for (const [key, t] of state) {
    if (!key.includes("scaling_layer")) t.write(filled(prefix + key, t.shape));
  }
}

/** A picture batch [B, C, H, W] of draws, as [B, H, W, C] values. */
export function picture(name: string, shape: readonly [number, number, number, number]): Float32Array {
  return toNHWC(Float32Array.from(draws(name, shape.reduce((size, n) => size * n, 1))), shape);
}

/** [B, C, H, W] values in the order of [B, H, W, C]. */
export function toNHWC(values: ArrayLike<number>, shape: readonly number[]): Float32Array {
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

/** [B, H, W, C] values in the order of [B, C, H, W]. */
export function toNCHW(values: ArrayLike<number>, shape: readonly number[]): Float32Array {
  const [batch, height, width, channels] = shape;
  return toNHWC(values, [batch, height * width, channels, 1]);
}

/** A golden file, without a type: each test says what it expects in it. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8")) as T;
}

/** Largest |a - b|. @throws if the lengths differ. */
export function maxError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`maxError: ${a.length} values against ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Number.isNaN(a[i]) ? Infinity : Math.abs(a[i] - b[i]));
  }
  return worst;
}

/** Largest |a - b| / max|b|: the error relative to the size of the whole. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const size = Array.from(b).reduce((most, n) => Math.max(most, Math.abs(n)), 0);
  return maxError(a, b) / (size === 0 ? 1 : size);
}

const tinyDD: DDConfig = {
  zChannels: 32,
  resolution: 32,
  inChannels: 3,
  outCh: 3,
  ch: 32,
  chMult: [1, 2, 2],
  numResBlocks: 2,
  attnResolutions: [8],
  dropout: 0,
  doubleZ: false,
};

/** The model of the tiny goldens. */
export const tinyConfig: VQModelConfig = preset("f16-16384", {
  embedDim: 16,
  nEmbed: 64,
  ddconfig: tinyDD,
  lossconfig: { discStart: 1, discNdf: 16 },
});
