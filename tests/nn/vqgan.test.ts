// The model as a whole: its keys and shapes, the sizes that it accepts, and the memory that it needs. Loading is tested in
// vqgan_load.test.ts.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { asyncScope, memory, Random, zeros } from "../../src/index.ts";
import { preset } from "../../data/formats/config.ts";
import { GroupNorm } from "../../nn/layers.ts";
import { Layer } from "../../nn/module.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { tinyConfig } from "../support/goldens.ts";
import { drawn } from "../support/numbers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

describe("f16-16384", () => {
  const lines = readFileSync(new URL("../fixtures/f16_16384_keys.tsv", import.meta.url), "utf8").trim().split(
    "\n",
  );
  const wanted = lines.map((line) => line.split("\t"));
  const model = new VQGAN(preset("f16-16384"), null, { withLoss: true });

  test("has the published 392 keys and shapes, in the published order", () => {
    const own = [...model.stateDict()].map(([key, t]) => [key, t.shape.join("x")]);
    expect(own).toEqual(wanted.map(([key, shape]) => [key, shape]));
  });

  test("tells parameters from buffers", () => {
    const keys = (kind: string) => wanted.filter((row) => row[2] === kind).map(([key]) => key);
    expect([...model.namedParameters().keys()]).toEqual(keys("param"));
    expect([...model.namedBuffers().keys()]).toEqual(keys("buffer"));
  });

  test("gives the optimizers 343 and 10 tensors, and freezes the perceptual network", () => {
    const size = (tensors: Map<string, { size: number }>) =>
      [...tensors.values()].reduce((sum, t) => sum + t.size, 0);
    expect(model.generatorParameters().size).toBe(343);
    expect(size(model.generatorParameters())).toBe(76_073_859);
    expect(model.discriminatorParameters().size).toBe(10);
    expect(size(model.discriminatorParameters())).toBe(663_361);
    const frozen = model.loss!.perceptual_loss!.namedParameters();
    expect([...frozen.values()].some((p) => p.requiresGrad)).toBe(false);
    expect([...model.generatorParameters().values()].every((p) => p.requiresGrad)).toBe(true);
    model.dispose();
  });
});

describe("sizes", () => {
  const model = new VQGAN(tinyConfig, new Random(1));

  test("other picture sizes work, oblong ones too", () => {
    const { indices } = model.encode(zeros([1, 48, 20, 3]));
    expect(indices.shape).toEqual([1, 12, 5]);
    expect(model.decodeTokens(indices).shape).toEqual([1, 48, 20, 3]);
  });

  test("a size that does not fit names the nearest that do", () => {
    const f16 = () => model.encode(zeros([1, 30, 34, 3]));
    expect(f16).toThrow(
      "image sides must be multiples of 4, but got height 30 (nearest: 28 or 32) and width 34 (nearest: 32 or 36)",
    );
    expect(() => model.forward(zeros([1, 2, 4, 3]))).toThrow("height 2 (nearest: 4)");
    expect(() => model.encode(zeros([32, 32, 3]))).toThrow("images have shape [32,32,3]");
    expect(() => model.encode(zeros([1, 3, 32, 32]))).toThrow("images have shape [1,3,32,32]");
  });

  test("tokens that do not fit are named", () => {
    expect(() => model.decodeTokens([1, 2, 64], [1, 3])).toThrow("token 64 at 2 is not in 0..63");
    expect(() => model.decodeTokens([1, 2, 3], [2, 2])).toThrow("3 tokens do not fill grids of 2x2");
    expect(() => model.decodeTokens([1, 2, 3])).toThrow("give the grid as [height, width]");
    expect(() => model.decode(zeros([1, 2, 2, 17]))).toThrow("expected [batch, height, width, 16]");
  });

  test("a config that cannot be built says why", () => {
    expect(() => preset("faces", { ddconfig: { ch: 48 } })).toThrow("ddconfig.ch is 48");
    expect(() => preset("faces", { ddconfig: { dropout: 0.1 } })).toThrow("ddconfig.dropout is 0.1");
    expect(() => preset("faces", { nEmbed: 0 })).toThrow("nEmbed is 0");
    expect(() => new GroupNorm(48)).toThrow("48 channels");
  });
});

test("inference holds a few activations, not the network's", () => {
  const model = new VQGAN(tinyConfig, new Random(1));
  const images = zeros([1, 64, 64, 3]);
  const before = memory().liveBytes;
  let peak = 0;
  for (const layer of model.namedModules().values()) {
    if (!(layer instanceof Layer)) continue;
    const call = layer.call;
    layer.call = (x, residual) => {
      const out = call.bind(layer)(x, residual);
      peak = Math.max(peak, memory().liveBytes - before);
      return out;
    };
  }
  const out = model.reconstruct(images);
  expect(memory().liveBytes - before).toBe(64 * 64 * 3 * 4);
  const widest = 64 * 64 * 64 * 4; // the input of up.0: 64 channels at full size
  expect(peak).toBeLessThan(4 * widest);
  out.dispose();
  expect(memory().liveBytes).toBe(before);
  model.dispose();
});

test("60 requests at once, which await inside their scopes, give the same results as alone", () =>
  expectNoLeak(async () => {
    const model = new VQGAN(tinyConfig, new Random(1)), random = new Random(2);
    const pause = () => new Promise((resolve) => setTimeout(resolve, 5 * random.next()));
    const request = (i: number) =>
      asyncScope(async () => {
        await pause(); // as if the request read an upload
        const images = drawn(`request ${i}`, [1, 32, 32, 3]);
        const { indices } = model.encode(images);
        const tokens = await indices.ints();
        await pause();
        const made = model.decodeTokens(indices);
        return { tokens, error: await made.sub(images).square().mean().item() };
      });
    const numbers = Array.from({ length: 60 }, (_, i) => i);
    const alone = [];
    for (const i of numbers) alone.push(await request(i));
    expect(await Promise.all(numbers.map(request))).toEqual(alone);
    model.dispose();
  }));
