// Steps of both networks together: taming's order compared with the reference, and no leaks.
import { expect, setDefaultTimeout, test } from "bun:test";
import { VQGAN } from "../../nn/index.ts";
import { asyncScope, device, memory, Random, tensor, zeros } from "../../src/index.ts";
import { Trainer } from "../../train/index.ts";
import { expectClose } from "../support/expectations.ts";
import { fillState, golden, picture, tinyConfig } from "../support/goldens.ts";
import { draws } from "../support/numbers.ts";
import { smallConfig } from "../support/small_model.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

// made here and not in the test, because filling VGG takes seconds and Bun limits the time of a test
const filledModel = new VQGAN(tinyConfig, null, { withLoss: true });
fillState(filledModel.stateDict());
filledModel.loss!.perceptual_loss!.ready = true;

test("two steps in taming's order agree with the reference", async () => {
  interface Golden {
    steps: { conv_out_after: number[]; dlog: Record<string, number> }[];
    adam_state_example: { exp_avg_conv_out_first6: number[]; exp_avg_sq_conv_out_first6: number[] };
  }
  const { steps, adam_state_example: example } = golden<Golden>("tiny_train");
  const model = filledModel;
  const trainer = new Trainer(model, { learningRate: () => 1e-3, tamingExact: true });
  // after the first update rounding decides which tokens flip, so this uses exact convolutions: see golden.test.ts
  await device("cpu", { exact: true });
  const tolerances = [{ weights: 2.5e-7, logs: 5e-5 }, { weights: 2e-5, logs: 3e-2 }];
  for (const [i, { conv_out_after, dlog }] of steps.entries()) {
    const { logs } = await trainer.trainStep([tensor(picture(`x${i}`, [2, 3, 32, 32]), [2, 32, 32, 3])]);
    const weights = (await model.decoder.conv_out.weight.floats()).slice(0, conv_out_after.length);
    expectClose(weights, conv_out_after, tolerances[i].weights);
    for (const [name, value] of Object.entries(dlog)) {
      expectClose([await logs[name].item()], [value], tolerances[i].logs);
    }
  }
  const { step, expAvg, expAvgSq } = trainer.optimizers.generator.moments("decoder.conv_out.weight");
  expect(step).toBe(2);
  expectClose((await expAvg.floats()).slice(0, 6), example.exp_avg_conv_out_first6, 2e-4);
  expectClose((await expAvgSq.floats()).slice(0, 6), example.exp_avg_sq_conv_out_first6, 2e-6);
  await device("cpu", { exact: false });
  trainer.dispose();
  model.dispose();
});

test("a step that begins before the last one has ended is refused, and changes nothing", async () => {
  const model = new VQGAN(smallConfig({ discStart: 2, perceptualWeight: 0 }), new Random(1), {
    withLoss: true,
  });
  const trainer = new Trainer(model, { learningRate: () => 1e-4 });
  await asyncScope(async () => {
    const images = tensor(draws("x", 768), [1, 16, 16, 3]);
    const first = trainer.trainStep([images]);
    await expect(trainer.trainStep([images])).rejects.toThrow("trainStep: a step is still running: await it");
    await first;
    await trainer.trainStep([images]);
  });
  expect(trainer.step).toBe(2);
  trainer.dispose();
  model.dispose();
});

test("a trainer frees what a step created", async () => {
  const config = smallConfig({ discStart: 2, perceptualWeight: 0 });
  const model = new VQGAN(config, new Random(1), { withLoss: true });
  const trainer = new Trainer(model, { learningRate: () => 1e-4 });
  const step = () =>
    asyncScope(async () => void await trainer.trainStep([tensor(draws("x", 768), [1, 16, 16, 3])]));
  await step();
  const { liveBytes, liveTensors } = memory();
  await step();
  expect([memory().liveBytes, memory().liveTensors]).toEqual([liveBytes, liveTensors]);
  trainer.dispose();
  model.dispose();
});

test("a step that fails leaves neither gradients nor counts behind", async () => {
  const config = smallConfig({ discStart: 2, perceptualWeight: 0 });
  const images = tensor(draws("x", 768), [1, 16, 16, 3]), odd = zeros([1, 17, 16, 3]);
  /** Runs a step after `fail`. @returns the weights of a layer */
  const after = async (fail: (trainer: Trainer) => Promise<void>) => {
    const model = new VQGAN(config, new Random(1), { withLoss: true });
    const trainer = new Trainer(model, { learningRate: () => 1e-3 });
    await fail(trainer);
    expect([...model.namedParameters().values()].filter(({ grad }) => grad)).toEqual([]);
    expect(trainer.optimizers.generator.state().size).toBe(0);
    await asyncScope(async () => void await trainer.trainStep([images]));
    const weights = await model.decoder.conv_in.weight.floats();
    trainer.dispose();
    model.dispose();
    return weights;
  };
  const clean = await after(async () => {});
  const failed = await after(async (trainer) => {
    await expect(asyncScope(() => trainer.trainStep([images, odd]))).rejects.toThrow("17");
  });
  expect(failed).toEqual(clean);
});

test("a learning rate that is not a number is refused before anything is counted", async () => {
  const model = new VQGAN(smallConfig({ discStart: 2, perceptualWeight: 0 }), new Random(1), {
    withLoss: true,
  });
  const images = tensor(draws("x", 768), [1, 16, 16, 3]);
  const trainer = new Trainer(model, { learningRate: (step) => step === 0 ? 1e-3 : NaN });
  await asyncScope(async () => void await trainer.trainStep([images]));
  const { step } = trainer.optimizers.generator.moments("decoder.conv_out.weight");
  await expect(trainer.trainStep([images])).rejects.toThrow(
    "Trainer: learningRate(1) is NaN, expected a number >= 0",
  );
  expect(trainer.optimizers.generator.moments("decoder.conv_out.weight").step).toBe(step);
  expect([...model.namedParameters().values()].filter(({ grad }) => grad)).toEqual([]);
  const { optimizers: { generator } } = trainer;
  const [, parameter] = [...generator.parameters][0];
  parameter.grad = zeros(parameter.shape);
  generator.lr = NaN;
  expect(() => generator.step()).toThrow("Adam: lr is NaN");
  expect([...generator.state().values()].every(({ step: n }) => n === step)).toBe(true);
  trainer.dispose();
  model.dispose();
});
