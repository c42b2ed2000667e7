// The course and the balance of the GAN: warm-up, ramp, the weight of the generator's loss, LeCam, and what is logged.
import { expect, test } from "bun:test";
import { preset } from "../../../data/formats/config.ts";
import { adaptiveWeight, lecamLoss } from "../../../nn/losses.ts";
import { VQGAN } from "../../../nn/vqgan.ts";
import { asyncScope, grad, noGrad, Random, scope, type Tensor, tensor } from "../../../src/index.ts";
import { Gan } from "../../../train/gan/gan.ts";
import { LeCam } from "../../../train/gan/lecam.ts";
import type { GanTerms } from "../../../train/gan/options.ts";
import { discriminatorStep, generatorStep } from "../../../train/step.ts";
import { Trainer } from "../../../train/trainer.ts";
import { validationStep } from "../../../train/validation_step.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { drawn, draws } from "../../support/numbers.ts";
import { smallConfig } from "../../support/small_model.ts";

const modelWith = (lossconfig = {}) =>
  new VQGAN(smallConfig({ perceptualWeight: 0, ...lossconfig }), new Random(1), { withLoss: true });
const pictures = (name = "x") => drawn(name, [2, 16, 16, 3]);

/** The gradients of some parameters after a step, which are freed. */
async function gradients(parameters: ReadonlyMap<string, Tensor>): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  for (const p of parameters.values()) {
    all.push(p.grad ? await p.grad.floats() : new Float32Array());
    p.grad?.dispose();
    p.grad = null;
  }
  return all;
}

test("the factor of the generator is 0 in the warm-up, and rises over the ramp", () => {
  const { lossconfig } = preset("faces", { lossconfig: { discStart: 10, discFactor: 0.8 } });
  const factors = (terms: Partial<GanTerms>) => {
    const gan = new Gan(terms);
    return [0, 9, 10, 13, 14, 15, 16, 17, 18, 99].map((step) => gan.generatorFactor(lossconfig, step));
  };
  expect(factors({})).toEqual([0, 0, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]);
  expect(factors({ warmup: 4 })).toEqual([0, 0, 0, 0, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]);
  expect(factors({ warmup: 4, ramp: 4 })).toEqual([0, 0, 0, 0, 0.2, 0.4, 0.8 * 0.75, 0.8, 0.8, 0.8]);
  const gentler = new Gan({});
  gentler.scale = 0.5;
  expect(gentler.generatorFactor(lossconfig, 99)).toBe(0.4);
});

test("terms that cannot be are refused by name", () => {
  expect(() => new Gan({ warmup: -1 })).toThrow("Gan: warmup is -1, expected a whole number >= 0");
  expect(() => new Gan({ maxWeight: 0 })).toThrow("Gan: maxWeight is 0, expected a number above 0, or null");
  expect(() => new Gan({ lecam: 0.1 })).toThrow("Gan: LeCam needs a tensor on the model's device");
  expect(() => new Gan({ start: 3 } as object)).toThrow('Gan: there is no option "start"');
});

