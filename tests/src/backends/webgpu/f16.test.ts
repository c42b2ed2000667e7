// f16 storage: every operation that meets f16 beside the same in f32 on the same numbers, the model and its training in f16
// against the goldens, and what happens where f16 overflows. Deno's lavapipe has f16, SwiftShader (Bun) has not.
import { expect, test } from "bun:test";
import * as t from "../../../../src/index.ts";
import { preset } from "../../../../data/formats/config.ts";
import { setPrecision } from "../../../../nn/precision.ts";
import { VQGAN } from "../../../../nn/vqgan.ts";
import type { WebGpuBackend } from "../../../../src/backends/webgpu/backend.ts";
import { LossScale } from "../../../../train/loss_scale.ts";
import { generatorStep } from "../../../../train/step.ts";
import { Trainer } from "../../../../train/trainer.ts";
import { describeDevices } from "../../../support/devices.ts";
import { expectNoLeak } from "../../../support/expectations.ts";
import { fillState, golden, picture, tinyConfig } from "../../../support/goldens.ts";
import { drawn, maxError, relativeError, toNCHW } from "../../../support/numbers.ts";

const gpu = await t.device("webgpu").then((backend) => (backend as WebGpuBackend).gpu, () => null);
const hasF16 = gpu?.hasF16 ?? false;
await t.device("cpu");
const missing = hasF16 ? null : "no GPU with the feature shader-f16";

function describeF16(name: string, group: () => void): void {
  if (missing) test.skip(`${name}: ${missing}`, () => {});
  else describeDevices(name, group, ["webgpu"]);
}

interface Case {
  readonly name: string;
  readonly inputs: readonly t.Shape[];
  /** How many of the inputs, from the first, are f16; the others are weights. */
  readonly halves: number;
  readonly run: (...x: t.Tensor[]) => t.Tensor;
}

const cases: Case[] = [
  { name: "add", inputs: [[3, 5], [3, 5]], halves: 2, run: (a, b) => a.add(b) },
  { name: "mul by f32 rows", inputs: [[3, 8], [8]], halves: 1, run: (a, b) => a.mul(b) },
  { name: "sub of columns", inputs: [[3, 5], [3, 1]], halves: 2, run: (a, b) => a.sub(b) },
  { name: "maximum with a number", inputs: [[7]], halves: 1, run: (a) => a.maximum(0.1) },
  { name: "relu", inputs: [[11]], halves: 1, run: (a) => a.relu() },
  { name: "swish", inputs: [[11]], halves: 1, run: (a) => a.swish() },
  { name: "sum of all", inputs: [[40, 5]], halves: 1, run: (a) => a.sum() },
  { name: "sum of leading axes", inputs: [[9, 8]], halves: 1, run: (a) => a.sum(0) },
  { name: "sum of rows", inputs: [[3, 100]], halves: 1, run: (a) => a.sum(1) },
  {
    name: "permute and reshape",
    inputs: [[2, 3, 4]],
    halves: 1,
    run: (a) => a.permute(2, 0, 1).reshape(8, 3),
  },
  { name: "slice", inputs: [[4, 5, 3]], halves: 1, run: (a) => a.slice([1, 2], [3, 5]) },
  { name: "concat", inputs: [[2, 3], [2, 2]], halves: 2, run: (a, b) => t.concat([a, b], 1) },
  { name: "softmax", inputs: [[3, 70]], halves: 1, run: (a) => t.softmax(a, 2) },
  { name: "matmul", inputs: [[5, 7], [7, 9]], halves: 2, run: (a, b) => t.matmul(a, b) },
  { name: "matmul with f32", inputs: [[8, 12], [12, 16]], halves: 1, run: (a, b) => t.matmul(a, b) },
  { name: "attention", inputs: [[2, 16, 8], [2, 16, 8], [2, 16, 8]], halves: 3, run: t.attention },
  {
    name: "conv2d with bias and residual",
    inputs: [[1, 6, 5, 4], [1, 6, 5, 8], [8, 4, 3, 3], [8]],
    halves: 2,
    run: (x, r, w, b) => t.conv2d(x, w, b, { padding: 1, residual: r }),
  },
  {
    name: "conv2d of odd channels, stride 2",
    inputs: [[1, 8, 8, 3], [5, 3, 4, 4], [5]],
    halves: 1,
    run: (x, w, b) => t.conv2d(x, w, b, { stride: 2, padding: 1 }),
  },
  {
    name: "conv2d, enlarging",
    inputs: [[1, 4, 4, 8], [8, 8, 3, 3]],
    halves: 1,
    run: (x, w) => t.conv2d(x, w, null, { padding: 1, upsample: 2 }),
  },
  {
    name: "groupNorm with swish",
    inputs: [[2, 3, 3, 8], [8], [8]],
    halves: 1,
    run: (x, w, b) => t.groupNorm(x, w, b, { groups: 2, swish: true }),
  },
  {
    name: "maxPool2d",
    inputs: [[1, 6, 6, 4]],
    halves: 1,
    run: (x) => t.maxPool2d(x, { size: 2, stride: 2 }),
  },
  {
    name: "lpipsDistance",
    inputs: [[1, 3, 3, 8], [1, 3, 3, 8]],
    halves: 2,
    run: (a, b) => t.lpipsDistance(a, b, drawn("lpips weight", [8]).square()),
  },
];

