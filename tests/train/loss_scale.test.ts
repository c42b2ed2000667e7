// Training in f16 with gradients that overflow: weights with overflows stay unchanged, and the scale adapts.
import { expect, test } from "bun:test";
import { preset } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import * as t from "../../src/index.ts";
import { LossScale } from "../../train/loss_scale.ts";
import { Trainer } from "../../train/trainer.ts";
import { describeF16 } from "../support/devices.ts";
import { expectNoLeak } from "../support/expectations.ts";

describeF16("loss scaling", () => {
  test("Adam divides by the scale, and does not change weights whose gradient overflowed", () =>
    expectNoLeak(() =>
      t.asyncScope(async () => {
        const step = async (gradient: number[], lossScale?: number) => {
          const param = t.tensor([1, 2, 3, 4]), m = t.tensor([0.1, 0.1, 0.1, 0.1]), v = t.full([4], 0.01);
          const spec = { lr: 0.1, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: 3, lossScale };
          t.adamStep(param, t.tensor(gradient), m, v, spec);
          return await Promise.all([param, m, v].map((x) => x.floats()));
        };
        const plain = await step([1, -2, 3, 0.5]);
        const scaled = await step([1024, -2048, 3072, 512], 1024);
        expect(scaled).toEqual(plain);
        const partly = await step([1024, Infinity, NaN, -Infinity], 1024);
        const start = [[1, 2, 3, 4], [0.1, 0.1, 0.1, 0.1], [0.01, 0.01, 0.01, 0.01]];
        partly.forEach((values, i) => {
          expect(values[0]).toBe(plain[i][0]);
          expect(values.slice(1)).toEqual(Float32Array.from(start[i].slice(1)));
        });
      })
    ));

  test("halves after an overflow, doubles after many steps without one, and continues from a checkpoint", () =>
    expectNoLeak(() =>
      t.asyncScope(async () => {
        let scale = new LossScale();
        const good = t.tensor([1, -1]), bad = t.tensor([1, Infinity]);
        const run = async (from: number, to: number, overflowAt: number) => {
          for (let step = from; step <= to; step++) {
            await scale.update(step, step === overflowAt ? bad : good);
          }
        };
        await run(1, 9, 3);
        expect(scale.value).toBe(2 ** 16); // the gradients have not been checked yet
        scale = new LossScale(await scale.state());
        await run(10, 10, 0);
        expect(scale.value).toBe(2 ** 15);
        await run(11, 500, 0);
        expect(scale.value).toBe(2 ** 15);
        await run(501, 510, 0);
        expect(scale.value).toBe(2 ** 16);
        await run(511, 512, 512);
        scale.dispose();
      })
    ));

  for (const isFirstFrozen of [false, true]) {
    const title = `a model that overflows continues to learn with a smaller scale${
      isFirstFrozen ? ", its first layer frozen" : ""
    }`;
    test(title, async () => {
      const config = preset("faces", {
        nEmbed: 16,
        embedDim: 4,
        ddconfig: {
          ch: 32,
          chMult: [1, 1],
          numResBlocks: 1,
          resolution: 8,
          zChannels: 4,
          attnResolutions: [],
        },
        lossconfig: { discStart: 0, discNdf: 4, discNumLayers: 1, perceptualWeight: 0 },
      });
      const model = new VQGAN(config, new t.Random(1), { withLoss: true });
      const trainer = new Trainer(model, { learningRate: () => 1e-3, precision: "f16" });
      trainer.lossScale = new LossScale({ value: 2 ** 30, steps: 0, isOver: false });
      const { conv_in } = model.encoder;
      const first = await conv_in.setRequiresGrad(!isFirstFrozen).weight.floats();
      const losses: number[] = [];
      for (let step = 0; step < 60; step++) {
        await t.asyncScope(async () => {
          const { logs } = await trainer.trainStep([new t.Random(2).uniform([1, 8, 8, 3], -1, 1)]);
          if (step % 59 === 0) losses.push(await logs["train/rec_loss"].item());
        });
      }
      expect(trainer.lossScale.value).toBeLessThan(2 ** 30);
      expect(losses[1]).toBeLessThan(0.8 * losses[0]);
      for (const p of model.generatorParameters().values()) {
        expect((await p.floats()).every(Number.isFinite)).toBe(true);
      }
      if (isFirstFrozen) expect(await conv_in.weight.floats()).toEqual(first);
      trainer.dispose();
      model.dispose();
    });
  }
});
