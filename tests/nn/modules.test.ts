// Structure and manners of the networks: keys, shapes, initial values, errors, memory.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { memory, Random, tensor, zeros } from "../../src/index.ts";
import { preset } from "../../data/formats/config.ts";
import { NLayerDiscriminator } from "../../nn/discriminator.ts";
import { Conv2d, GroupNorm } from "../../nn/layers.ts";
import { LPIPS } from "../../nn/lpips.ts";
import { formatLoadReport, Layer } from "../../nn/module.ts";
import { CodebookUsage } from "../../nn/quantizers/codebook_usage.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { tinyConfig } from "../support/fill.ts";

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

describe("initial values", () => {
  const range = async (t: { floats(): Promise<Float32Array> }) => {
    const values = await t.floats();
    return Math.max(...values.map(Math.abs));
  };

  test("convolutions are uniform within 1/sqrt(fan in), weight and bias", async () => {
    const conv = new Conv2d(3, 128, 3, new Random(1));
    const bound = 1 / Math.sqrt(27);
    for (const t of [conv.weight, conv.bias!]) {
      expect(await range(t)).toBeLessThanOrEqual(bound);
      expect(await range(t)).toBeGreaterThan(0.95 * bound);
    }
  });

  test("the codebook is uniform within 1/K", async () => {
    const model = new VQGAN(tinyConfig, new Random(1));
    const codes = await range(model.quantize.codebook);
    expect(codes).toBeLessThanOrEqual(1 / 64);
    expect(codes).toBeGreaterThan(0.95 / 64);
    expect(await model.encoder.norm_out.weight.floats()).toEqual(new Float32Array(64).fill(1));
    model.dispose();
  });

  test("the discriminator is normal with 0.02, biases uniform", async () => {
    const state = new NLayerDiscriminator({ ndf: 64, numLayers: 2 }, new Random(1)).stateDict();
    const spread = async (key: string, mean: number) => {
      const values = await state.get(key)!.floats();
      return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    };
    expect(Math.abs(await spread("main.5.weight", 0) - 0.02)).toBeLessThan(1e-4);
    expect(Math.abs(await spread("main.6.weight", 1) - 0.02)).toBeLessThan(3e-3);
    expect(await range(state.get("main.0.bias")!)).toBeLessThanOrEqual(1 / Math.sqrt(48));
    expect(await range(state.get("main.6.bias")!)).toBe(0);
  });

  test("the same seed gives the same model", async () => {
    const [a, b] = [0, 1].map(() => new VQGAN(tinyConfig, new Random(5)));
    const [first, second] = [a, b].map((m) => m.decoder.up[2].block[1].conv2.weight);
    expect(await first.floats()).toEqual(await second.floats());
  });

  test("three layers make the deeper discriminator", () => {
    const state = new NLayerDiscriminator({ ndf: 64, numLayers: 3 }, null).namedParameters();
    expect([...state.values()].reduce((sum, t) => sum + t.size, 0)).toBe(2_765_633);
    expect(state.get("main.11.weight")!.shape).toEqual([1, 512, 4, 4]);
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

  test("a perceptual network without weights refuses to compare", () => {
    expect(() => new LPIPS("squeeze").features(zeros([1, 32, 32, 3]))).toThrow("no weights are loaded");
  });
});

test("loadStateDict takes what fits and reports the rest", async () => {
  const conv = new Conv2d(2, 3, 1, null);
  const weight = tensor([1, 2, 3, 4, 5, 6], [3, 2, 1, 1]);
  const report = conv.loadStateDict(
    new Map([["weight", weight], ["bias", zeros([4])], ["extra", zeros([1])]]),
  );
  expect(await conv.weight.floats()).toEqual(new Float32Array([1, 2, 3, 4, 5, 6]));
  expect(report.matched).toEqual(["weight"]);
  expect(formatLoadReport(report)).toBe(
    "1 not used by the model:\n  extra\n1 of another shape:\n  bias: model [3], file [4]",
  );
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

test("codebook usage and perplexity", () => {
  const usage = new CodebookUsage(8);
  usage.add(new Int32Array([0, 0, 1, 1]));
  usage.add(new Int32Array([2, 2, 3, 3]));
  const { used, usage: fraction, perplexity, total } = usage.summary();
  expect([used, fraction, total]).toEqual([4, 0.5, 8]);
  expect(perplexity).toBeCloseTo(4, 10);
  expect(() => usage.add(new Int32Array([8]))).toThrow("index 8 is outside the codebook of 8 codes");
  expect(new CodebookUsage(8).summary().perplexity).toBe(0);
});
