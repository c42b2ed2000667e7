// Frozen parts stay frozen while the others learn as before, and gradients can be changed before they are applied.
import { expect, test } from "bun:test";
import { preset, withOverrides } from "../../data/formats/config.ts";
import type { Module } from "../../nn/module.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { asyncScope, keep, ones, Random, scope, type Tensor, tensor } from "../../src/index.ts";
import { DeadCodeRestart } from "../../train/codebook/restart.ts";
import { CodeUsage } from "../../train/codebook/usage.ts";
import { applyGradients, makeOptimizers, type Network } from "../../train/optimizers.ts";
import { discriminatorStep, generatorStep, type LossFactors, trainingStep } from "../../train/step.ts";
import { Trainer } from "../../train/trainer.ts";
import { validationStep } from "../../train/validation_step.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { relativeError } from "../support/numbers.ts";

const config = preset("faces", {
  nEmbed: 16,
  embedDim: 8,
  ddconfig: { ch: 32, chMult: [1, 1], resolution: 16, attnResolutions: [8], zChannels: 8 },
  lossconfig: { discStart: 0, discNdf: 8, discNumLayers: 1, perceptualWeight: 0 },
});
const newModel = () => new VQGAN(config, new Random(1), { withLoss: true });
const pictures = () => new Random(2).uniform([2, 16, 16, 3], -1, 1);

type Values = Map<string, Float32Array | null>;

/** Returns the gradients of a step of both networks by key, and its logs. */
async function gradientsOf(model: VQGAN): Promise<{ gradients: Values; logs: Record<string, number> }> {
  const gradients: Values = new Map(), logs: Record<string, number> = {};
  await asyncScope(async () => {
    const images = pictures();
    const generator = generatorStep(model, images, { globalStep: 0 });
    const discriminator = discriminatorStep(model, images, generator.reconstruction, { globalStep: 0 });
    for (const [name, t] of Object.entries({ ...generator.logs, ...discriminator })) {
      logs[name] = await t.item();
    }
    for (const [key, p] of model.namedParameters()) gradients.set(key, await p.grad?.floats() ?? null);
  });
  model.zeroGrad();
  return { gradients, logs };
}

const values = async (tensors: ReadonlyMap<string, Tensor>): Promise<Values> =>
  new Map(await Promise.all([...tensors].map(async ([key, t]) => [key, await t.floats()] as const)));
const flags = (model: VQGAN) =>
  new Map([...model.namedParameters()].map(([key, p]) => [key, p.requiresGrad]));

const parts: Record<string, (model: VQGAN) => Module[]> = {
  discriminator: (model) => [model.loss!.discriminator],
  decoder: (model) => [model.decoder],
  encoder: (model) => [model.encoder],
  quantizer: (model) => [model.quantize],
  "last layer": (model) => [model.decoder.conv_out],
  "all but the decoder": (
    m,
  ) => [m.encoder, m.quant_conv, m.quantize, m.post_quant_conv, m.loss!.discriminator],
  "all but the codebook": (
    m,
  ) => [m.encoder, m.quant_conv, m.decoder, m.post_quant_conv, m.loss!.discriminator],
  autoencoder: (m) => [m.encoder, m.quant_conv, m.quantize, m.post_quant_conv, m.decoder],
};

test("the factors of the terms scale their gradients, and change nothing else", () =>
  expectNoLeak(async () => {
    const alone = withOverrides(config, { lossconfig: { discStart: 9, codebookWeight: 0.7 } });
    const model = new VQGAN(alone, new Random(1), { withLoss: true });
    const gradientsWith = async (factors?: Partial<LossFactors>) => {
      const { logs } = await asyncScope(async () => {
        const { logs } = generatorStep(model, pictures(), { globalStep: 0, factors });
        return {
          logs: Object.fromEntries(
            await Promise.all(
              Object.entries(logs).map(async ([name, t]) => [name, await t.item()] as const),
            ),
          ),
        };
      });
      const made = await Promise.all(
        [...model.generatorParameters().values()].map((p) => p.grad?.floats() ?? new Float32Array(p.size)),
      );
      model.zeroGrad();
      return { logs, values: made.flatMap((each) => [...each]) };
    };
    const pixels = await gradientsWith({ codebook: 0 }), codebook = await gradientsWith({ pixels: 0 });
    const both = await gradientsWith({ pixels: 0.5, codebook: 3 }), { values } = await gradientsWith();
    const sum = (a: number, b: number) => pixels.values.map((value, i) => a * value + b * codebook.values[i]);
    expect(relativeError(both.values, sum(0.5, 3))).toBeLessThan(1e-5);
    expect(relativeError(values, sum(1, 1))).toBeLessThan(1e-5);
    expect(pixels.values.some((value) => value !== 0) && codebook.values.some((value) => value !== 0)).toBe(
      true,
    );
    const { "train/total_loss": total, "train/nll_loss": nll, "train/quant_loss": quant } = both.logs;
    expect(Math.abs(total - nll - 3 * 0.7 * quant)).toBeLessThan(1e-6);
    expect(Math.abs(nll - 0.5 * pixels.logs["train/nll_loss"])).toBeLessThan(1e-6);
    const step = (factors: Partial<LossFactors>) => () =>
      scope(() => void generatorStep(model, pictures(), { globalStep: 0, factors }));
    expect(step({ pixel: 1 } as Partial<LossFactors>)).toThrow(
      'generatorStep: factors: there is no option "pixel"',
    );
    expect(step({ perceptual: -1 })).toThrow("perceptual is -1, expected a number >= 0");
    model.dispose();
  }));

