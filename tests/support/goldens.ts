// The goldens, which other implementations wrote, and the model and pictures with which they were made. Every tensor is filled
// with numbers drawn from its own name.
import { readFileSync } from "node:fs";
import { preset, type VQModelConfig } from "../../data/formats/config.ts";
import type { Shape, Tensor } from "../../src/index.ts";
import { sizeOf } from "../../src/shape.ts";
import { doubleDraws, draws, toNHWC } from "./numbers.ts";

/** Reads a golden file. Each test gives the type that it expects. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8")) as T;
}

/** The values that the tensor under `key` has in all goldens. */
export function filled(key: string, shape: Shape): Float32Array {
  return Float32Array.from(doubleDraws(key, sizeOf(shape)), rule(key, shape));
}

function rule(key: string, shape: Shape): (u: number) => number {
  if (key.endsWith("running_mean")) return (u) => 0.1 * u;
  if (key.endsWith("running_var")) return (u) => 1 + 0.2 * u;
  if (key.endsWith("num_batches_tracked")) return () => 0;
  if (key.includes("embedding")) return (u) => 0.5 * u;
  if (key.includes(".lin")) return (u) => (u + 1) / 2;
  if (shape.length >= 2) {
    const scale = Math.sqrt(3 / sizeOf(shape.slice(1)));
    return (u) => scale * u;
  }
  return key.endsWith("weight") ? (u) => 1 + 0.1 * u : (u) => 0.1 * u;
}

/** Fills a state dict in place. @param prefix the path of the module in the whole model */
export function fillState(state: ReadonlyMap<string, Tensor>, prefix = ""): void {
  for (const [key, t] of state) {
    if (!key.includes("scaling_layer")) t.write(filled(prefix + key, t.shape));
  }
}

/** A batch of pictures drawn as [B, C, H, W], returned as [B, H, W, C] values. */
export function picture(name: string, shape: Shape): Float32Array {
  return toNHWC(draws(name, sizeOf(shape)), shape);
}

/** The model of the tiny goldens. */
export const tinyConfig: VQModelConfig = preset("f16-16384", {
  embedDim: 16,
  nEmbed: 64,
  ddconfig: {
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
  },
  lossconfig: { discStart: 1, discNdf: 16 },
});
