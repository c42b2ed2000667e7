// Clipping and AdamW together, as torch does both, and what clipping does to gradients that are not finite.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { asyncScope, keep, Random, scope, type Tensor, tensor } from "../../src/index.ts";
import { adamStep } from "../../src/ops/adam.ts";
import { lerpInPlace, scaleInPlace } from "../../src/ops/in_place.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { Adam, applyGradients, clipGradients, Trainer } from "../../train/index.ts";
import { describeDevices, describeF16 } from "../support/devices.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";
import { smallConfig } from "../support/small_model.ts";

type Numbers = Readonly<Record<string, readonly number[]>>;
interface Golden {
  readonly settings: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
  };
  readonly maxNorm: number;
  readonly biasLr: number;
  readonly shapes: Numbers;
  readonly weights: Numbers;
  readonly gradients: readonly Numbers[];
  readonly norms: readonly number[];
  readonly after: Numbers;
  readonly expAvg: Numbers;
  readonly expAvgSq: Numbers;
}
const golden: Golden = JSON.parse(
  readFileSync(new URL("../fixtures/optimizer/torch.json", import.meta.url), "utf8"),
);

describeDevices("AdamW with clipped gradients", () => {
  test("computes what torch does in float64", () =>
    expectNoLeak(async () => {
      const { settings: { lr, betas, eps, weight_decay: weightDecay }, maxNorm, shapes } = golden;
      const parameters = new Map(
        Object.entries(golden.weights).map(([name, values]) => [name, keep(tensor(values, shapes[name]))]),
      );
      const rateFactor = (key: string) => key === "bias" ? golden.biasLr / lr : 1;
      const decays = (_: string, { ndim }: Tensor) => ndim === 4;
      const adam = new Adam(parameters, { lr, betas, eps, weightDecay, decays, rateFactor });
      const norms: number[] = [];
      for (const gradients of golden.gradients) {
        for (const [name, parameter] of parameters) {
          parameter.grad = keep(tensor(gradients[name], shapes[name]));
        }
        await asyncScope(async () =>
          void norms.push(await clipGradients(parameters.values(), maxNorm)!.item())
        );
        applyGradients(adam);
      }
      expectClose(norms, golden.norms, 2e-6);
      expect(golden.norms.some((norm) => norm > maxNorm) && golden.norms.some((norm) => norm < maxNorm)).toBe(
        true,
      );
      for (const [name, parameter] of parameters) {
        const { expAvg, expAvgSq } = adam.moments(name);
        expectClose(await parameter.floats(), golden.after[name], 1e-6);
        expectClose(await expAvg.floats(), golden.expAvg[name], 1e-7);
        expectClose(await expAvgSq.floats(), golden.expAvgSq[name], 1e-7);
        parameter.dispose();
      }
      adam.dispose();
    }));

  test("gradients that are small enough keep their bits, and the norm has no loss scale in it", () =>
    asyncScope(async () => {
      const p = tensor([0, 0]), values = [0.3, -0.4];
      p.grad = tensor(values);
      expect(await clipGradients([p], 0.6)!.item()).toBeCloseTo(0.5, 6);
      expect(await p.grad.floats()).toEqual(Float32Array.from(values));
      expect(await clipGradients([p], 0.05, 4)!.item()).toBeCloseTo(0.125, 6); // 0.5 / 4
      const factor = 0.05 / (0.125 + 1e-6);
      expectClose(await p.grad.floats(), values.map((g) => g * factor), 1e-7);
      expect(clipGradients([tensor([1])], 1)).toBe(null);
    }));

  test("scales and mixes in place, also single numbers", () =>
    asyncScope(async () => {
      for (const n of [1, 3, 70]) {
        const x = tensor(Float32Array.from({ length: n }, (_, i) => i + 1));
        const y = tensor(Float32Array.from({ length: n }, () => 10));
        scope(() => scaleInPlace(x, tensor([2])));
        lerpInPlace(x, y, 0.25);
        expectClose(await x.floats(), Array.from({ length: n }, (_, i) => 1.5 * (i + 1) + 2.5), 1e-6);
      }
      const x = tensor([1, 2, 3, 4], [2, 2]);
      expect(() => scaleInPlace(x, tensor([1, 2]))).toThrow("scaleInPlace: the factor has shape [2]");
      expect(() => lerpInPlace(x, tensor([1]), 1)).toThrow("lerpInPlace: shape [1] does not fit shape [2,2]");
      expect(() => scaleInPlace(x.permute(1, 0), tensor([1]))).toThrow("is a view");
    }));
});

