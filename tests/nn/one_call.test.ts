// Pictures to tokens and back in one call each, for every kind of source.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodePng, toRgba } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { asyncScope, backward, memory, Random, tensor } from "../../src/index.ts";
import { tinyConfig } from "../support/goldens.ts";
import { expectNoLeak } from "../support/expectations.ts";

const model = new VQGAN(tinyConfig, new Random(1));
const { factor } = model, size = model.config.ddconfig.resolution;
const folder = await mkdtemp(join(tmpdir(), "tessera-one-call-"));
afterAll(() => rm(folder, { recursive: true }));

const pixels = Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * 7) % 256);
const picture = { width: size, height: size, pixels };
const png = Uint8Array.from(await encodePng(picture));
const path = join(folder, "picture.png");
await writeFile(path, png);

describe("tokensOf and pictureOf", () => {
  test("the same tokens from a path, bytes, a buffer, a Blob, pixels and RGBA", () =>
    expectNoLeak(async () => {
      const { tokens, grid } = await model.tokensOf(path);
      expect(grid).toEqual([size / factor, size / factor]);
      expect(tokens.length).toBe(grid[0] * grid[1]);
      const data = toRgba(picture);
      for (const source of [png, png.buffer, new Blob([png]), picture, data]) {
        expect((await model.tokensOf(source)).tokens).toEqual(tokens);
      }
      await asyncScope(async () => {
        const images = tensor(Float32Array.from(pixels, (v) => v / 127.5 - 1), [1, size, size, 3]);
        expect(await model.encode(images).indices.ints()).toEqual(tokens);
      });
    }));

  test("resizes and crops to the model's size, keeps the shape, or leaves the picture alone", async () => {
    const wide = {
      width: 5 * factor + 1,
      height: 3 * factor,
      pixels: new Uint8Array(3 * (5 * factor + 1) * 3 * factor),
    };
    expect((await model.tokensOf(wide)).grid).toEqual([size / factor, size / factor]);
    expect((await model.tokensOf(wide, { size: 0 })).grid).toEqual([3, 5]);
    expect((await model.tokensOf(wide, { size: 3 * factor, crop: "none" })).grid).toEqual([3, 5]);
    await expect(model.tokensOf(wide, { size: -1 })).rejects.toThrow(
      "tokensOf: size is -1, expected a whole number",
    );
    await expect(model.tokensOf(wide, { crop: "left" as never })).rejects.toThrow(
      'crop is "left", expected "center"',
    );
    const small = { width: 1, height: 1, pixels: new Uint8Array(3) };
    await expect(model.tokensOf(small, { size: 0 })).rejects.toThrow("(pixels): it has 1x1 pixels: at least");
  });

  test("other events run meanwhile, and a signal stops it", () =>
    expectNoLeak(async () => {
      const side = 30 * factor,
        large = { width: side, height: side, pixels: new Uint8Array(side * side * 3) };
      const { tokens, grid } = await model.tokensOf(large, { size: 0 });
      for (
        const job of [
          (signal: AbortSignal) => model.tokensOf(large, { size: 0, signal }),
          (signal: AbortSignal) => model.pictureOf(tokens, grid, { signal }),
        ]
      ) {
        const controller = new AbortController(), reason = new Error("enough");
        setTimeout(() => controller.abort(reason), 1);
        await expect(Array.fromAsync({ length: 100 }, () => job(controller.signal))).rejects.toThrow(reason);
      }
      await expect(model.tokensOf(large, { signal: 7 as never })).rejects.toThrow("tokensOf: signal is 7");
    }));

  test("tokens become a picture, on a square by default", () =>
    expectNoLeak(async () => {
      const { tokens, grid } = await model.tokensOf(picture);
      const again = await model.pictureOf(tokens, grid);
      expect([again.width, again.height, again.pixels.length]).toEqual([size, size, size * size * 3]);
      expect(await model.pictureOf([...tokens])).toEqual(again);
      expect((await model.pictureOf([1, 2], [1, 2])).width).toBe(2 * factor);
      await expect(model.pictureOf([1, 2, 3])).rejects.toThrow(
        "3 tokens do not fill a square; give the grid as [rows, columns]",
      );
      await expect(model.pictureOf([1, 2, 3, 4], [1, 2])).rejects.toThrow(
        "4 tokens make 2 pictures of 1x2 tokens",
      );
    }));
});

test("decode records gradients when it is asked to", async () => {
  const count = memory().liveTensors;
  const latents = new Random(5).normal([1, 2, 2, model.config.embedDim]);
  latents.requiresGrad = true;
  await asyncScope(async () => {
    const plain = model.decode(latents), recorded = model.decode(latents, { grad: true });
    expect([plain.node, recorded.node === null]).toEqual([null, false]);
    expect(await recorded.floats()).toEqual(await plain.floats());
    backward(recorded.square().mean());
    expect((await latents.grad!.floats()).some((g) => g !== 0)).toBe(true);
  });
  model.zeroGrad();
  latents.grad!.dispose();
  latents.dispose();
  expect(memory().liveTensors).toBe(count);
});

test("dispose frees all of a model", () => {
  const count = memory();
  const whole = new VQGAN(tinyConfig, new Random(1), { withLoss: true });
  expect(whole.stateDict().size).toBeGreaterThan(50);
  whole.dispose();
  for (const only of ["encoder", "decoder"] as const) new VQGAN(tinyConfig, null, { only }).dispose();
  const { liveTensors, liveBytes } = memory();
  expect([liveTensors, liveBytes]).toEqual([count.liveTensors, count.liveBytes]);
});

test("loading stops when it is aborted, and leaves nothing behind", async () => {
  const count = memory().liveTensors, file = new URL("../../models/faces.safetensors", import.meta.url);
  const bytes = new Uint8Array(await readFile(file));
  const stop = new AbortController();
  const onProgress = () => stop.abort(new Error("enough"));
  await expect(VQGAN.load(bytes, { signal: stop.signal, onProgress })).rejects.toThrow("enough");
  await expect(VQGAN.load(bytes, { signal: stop.signal })).rejects.toThrow("enough");
  expect(memory().liveTensors).toBe(count);
});