describeDevices("the GAN in a step", () => {
  test("the weight is the adaptive one, capped, or fixed", async () => {
    await asyncScope(async () => {
      const { lossconfig } = preset("faces", { lossconfig: { discWeight: 0.5 } });
      const weights = async (terms: Partial<GanTerms>) => {
        const gan = new Gan(terms);
        return await Promise.all(
          [3, 3e4, 1e-3].map((ratio) => gan.weight(tensor([ratio], []), lossconfig).item()),
        );
      };
      expectClose(await weights({}), [1.5, 5000, 5e-4], 1e-4);
      expectClose(await weights({ maxWeight: 1 }), [1, 1, 5e-4], 1e-7);
      expect(await weights({ fixedWeight: 0.25 })).toEqual([0.25, 0.25, 0.25]);
      expectClose([await adaptiveWeight(tensor([3], []), 0.5).item()], [1.5], 1e-6);
    });
  });

  test("in the warm-up the autoencoder has the gradients of training without a GAN, and the discriminator its own", async () => {
    await expectNoLeak(async () => {
      const model = modelWith({ discStart: 5 });
      const step = async (globalStep: number, gan?: Gan) => {
        const logs: Record<string, number> = {};
        const generator = await asyncScope(async () => {
          const made = generatorStep(model, pictures(), { globalStep, gan });
          for (const [name, value] of Object.entries(made.logs)) logs[name] = await value.item();
          return await gradients(model.generatorParameters());
        });
        const discriminator = await asyncScope(async () => {
          discriminatorStep(model, pictures(), pictures("y"), { globalStep, gan });
          return await gradients(model.discriminatorParameters());
        });
        return { generator, discriminator, logs };
      };
      const size = (all: Float32Array[]) =>
        all.reduce((sum, g) => sum + g.reduce((a, b) => a + Math.abs(b), 0), 0);
      const before = await step(4);
      const warm = await step(5, new Gan({ warmup: 2, ramp: 2 }));
      expect(warm.generator).toEqual(before.generator);
      expect(size(before.discriminator)).toBe(0);
      expect(size(warm.discriminator)).toBeGreaterThan(0);
      expect(warm.logs["train/disc_factor"]).toBe(0);

      const half = await step(7, new Gan({ warmup: 2, ramp: 2 })),
        full = await step(8, new Gan({ warmup: 2, ramp: 2 }));
      expect([half, full].map(({ logs }) => logs["train/disc_factor"])).toEqual([0.5, 1]);
      expect(full.generator).toEqual((await step(5)).generator);
      // the gradient is linear in the factor
      half.generator.forEach((g, i) => {
        const middle = g.map((_, n) => (before.generator[i][n] + full.generator[i][n]) / 2);
        expectClose(g, middle, 1e-5 * Math.max(1, ...g.map(Math.abs)));
      });
      model.dispose();
    });
  });

  test("the raw ratio is logged beside the weight, whatever becomes of it", async () => {
    const model = modelWith({ discWeight: 0.5 });
    const logged = async (terms: Partial<GanTerms>) =>
      await asyncScope(async () => {
        const { logs } = generatorStep(model, pictures(), { globalStep: 0, gan: new Gan(terms) });
        model.zeroGrad();
        return [await logs["train/d_ratio"].item(), await logs["train/d_weight"].item()];
      });
    const [ratio, weight] = await logged({});
    expect(ratio).toBeGreaterThan(0);
    expectClose([weight], [ratio / 2], 1e-6 * ratio);
    expectClose(await logged({ maxWeight: ratio / 4 }), [ratio, ratio / 4], 1e-6 * ratio);
    expect(await logged({ fixedWeight: 0.25 })).toEqual([ratio, 0.25]);
    model.dispose();
  });

  test("accuracy and gap are those of the logits", async () => {
    const model = modelWith();
    await asyncScope(async () => {
      const images = pictures(), made = pictures("y");
      const [real, fake] = noGrad(() => [images, made].map((x) => model.loss!.discriminator.call(x)));
      const [onReal, onFake] = [await real.floats(), await fake.floats()];
      const logs = discriminatorStep(model, images, made, { globalStep: 0 });
      model.zeroGrad();
      const share = (all: Float32Array, isRight: (logit: number) => boolean) =>
        all.filter(isRight).length / all.length;
      const mean = (all: Float32Array) => all.reduce((a, b) => a + b, 0) / all.length;
      const accuracies = [share(onReal, (logit) => logit > 0), share(onFake, (logit) => logit < 0)];
      expect(accuracies.every((a) => a > 0 && a < 1)).toBe(true); // both kinds of logits are there
      expectClose(
        await Promise.all(["acc_real", "acc_fake"].map((name) => logs[`train/disc_${name}`].item())),
        accuracies,
        1e-6,
      );
      expectClose([await logs["train/logit_gap"].item()], [mean(onReal) - mean(onFake)], 1e-5);
      const { logs: val } = validationStep(model, images, 0);
      for (const name of ["logit_gap", "disc_acc_real", "disc_acc_fake"]) {
        expect(val[`val/${name}`].size).toBe(1);
      }
    });
    model.dispose();
  });

  test("LeCam's loss and its gradients are those of its formula, in the middle of a graph", async () => {
    await asyncScope(async () => {
      const values = [draws("real", 12), draws("fake", 12)], averages = { real: 0.3, fake: -0.2 };
      const upstream = 1.7, inner = 1.25;
      const wanted = (real: ArrayLike<number>, fake: ArrayLike<number>) => {
        const term = (all: ArrayLike<number>, above: (logit: number) => number) =>
          Array.from(all, (x) => Math.max(0, above(inner * x)) ** 2).reduce((a, b) => a + b, 0) / all.length;
        return upstream * (term(real, (x) => x - averages.fake) + term(fake, (x) => averages.real - x));
      };
      const [real, fake] = values.map((x) => tensor(x, [3, 2, 2, 1], { requiresGrad: true }));
      const held = { real: tensor([averages.real], []), fake: tensor([averages.fake], []) };
      const loss = lecamLoss(real.mul(inner), fake.mul(inner), held).mul(upstream);
      expectClose([await loss.item()], [wanted(values[0], values[1])], 1e-5);
      const found = grad([loss], [real, fake]), h = 1e-5;
      for (const [which, analytic] of found.entries()) {
        const numeric = Array.from(values[which], (_, i) => {
          const [high, low] = [h, -h].map((d) => {
            const moved = values.map((v) => Array.from(v));
            moved[which][i] += d;
            return wanted(moved[0], moved[1]);
          });
          return (high - low) / (2 * h);
        });
        expect(numeric.some((g) => g !== 0)).toBe(true);
        expectClose(await analytic.floats(), numeric, 1e-4);
      }
    });
  });

  test("LeCam's averages take in the present logits first, and keep 0.999", async () => {
    await expectNoLeak(async () => {
      const lecam = scope(() => new LeCam(tensor([0])));
      await asyncScope(async () => {
        const make = (...values: number[]) => tensor(values, [values.length]);
        const first = await lecam.loss(make(1, 3), make(-1, -1)).item();
        expectClose([await lecam.real.item(), await lecam.fake.item()], [0.002, -0.001], 1e-8);
        expectClose([first], [(1.001 ** 2 + 3.001 ** 2) / 2 + 1.002 ** 2], 1e-4);
        lecam.loss(make(4), make(0));
        expectClose(
          [await lecam.real.item(), await lecam.fake.item()],
          [0.002 * 0.999 + 0.004, -0.000999],
          1e-8,
        );
      });
      lecam.dispose();
    });
  });

  test("LeCam adds its term to the discriminator's gradient, from the start on", async () => {
    const model = modelWith({ discStart: 1 });
    const gan = new Gan({ lecam: 0.5 }, model.decoder.conv_out.weight);
    const learn = async (globalStep: number, gan?: Gan) =>
      await asyncScope(async () => {
        const logs = discriminatorStep(model, pictures(), pictures("y"), { globalStep, gan });
        const loss = await logs["train/disc_loss"].item(), term = await logs["train/lecam_loss"]?.item();
        return { loss, term, gradients: await gradients(model.discriminatorParameters()) };
      });
    const before = await learn(0, gan);
    expect(before.term).toBe(undefined);
    expect(await gan.lecam!.real.item()).toBe(0);
    const plain = await learn(1), held = await learn(1, gan);
    expect(held.loss).toBe(plain.loss); // 1 stays what a guess costs
    expect(held.term).toBeGreaterThan(0);
    expect(held.gradients).not.toEqual(plain.gradients);
    gan.dispose();
    model.dispose();
  });
});

