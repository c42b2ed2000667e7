// f16-16384 at full size against torch in f32 (full_f16_16384.json), for a square and an oblong picture. The two engines
// round differently, so a token may differ if the distances of its two best codes are within 1e-4 of each other.
import { describe, expect, test } from "bun:test";
import { scope, tensor } from "../../src/index.ts";
import { preset } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { fillState, golden } from "../support/goldens.ts";
import { draws, maxError } from "../support/numbers.ts";

interface Case {
  name: string;
  shape: [number, number];
  indices: number[];
  margins: number[];
  quant_loss: number;
  rec_mean: number;
  rec_pool16: number[];
  rec_row0: number[];
  rec_mid: number[];
}

/** A picture [1, H, W, 3]: noise averaged over 16x16 blocks, enlarged again, times 4, and clamped. */
function blocky(name: string, [height, width]: [number, number]): Float32Array {
  const noise = draws(name, 3 * height * width);
  const out = new Float32Array(height * width * 3);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y += 16) {
      for (let x = 0; x < width; x += 16) {
        let sum = 0;
        for (let i = 0; i < 256; i++) sum += noise[(c * height + y + (i >> 4)) * width + x + (i & 15)];
        const value = Math.min(1, Math.max(-1, 4 * Math.fround(sum / 256)));
        for (let i = 0; i < 256; i++) out[((y + (i >> 4)) * width + x + (i & 15)) * 3 + c] = value;
      }
    }
  }
  return out;
}

interface Result {
  readonly wanted: Case;
  readonly tokens: Int32Array;
  /** The means of blocks, [3, H/16, W/16]. */
  readonly pooled: Float32Array;
  readonly pixels: Float32Array;
}

async function run(model: VQGAN, wanted: Case): Promise<Result> {
  const [height, width] = wanted.shape;
  const images = tensor(blocky(wanted.name, wanted.shape), [1, height, width, 3]);
  const { indices, latents } = model.encode(images);
  const rec = model.decode(latents);
  const blocks = scope(() => rec.reshape(height / 16, 16, width / 16, 16, 3).mean([1, 3]).permute(2, 0, 1));
  const result = {
    wanted,
    tokens: await indices.ints(),
    pooled: await blocks.floats(),
    pixels: await rec.floats(),
  };
  for (const t of [images, indices, latents, rec, blocks]) t.dispose();
  return result;
}

// computed before the tests begin, because a test has five seconds in Bun, and this takes longer
const model = new VQGAN(preset("f16-16384"), null);
fillState(model.stateDict());
const results: Result[] = [];
for (const wanted of golden<{ cases: Case[] }>("full_f16_16384").cases) {
  results.push(await run(model, wanted));
}
model.dispose();

describe("f16-16384", () => {
  for (const { wanted, tokens, pooled, pixels } of results) {
    const [height, width] = wanted.shape;
    /** 16 pixels to the right of (y, x), channel by channel. */
    const strip = (y: number, x: number) =>
      Array.from({ length: 48 }, (_, i) => pixels[(y * width + x + i % 16) * 3 + Math.floor(i / 16)]);

    test(`${height}x${width}: tokens`, () => {
      const differing = tokens.filter((token, i) => token !== wanted.indices[i] && wanted.margins[i] > 1e-4);
      expect(differing.length).toBe(0);
    });

    test(`${height}x${width}: pixels`, () => {
      expect(maxError(strip(0, 0), wanted.rec_row0)).toBeLessThan(1e-3);
      expect(maxError(strip(height / 2, width / 2), wanted.rec_mid)).toBeLessThan(1e-3);
      expect(maxError(pooled, wanted.rec_pool16)).toBeLessThan(1e-3);
    });
  }
});