/** f16 keeps 11 bits. Some results are roundings of roundings, as gradients through attention. */
const ROUNDING = 2 ** -11;

describeF16("operations on f16 beside f32", () => {
  for (const { name, inputs, halves, run } of cases) {
    test(name, () =>
      expectNoLeak(() =>
        t.asyncScope(async () => {
          // the same numbers on both sides: those that f16 can hold
          const rounded = inputs.map((shape, i) => {
            const x = drawn(`${name} ${i}`, shape);
            return i < halves ? x.cast("f16").cast("f32") : x;
          });
          const results = (half: boolean) => {
            const xs = rounded.map((x, i) => half && i < halves ? x.cast("f16") : x.detach());
            for (const x of xs) x.requiresGrad = true;
            const out = run(...xs);
            const g = drawn(`${name} upstream`, out.shape).cast("f16").cast("f32");
            return { out, xs, gradients: t.grad([out], xs, { gradOutputs: [g] }) };
          };
          const found = results(true), wanted = results(false);
          for (const [i, g] of found.gradients.entries()) expect(g.dtype).toBe(found.xs[i].dtype);
          const pairs = [[found.out, wanted.out], ...found.gradients.map((g, i) => [g, wanted.gradients[i]])];
          for (const [a, b] of pairs) {
            expect(relativeError(await a.floats(), await b.floats())).toBeLessThan(3 * ROUNDING);
          }
        })
      ));
  }

  test("cast there and back", () =>
    expectNoLeak(() =>
      t.asyncScope(async () => {
        const exact = [1, 1 + 2 ** -10, -65504, 2 ** -24, -(2 ** -14), 0], inexact = [0.1, 3.14159];
        const x = t.tensor([...exact, ...inexact], [8], { requiresGrad: true });
        const half = x.cast("f16");
        expect([half.dtype, half.storage.buffer.bytes]).toEqual(["f16", 16]);
        expect(half.cast("f16")).toBe(half);
        const rounded = await half.floats();
        expect(Array.from(rounded.subarray(0, exact.length))).toEqual(exact);
        inexact.forEach((v, i) =>
          expect(Math.abs(rounded[exact.length + i] / v - 1)).toBeLessThan(2 * ROUNDING)
        );
        const [g] = t.grad([half.mul(3)], [x], { gradOutputs: [t.full([8], 0.5)] });
        expect(g.dtype).toBe("f32");
        expect(await g.floats()).toEqual(new Float32Array(8).fill(1.5));
        expect(() => half.write(new Float32Array(8))).toThrow("write: the tensor is f16");
      })
    ));
});