test("a trainer hands the terms on, and a step that fails leaves LeCam's averages as they were", async () => {
  await expectNoLeak(async () => {
    const model = modelWith({ discStart: 0 });
    const trainer = new Trainer(model, { learningRate: () => 1e-3, gan: { lecam: 0.5, fixedWeight: 0.25 } });
    expect(trainer.states.map(({ name }) => name)).toEqual(["lecam"]);
    const { lecam } = trainer.gan;
    await asyncScope(async () => {
      const { logs } = await trainer.trainStep([pictures()]);
      expect(await logs["train/d_weight"].item()).toBe(0.25);
      const average = await lecam!.real.item();
      expect(average).not.toBe(0);
      // the second batch does not fit, after the discriminator has seen the first
      await expect(trainer.trainStep([pictures(), drawn("z", [1, 15, 15, 3])])).rejects.toThrow();
      expect(trainer.isBroken).toBe(false);
      expect(await lecam!.real.item()).toBe(average);
    });
    expect(() => new Trainer(model, { learningRate: () => 1, gan: { ramp: 1.5 } })).toThrow(
      "Trainer: gan: ramp is 1.5, expected a whole number >= 0",
    );
    trainer.dispose();
    model.dispose();
  });
});

test("the weights after three steps with terms that change nothing have taming's bits", async () => {
  const train = async (gan?: Partial<GanTerms>) => {
    const model = modelWith({ discStart: 1 });
    const trainer = new Trainer(model, { learningRate: () => 1e-3, gan });
    for (let i = 0; i < 3; i++) await asyncScope(() => trainer.trainStep([pictures(`${i}`)]));
    const weights = await Promise.all([...model.namedParameters().values()].map((p) => p.floats()));
    trainer.dispose();
    model.dispose();
    return weights;
  };
  expect(await train({ warmup: 0, ramp: 1, maxWeight: 1e9 })).toEqual(await train());
});