test("one gradient that is not finite makes all of them NaN", () =>
  asyncScope(async () => {
    for (const bad of [NaN, Infinity]) {
      const [p, q] = [tensor([0, 0]), tensor([0])];
      p.grad = tensor([1, bad]);
      q.grad = tensor([1]);
      clipGradients([p, q], 1);
      expect([...await p.grad.floats(), ...await q.grad.floats()]).toEqual([NaN, NaN, NaN]);
    }
    expect(() => clipGradients([], 0)).toThrow("clipGradients: maxNorm is 0, expected a number above 0");
  }));

const config = smallConfig({ discStart: 0, perceptualWeight: 0 });

/** The norms of a step, and what it leaves in a layer of the decoder. */
async function stepOf(batches: number, clip: number, precision: "f32" | "f16" = "f32") {
  const model = new VQGAN(config, new Random(1), { withLoss: true });
  const images = new Random(2).uniform([2, 16, 16, 3], -1, 1);
  const trainer = new Trainer(model, { learningRate: () => 1e-2, precision, update: { clip } });
  const norms = await asyncScope(async () => {
    const { logs } = await trainer.trainStep(Array.from({ length: batches }, () => images));
    return await Promise.all(["train/grad_norm", "train/disc_grad_norm"].map((name) => logs[name]?.item()));
  });
  const { expAvg } = trainer.optimizers.generator.moments("decoder.conv_out.weight");
  const moments = await expAvg.floats();
  for (const owner of [trainer, model, images]) owner.dispose();
  return { norms, moments };
}

test("a trainer clips each network once a step, after its batches were added up", () =>
  expectNoLeak(async () => {
    const without = await stepOf(1, 0), once = await stepOf(1, 0.1), twice = await stepOf(2, 0.1);
    expect(without.norms).toEqual([undefined, undefined]);
    const [norm, ofDiscriminator] = once.norms;
    expect(norm).toBeGreaterThan(0.1);
    expect(ofDiscriminator).not.toBeCloseTo(norm!, 3);
    expectClose(once.moments, without.moments.map((m) => m * 0.1 / (norm! + 1e-6)), 1e-7);
    expectClose(twice.moments, once.moments, 1e-7); // the mean of two equal batches
    expectClose([twice.norms[0]! / norm!], [1], 1e-5);
  }));

describeF16("clipping with a loss scale", () => {
  test("measures the norm without the scale", () =>
    expectNoLeak(async () => {
      const half = await stepOf(1, 0.1, "f16"), whole = await stepOf(1, 0.1);
      half.norms.forEach((norm, i) => expect(Math.abs(norm! / whole.norms[i]! - 1)).toBeLessThan(0.05));
    }));

  test("skips the whole step if a gradient overflowed, as torch's GradScaler does", () =>
    asyncScope(async () => {
      const [p, q] = [tensor([1, 2]), tensor([3])];
      p.grad = tensor([64, Infinity]);
      q.grad = tensor([64]);
      clipGradients([p, q], 1, 64);
      for (const parameter of [p, q]) {
        const [m, v] = [tensor(new Float32Array(parameter.size)), tensor(new Float32Array(parameter.size))];
        const spec = { lr: 0.1, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: 1, lossScale: 64 };
        adamStep(parameter, parameter.grad!, m, v, spec);
      }
      expect([...await p.floats(), ...await q.floats()]).toEqual([1, 2, 3]);
    }));
});
