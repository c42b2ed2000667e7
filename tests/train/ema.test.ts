// The average of the weights: its numbers, and that evaluating with it changes nothing.
import { expect, test } from "bun:test";
import { VQGAN } from "../../nn/vqgan.ts";
import { asyncScope, Random } from "../../src/index.ts";
import { Trainer, trainOnly, WeightAverages } from "../../train/index.ts";
import { describeDevices } from "../support/devices.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";
import { smallConfig } from "../support/small_model.ts";

const config = smallConfig({ discStart: 0, perceptualWeight: 0 });
const newModel = () => new VQGAN(config, new Random(1), { withLoss: true });

describeDevices("an average of the weights", () => {
  test("forgets the first weights soon, and then falls exponentially", () =>
    expectNoLeak(async () => {
      const model = newModel(), { weight } = model.decoder.conv_in, averages = new WeightAverages(model, 0.5);
      const wanted = [...await weight.floats()], key = "decoder.conv_in.weight";
      for (let n = 1; n <= 9; n++) {
        const now = Float32Array.from(wanted, (_, i) => Math.sin(n * i));
        weight.write(now);
        averages.update();
        const d = Math.min(0.5, (1 + n) / (10 + n)); // 2/11, 3/12, ..., and 0.5 from the eighth on
        for (const [i, value] of now.entries()) wanted[i] = d * wanted[i] + (1 - d) * value;
        expectClose(await averages.tensors().get(key)!.floats(), wanted, 1e-6);
      }
      expect(averages.values()).toEqual({ updates: 9 });
      averages.overwrite(weight, Float32Array.of(7, 8), 3);
      expect([...(await averages.tensors().get(key)!.floats()).slice(3, 5)]).toEqual([7, 8]);
      averages.begin();
      expect(await averages.tensors().get(key)!.floats()).toEqual(await weight.floats());
      expect(averages.values()).toEqual({ updates: 0 });
      averages.dispose();
      model.dispose();
    }));
});

describeDevices("the average of a trainer", () => {
  test("is in place of the weights while the model is evaluated, also if that fails", () =>
    expectNoLeak(async () => {
      const model = newModel(), images = new Random(3).uniform([2, 16, 16, 3], -1, 1);
      const trainer = new Trainer(model, { learningRate: () => 1e-2, update: { ema: 0.9 } });
      for (let i = 0; i < 2; i++) await asyncScope(async () => void await trainer.trainStep([images]));
      const pictures = () => asyncScope(async () => await model.reconstruct(images).floats());
      const last = await pictures(), average = await trainer.evaluate(pictures);
      expect(average).not.toEqual(last);
      expect(await pictures()).toEqual(last);
      const copy = newModel();
      copy.loadStateDict(model.stateDict());
      copy.loadStateDict(new Map(trainer.averages!.tensors()));
      expect(await asyncScope(async () => await copy.reconstruct(images).floats())).toEqual(average);
      const failing = trainer.evaluate(async () => {
        await pictures();
        throw new Error("stopped");
      });
      await expect(failing).rejects.toThrow("stopped");
      expect(await pictures()).toEqual(last);
      await trainer.evaluate(async () => {
        await expect(trainer.trainStep([images])).rejects.toThrow("trainStep: a step is still running");
      });
      for (const owner of [trainer, model, copy, images]) owner.dispose();
    }));
}, ["cpu", "webgpu"]);

test("changes no weight, and frozen parts have none", async () => {
  const images = new Random(3).uniform([2, 16, 16, 3], -1, 1);
  const after = async (ema: number) => {
    const model = newModel();
    trainOnly(model, ["decoder", "codebook"]);
    const trainer = new Trainer(model, { learningRate: () => 1e-2, update: { ema } });
    for (let i = 0; i < 2; i++) {
      await asyncScope(async () => void await trainer.trainStep([images]));
      await trainer.evaluate(() => asyncScope(async () => void await model.encode(images).indices.ints()));
    }
    const keys = [...trainer.averages?.tensors().keys() ?? []];
    const weights = await Promise.all([...model.stateDict().values()].map((t) => t.data()));
    for (const owner of [trainer, model]) owner.dispose();
    return { keys, weights };
  };
  const [without, averaged] = [await after(0), await after(0.9)];
  expect(averaged.weights).toEqual(without.weights);
  expect(without.keys).toEqual([]);
  expect(averaged.keys.length).toBeGreaterThan(10);
  expect(averaged.keys.filter((key) => !/^(decoder|post_quant_conv|quantize)\./.test(key))).toEqual([]);
  images.dispose();
});

test("refuses what is no decay, and counts that a file cannot have", () => {
  const model = newModel();
  for (const decay of [0, 1, NaN]) {
    expect(() => new WeightAverages(model, decay)).toThrow(
      `WeightAverages: the decay is ${decay}, expected a number above 0 and below 1`,
    );
  }
  const averages = new WeightAverages(model, 0.9);
  for (const values of [null, {}, { updates: -1 }, { updates: 0.5 }]) {
    expect(() => averages.restore(values)).toThrow("the number of updates is");
  }
  averages.dispose();
  model.dispose();
});
