// The initial values of new networks.
import { describe, expect, test } from "bun:test";
import { NLayerDiscriminator } from "../../nn/discriminator.ts";
import { Conv2d } from "../../nn/layers.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { Random } from "../../src/index.ts";
import { tinyConfig } from "../support/goldens.ts";

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