for (const [name, choose] of Object.entries(parts)) {
  test(`frozen: ${name}`, () =>
    expectNoLeak(async () => {
      const model = newModel();
      const whole = await gradientsOf(model);
      for (const part of choose(model)) part.setRequiresGrad(false);
      const frozen = flags(model);
      const isFrozen = (key: string) => !frozen.get(key);
      const { gradients, logs } = await gradientsOf(model);
      expect(logs).toEqual(whole.logs);
      for (const [key, gradient] of gradients) {
        expect([key, gradient]).toEqual([key, isFrozen(key) ? null : whole.gradients.get(key)!]);
      }
      expect(flags(model)).toEqual(frozen);

      const before = await values(model.namedParameters());
      const trainer = new Trainer(model, { learningRate: () => 1e-3 });
      await asyncScope(async () => void await trainer.trainStep([pictures(), pictures()]));
      for (const [key, after] of await values(model.namedParameters())) {
        const stays = isFrozen(key) || gradients.get(key)!.every((g) => g === 0);
        expect([key, `${after}` === `${before.get(key)}`]).toEqual([key, stays]);
      }
      expect(flags(model)).toEqual(frozen);
      for (const p of model.namedParameters().values()) expect(p.grad).toBe(null);
      trainer.dispose();
      model.dispose();
    }));
}

test("a frozen last layer keeps its gradient", () =>
  expectNoLeak(async () => {
    const model = newModel(), { weight } = model.decoder.conv_out;
    weight.grad = keep(ones(weight.shape));
    weight.requiresGrad = false;
    await asyncScope(async () => {
      generatorStep(model, pictures(), { globalStep: 0 });
      expect(await weight.grad!.floats()).toEqual(new Float32Array(weight.size).fill(1));
    });
    model.zeroGrad();
    model.dispose();
  }));

test("the error for a completely frozen model says what to unfreeze", () =>
  expectNoLeak(async () => {
    const model = newModel().setRequiresGrad(false);
    const trainer = new Trainer(model, { learningRate: () => 1e-3 });
    await asyncScope(async () => {
      const images = pictures(),
        wanted = "every part of the model is frozen, so nothing can be trained: call setRequiresGrad";
      expect(() => generatorStep(model, images, { globalStep: 0 })).toThrow(wanted);
      expect(() => discriminatorStep(model, images, images, { globalStep: 0 })).toThrow(wanted);
      await expect(trainer.trainStep([images])).rejects.toThrow("model.encoder, decoder, quantize");
    });
    expect([...flags(model).values()].some(Boolean)).toBe(false);
    trainer.dispose();
    model.dispose();
  }));

test("a frozen codebook is not restarted", () =>
  expectNoLeak(async () => {
    const model = newModel(), optimizers = makeOptimizers(model, 1);
    const usage = new CodeUsage(16);
    const restarts = new DeadCodeRestart(model, optimizers.generator, usage, new Random(1));
    await asyncScope(async () => {
      await usage.observe([keep(tensor(Int32Array.of(3, 3, 5, 5)))]);
      model.quantize.setRequiresGrad(false);
      const before = await model.quantize.codebook.floats();
      expect(await restarts.restart(pictures())).toBe(0);
      expect(await model.quantize.codebook.floats()).toEqual(before);
      model.quantize.setRequiresGrad(true);
      expect(await restarts.restart(pictures())).toBe(16);
      expect(await model.quantize.codebook.floats()).not.toEqual(before);
    });
    for (const optimizer of Object.values(optimizers)) optimizer.dispose();
    model.dispose();
  }));

test("gradients can be changed asynchronously before they are applied", () =>
  expectNoLeak(async () => {
    const model = newModel(), optimizers = makeOptimizers(model, 1e-3);
    const before = await values(model.generatorParameters());
    const order: string[] = [];
    const apply = async (network: Network) => {
      order.push(network);
      await Promise.resolve(); // as when summing over processes
      if (network === "generator") optimizers.generator.zeroGrad();
      applyGradients(optimizers[network]);
    };
    await asyncScope(async () => {
      const batches = [pictures(), pictures()];
      const { indices } = await trainingStep(model, batches, { globalStep: 0 }, apply);
      expect(indices.map(({ shape }) => shape)).toEqual([[2, 8, 8], [2, 8, 8]]);
    });
    expect(order).toEqual(["generator", "discriminator"]); // once per step, not once per batch
    expect(await values(model.generatorParameters())).toEqual(before);
    expect(optimizers.generator.state().size).toBe(0);
    expect(optimizers.discriminator.state().size).toBe(model.discriminatorParameters().size);
    for (const optimizer of Object.values(optimizers)) optimizer.dispose();
    model.dispose();
  }));

test("a validation leaves each module in its own mode", () => {
  const model = newModel(), { discriminator } = model.loss!;
  discriminator.eval();
  const modes = () => [...model.namedModules()].map(([path, { training }]) => [path, training]);
  const before = modes();
  scope(() => void validationStep(model, pictures(), 0));
  expect(modes()).toEqual(before);
  expect([model.training, discriminator.training]).toEqual([true, false]);
  model.dispose();
});

test("tokens outside the codebook are refused, and freed", () =>
  expectNoLeak(async () => {
    const usage = new CodeUsage(16);
    void usage.observe([3, 16, 5].map((code) => keep(tensor(Int32Array.of(code)))));
    await expect(usage.collect()).rejects.toThrow("index 16 is outside the codebook of 16 codes");
  }));