if (!gpu?.matrix) {
  test.skip("products by subgroup matrices: no GPU that has them, or TESSERA_MATRIX=1 not said", () => {});
} else {
  describeF16("products by subgroup matrices", () => {
    test("are those of f32 tiles on the same numbers", () =>
      t.asyncScope(async () => {
        const x = drawn("x", [1, 20, 19, 64]).cast("f16"),
          w = drawn("w", [96, 64, 3, 3]).mul(0.1).cast("f16").cast("f32");
        const g = drawn("g", [1, 10, 10, 96]).cast("f16"), b = drawn("b", [96]);
        const compute = async (dtype: "f16" | "f32") => {
          const names: string[] = [], own = x.cast(dtype).detach();
          own.requiresGrad = w.requiresGrad = true;
          gpu.trace = (name) => void names.push(name);
          const y = t.conv2d(own, w, b, { stride: 2, padding: 1 });
          const [dx, dw] = t.grad([y], [own, w], { gradOutputs: [g.cast(y.dtype)] });
          const product = t.matmul(own.reshape(-1, 64), w.reshape(-1, 64).cast(dtype), { transposeB: true });
          gpu.trace = null;
          const used = names.filter((name) => name.endsWith("matrix")).length;
          return { used, values: await Promise.all([y, dx, dw, product].map((values) => values.floats())) };
        };
        const [half, whole] = [await compute("f16"), await compute("f32")];
        // the product, the convolution, its input gradient in the four phases of its stride, and its weight gradient
        expect(half.used).toBe(7);
        expect(whole.used).toBe(0);
        half.values.forEach((values, i) =>
          expect(relativeError(values, whole.values[i])).toBeLessThan(ROUNDING)
        );
      }));
  });
}

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

  test("losses and gradients are near the golden's first iteration, whatever the scale", async () => {
    // by the definition: with Winograd's rounding g_loss is 2.6e-4 off
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
          const tolerance = name.endsWith("d_weight") ? 2e-2 : 2e-4; // VGG stands at a kink (tests/train/golden.test.ts)
          expect(Math.abs(await logs[name].item() - wanted)).toBeLessThan(tolerance);
        }
        for (const [key, { grad }] of model.generatorParameters()) {
          const wanted = first.grad_norms[key];
          if (wanted < 1e-9) continue; // 0 but for rounding
          const norm = Math.hypot(...[...await grad!.floats()].map((g) => g / lossScale));
          if (!(Math.abs(norm / wanted - 1) < 5e-2)) throw new Error(`${key}: ${norm}, expected ${wanted}`);
        }
        model.zeroGrad();
      });
    }
    await t.device("webgpu", { exact: before });
    model.dispose();
  });

  test("the decoder's highest levels hold what f16 cannot", async () => {
    const model = new VQGAN(tinyConfig, null);
    fillState(model.stateDict());
    await t.asyncScope(async () => {
      const { conv2 } = model.decoder.up[1].block[0], call = conv2.call.bind(conv2);
      conv2.weight.assign(conv2.weight.mul(5e5)); // still within f16
      const seen: t.Tensor[] = [];
      conv2.call = (x, residual) => {
        const out = call(x, residual);
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

describeF16("loss scaling", () => {
  test("Adam divides by the scale, and leaves alone what overflowed", () =>
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

  test("halves after an overflow, doubles after long without one, and goes on from a checkpoint", () =>
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
        expect(scale.value).toBe(2 ** 16); // nobody has looked yet
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
    const title = `a model that overflows goes on learning with a smaller scale${
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
  expect(() => t.tensor(Int32Array.of(1)).cast("f32")).toThrow("cast: i32 to f32; only f32 and f16");
});
