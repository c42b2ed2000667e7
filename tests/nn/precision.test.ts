// The model and its gradients in f16 compared with the goldens, and devices that have no f16.
import { expect, test } from "bun:test";
import { setPrecision } from "../../nn/precision.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import * as t from "../../src/index.ts";
import { generatorStep } from "../../train/step.ts";
import { Trainer } from "../../train/trainer.ts";
import { describeF16 } from "../support/devices.ts";
import { fillState, golden, picture, tinyConfig } from "../support/goldens.ts";
import { maxError, relativeError, toNCHW } from "../support/numbers.ts";

const images = (name: string) => t.tensor(picture(name, [2, 3, 32, 32]), [2, 32, 32, 3]);

describeF16("the model in f16", () => {
  test("latents, tokens and pictures are near the goldens", async () => {
    const { forward } = golden<{ forward: { z: number[]; indices: number[]; rec: number[] } }>(
      "tiny_forward",
    );
    const model = new VQGAN(tinyConfig, null);
    fillState(model.stateDict());
    setPrecision(model, "f16");
    await t.asyncScope(async () => {
      const z = model.quant_conv.call(model.encoder.call(images("x0")));
      expect(z.dtype).toBe("f32");
      expect(maxError(toNCHW(await z.floats(), z.shape), forward.z)).toBeLessThan(2e-2);
      const tokens = await model.encode(images("x0")).indices.ints();
      expect(tokens.filter((token, i) => token !== forward.indices[i]).length).toBeLessThanOrEqual(2);
      const pictures = model.decodeTokens(forward.indices, [8, 8]);
      expect(pictures.dtype).toBe("f32");
      expect(maxError(toNCHW(await pictures.floats(), pictures.shape), forward.rec)).toBeLessThan(2e-2);
    });
    model.dispose();
  });

  test("losses and gradients are near the golden's first iteration, with any scale", async () => {
    // exact, because with Winograd's rounding g_loss is wrong by 2.6e-4
    const before = t.currentBackend().exact;
    await t.device("webgpu", { exact: true });
    const { steps: [first] } = golden<
      { steps: { log: Record<string, number>; grad_norms: Record<string, number> }[] }
    >(
      "tiny_train",
    );
    const model = new VQGAN(tinyConfig, null, { withLoss: true });
    fillState(model.stateDict());
    model.loss!.perceptual_loss!.ready = true;
    setPrecision(model, "f16");
    for (const lossScale of [2 ** 10, 2 ** 16]) {
      await t.asyncScope(async () => {
        const { logs } = generatorStep(model, images("x0"), { globalStep: 0, lossScale });
        for (const [name, wanted] of Object.entries(first.log)) {
          const tolerance = name.endsWith("d_weight") ? 2e-2 : 2e-4; // VGG is at a kink of a ReLU (tests/train/golden.test.ts)
          expect(Math.abs(await logs[name].item() - wanted)).toBeLessThan(tolerance);
        }
        for (const [key, { grad }] of model.generatorParameters()) {
          const wanted = first.grad_norms[key];
          if (wanted < 1e-9) continue; // 0 except for rounding
          const norm = Math.hypot(...[...await grad!.floats()].map((g) => g / lossScale));
          if (!(Math.abs(norm / wanted - 1) < 5e-2)) throw new Error(`${key}: ${norm}, expected ${wanted}`);
        }
        model.zeroGrad();
      });
    }
    await t.device("webgpu", { exact: before });
    model.dispose();
  });

  test("the decoder's highest levels hold values that f16 cannot", async () => {
    const model = new VQGAN(tinyConfig, null);
    fillState(model.stateDict());
    await t.asyncScope(async () => {
      const { conv2 } = model.decoder.up[1].block[0], parts = conv2.parts.bind(conv2);
      conv2.weight.assign(conv2.weight.mul(5e5)); // still within f16
      const seen: t.Tensor[] = [];
      conv2.parts = function* (x, residual) {
        const out = yield* parts(x, residual);
        seen.push(t.keep(out.detach()));
        return out;
      };
      const decode = () => model.decodeTokens(new Int32Array(128), [8, 8]).floats();
      const wanted = await decode();
      setPrecision(model, "f16");
      const found = await decode();
      const highest = (await seen[1].floats()).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      expect(highest).toBeGreaterThan(65504);
      expect(relativeError(found, wanted)).toBeLessThan(2e-2);
      for (const out of seen) out.dispose();
    });
    model.dispose();
  });
});

test("a device without f16 says so", async () => {
  await t.device("cpu");
  const says = 'f16: the device "cpu" (CPU, ';
  expect(() => t.tensor([1]).cast("f16")).toThrow(says);
  const model = new VQGAN(tinyConfig, null, { withLoss: true });
  expect(() => setPrecision(model, "f16")).toThrow(
    "stores no 16-bit floats: use f32, or a GPU with the feature shader-f16",
  );
  expect(() => new Trainer(model, { learningRate: () => 1, precision: "f16" })).toThrow(says);
  model.dispose();
  expect(() => t.tensor(Int32Array.of(1)).cast("f32")).toThrow(
    "cast: cannot turn i32 into f32; only f32 and f16",
  );
});
