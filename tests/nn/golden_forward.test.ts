// The forward half of the model against float64 numbers from the reference implementation (tiny_forward.json).
// Tolerances are about ten times the largest error seen in f32 on the WebAssembly backend, in either runtime.
import { beforeAll, expect, test } from "bun:test";
import { backward, grad, keep, noGrad, Random, scope, Tensor, tensor } from "../../src/index.ts";
import { NLayerDiscriminator } from "../../nn/discriminator.ts";
import { LPIPS } from "../../nn/lpips.ts";
import { VectorQuantizer } from "../../nn/quantizers/vector_quantizer.ts";
import { Layer, type Observer, withObserver } from "../../nn/module.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { describeDevices } from "../support/devices.ts";
import { filled, fillState, golden, picture, tinyConfig } from "../support/goldens.ts";
import { doubleDraws, maxError, mulberry32, relativeError, toNCHW, toNHWC } from "../support/numbers.ts";

type Stats = [shape: number[], mean: number, std: number, first: number, last: number];
interface QuantizerGolden {
  indices: number[];
  loss: number;
  q: number[];
  grad_z: number[];
  grad_emb_norm: number;
  grad_emb_row0to3: number[];
}
interface TinyForward {
  mulberry32_check: { first5: number[]; fnv1a32: number };
  forward: { h: number[]; z: number[]; indices: number[]; quant_loss: number; rec: number[] };
  module_stats_shape_mean_std_first_last: Record<string, Stats>;
  jax_legacy_attention: {
    indices: number[];
    z_first16: number[];
    rec_from_same_q_first48: number[];
    rec_mean: number;
  };
  quantizer: { legacy: QuantizerGolden; fixed: QuantizerGolden };
  tie_break: { index: number[] };
  lpips: {
    value: number[];
    grad_norm: number;
    grad_first12: number[];
    tap_shapes: number[][];
    tap_mean_std: [number, number][];
    per_layer: number[][];
  };
  disc: {
    eval_first8: number[];
    shape: number[];
    train_first8: number[];
    running_mean_after_first4: number[];
    running_var_after_first4: number[];
    num_batches_tracked: number;
  };
}

const tiny = golden<TinyForward>("tiny_forward");
const images = (name: string) => tensor(picture(name, [2, 3, 32, 32]), [2, 32, 32, 3]);
const nchw = async (t: Tensor) => toNCHW(await t.floats(), t.shape);

function tinyModel(overrides: Partial<typeof tinyConfig> = {}): VQGAN {
  const model = new VQGAN({ ...tinyConfig, ...overrides }, null);
  fillState(model.stateDict());
  return model;
}

test("the seeded fill draws what the reference drew", () => {
  const next = mulberry32(tiny.mulberry32_check.fnv1a32);
  const first = Array.from({ length: 5 }, () => next());
  expect(maxError(first, tiny.mulberry32_check.first5)).toBe(0);
});

describeDevices("forward", () => {
  test("latents, indices, codebook loss and reconstruction", async () => {
    const model = tinyModel();
    const x0 = images("x0");
    const h = model.encoder.call(x0);
    const z = model.quant_conv.call(h);
    const { reconstruction, codebookLoss, indices } = model.forward(x0);
    expect(maxError(await nchw(h), tiny.forward.h)).toBeLessThan(4e-5);
    expect(maxError(await nchw(z), tiny.forward.z)).toBeLessThan(3e-5);
    expect(Array.from(await indices.ints())).toEqual(tiny.forward.indices);
    expect(Math.abs(await codebookLoss.item() - tiny.forward.quant_loss)).toBeLessThan(3e-6);
    expect(maxError(await nchw(reconstruction), tiny.forward.rec)).toBeLessThan(6e-5);
    model.dispose();
  });

  test("encode and decodeTokens agree with forward", async () => {
    const model = tinyModel();
    const { indices, latents } = model.encode(images("x0"));
    expect(indices.shape).toEqual([2, 8, 8]);
    expect(latents.shape).toEqual([2, 8, 8, 16]);
    const decoded = await model.decode(latents).floats();
    expect(maxError(toNCHW(decoded, [2, 32, 32, 3]), tiny.forward.rec)).toBeLessThan(6e-5);
    expect(await model.decodeTokens(indices).floats()).toEqual(decoded);
    expect(await model.decodeTokens(tiny.forward.indices, [8, 8]).floats()).toEqual(decoded);
    const clamped = await model.reconstruct(images("x0")).floats();
    expect(clamped).toEqual(decoded.map((v) => Math.min(1, Math.max(-1, v))));
    model.dispose();
  });

  test("every module's output: mean, deviation, first and last value", async () => {
    const model = tinyModel();
    const outputs = new Map<string, Tensor>();
    const observer = new Map([...watch(model.encoder, "", outputs), ...watch(model.decoder, "D.", outputs)]);
    noGrad(() => withObserver(observer, () => model.forward(images("x0"))));
    let seen = 0;
    for (const [name, t] of outputs) {
      const expected = tiny.module_stats_shape_mean_std_first_last[name.replace(/norm2$/, "dropout")];
      if (!expected || isFolded(name)) continue;
      const [shape, mean, std, first, last] = expected;
      expect([t.shape[0], t.shape[3], t.shape[1], t.shape[2]]).toEqual(shape);
      const values = await t.floats();
      const stats = [...moments(values), values[0], values[values.length - 1]];
      const error = maxError(stats, [mean, std, first, last]);
      if (!(error < 2.5e-5)) {
        throw new Error(`${name}: off by ${error}: ${stats} against ${[mean, std, first, last]}`);
      }
      seen++;
    }
    // all of the 173 modules except norms with swish and convolutions that add a residual
    expect(seen).toBe(107);
    model.dispose();
  });

  test("vqgan-jax's legacy attention order gives its tokens", async () => {
    const legacy = tinyModel({ attentionOrder: "vqgan-jax-legacy" });
    const expected = tiny.jax_legacy_attention;
    const { indices } = legacy.encode(images("x0"));
    expect(Array.from(await indices.ints())).toEqual(expected.indices);
    const rec = await nchw(legacy.decodeTokens(tiny.forward.indices, [8, 8]));
    expect(maxError(rec.slice(0, 48), expected.rec_from_same_q_first48)).toBeLessThan(4e-5);
    legacy.dispose();
  });
});

/** Keeps copies of the outputs of all layers below `root`. */
function watch(root: Layer, prefix: string, outputs: Map<string, Tensor>): Observer {
  const keepCopy = (path: string) => (output: Tensor) => {
    outputs.set(prefix + path, keep(output.mul(1)));
  };
  const modules = [...root.namedModules()];
  return new Map(
    modules.flatMap(([path, module]) => module instanceof Layer ? [[module, keepCopy(path)] as const] : []),
  );
}

/** Whether a module computes more than the reference's: norm1 and norm_out also the swish, conv2 and proj_out the residual. */
function isFolded(name: string): boolean {
  return /norm1$|norm_out$|conv2$|proj_out$/.test(name);
}

function moments(values: Float32Array): [mean: number, std: number] {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - 1);
  return [mean, Math.sqrt(variance)];
}

describeDevices("quantizer", () => {
  for (const kind of ["legacy", "fixed"] as const) {
    test(`${kind} beta: codes, loss and gradients`, async () => {
      const expected = tiny.quantizer[kind];
      const quantize = new VectorQuantizer(64, 16, { beta: 0.25, legacyBeta: kind === "legacy" }, null);
      fillState(quantize.stateDict(), "quantize.");
      const draw = (name: string, scale: number) =>
        toNHWC(Float32Array.from(doubleDraws(name, 288), (u) => scale * u), [2, 16, 3, 3]);
      const z = tensor(draw("zq", 0.6), [2, 3, 3, 16], { requiresGrad: true });
      const w = tensor(draw("wq", 1), [2, 3, 3, 16]);
      const { quantized, loss, indices } = quantize.call(z);
      expect(Array.from(await indices.ints())).toEqual(expected.indices);
      expect(Math.abs(await loss.item() - expected.loss)).toBeLessThan(1e-6);
      expect(maxError(await nchw(quantized), expected.q)).toBeLessThan(3e-7);
      backward(loss.add(quantized.mul(w).sum()));
      expect(maxError(await nchw(z.grad!), expected.grad_z)).toBeLessThan(3e-7);
      const codes = await quantize.codebook.grad!.floats();
      expect(Math.abs(Math.hypot(...codes) / expected.grad_emb_norm - 1)).toBeLessThan(1e-5);
      expect(maxError(codes.slice(0, 64), expected.grad_emb_row0to3)).toBeLessThan(3e-9);
      quantize.dispose();
    });
  }

  test("the lowest of equal codes wins", async () => {
    const quantize = new VectorQuantizer(64, 16, { beta: 0.25, legacyBeta: true }, null);
    const codes = filled("quantize.embedding.weight", [64, 16]);
    codes.copyWithin(7 * 16, 3 * 16, 4 * 16);
    quantize.codebook.write(codes);
    const indices = quantize.encode(tensor(codes.slice(3 * 16, 4 * 16), [1, 1, 1, 16]));
    expect(Array.from(await indices.ints())).toEqual(tiny.tie_break.index);
    quantize.dispose();
  });
});

describeDevices("LPIPS on VGG16", () => {
  let lpips: LPIPS, x1: Tensor;
  beforeAll(() => {
    lpips = new LPIPS("vgg");
    fillState(lpips.stateDict(), "loss.perceptual_loss.");
    lpips.ready = true;
    x1 = images("x1");
  });

  test("activations, distance per tap and in all", async () => {
    const a = lpips.features(images("x0")), b = lpips.features(x1);
    const { value, per_layer, tap_shapes, tap_mean_std } = tiny.lpips;
    expect(a.map((t) => [t.shape[0], t.shape[3], t.shape[1], t.shape[2]])).toEqual(tap_shapes);
    for (const [i, t] of a.entries()) {
      expect(relativeError(moments(await t.floats()), tap_mean_std[i])).toBeLessThan(1e-6);
    }
    for (const [i, d] of lpips.distancePerTap(a, b).entries()) {
      expect(relativeError(await d.floats(), per_layer[i])).toBeLessThan(6e-6);
    }
    expect(maxError(await lpips.distance(a, b).floats(), value)).toBeLessThan(1e-7);
  });

  test("gradient, and none to the frozen weights", async () => {
    const other = images("x1");
    other.requiresGrad = true;
    const { grad_norm, grad_first12 } = tiny.lpips;
    const [g] = grad([lpips.call(images("x0"), other).sum()], [other]);
    const values = await nchw(g);
    expect(Math.abs(Math.hypot(...values) / grad_norm - 1)).toBeLessThan(1e-6);
    expect(maxError(values.slice(0, 12), grad_first12)).toBeLessThan(1e-8);
    for (const p of lpips.namedParameters().values()) expect(p.grad).toBe(null);
  });

  test("with dropout the distance is unbiased and the gradient finite", async () => {
    const a = lpips.features(images("x0")), b = lpips.features(x1);
    const random = new Random(1);
    let mean = 0;
    for (let i = 0; i < 20; i++) {
      mean += (await scope(() => lpips.distance(a, b, { dropout: random })).floats())[0] / 20;
    }
    expect(Math.abs(mean / tiny.lpips.value[0] - 1)).toBeLessThan(0.02);
    const flat = tensor(new Float32Array(32 * 32 * 3), [1, 32, 32, 3], { requiresGrad: true });
    const d = lpips.distance(lpips.features(flat), lpips.features(x1.slice([0, 0, 0, 0], [1, 32, 32, 3])), {
      dropout: random,
    });
    expect((await grad([d.sum()], [flat])[0].floats()).every(Number.isFinite)).toBe(true);
  });
});

describeDevices("discriminator", () =>
  test("in evaluation and training, running statistics", async () => {
    const { discNdf: ndf, discNumLayers: numLayers } = tinyConfig.lossconfig;
    const discriminator = new NLayerDiscriminator({ ndf, numLayers }, null);
    fillState(discriminator.stateDict(), "loss.discriminator.");
    const expected = tiny.disc;
    const first8 = async (t: Tensor) => (await t.floats()).slice(0, 8);
    const logits = discriminator.eval().call(images("x0"));
    expect([logits.shape[0], logits.shape[3], logits.shape[1], logits.shape[2]]).toEqual(expected.shape);
    expect(maxError(await first8(logits), expected.eval_first8)).toBeLessThan(1e-5);
    expect(maxError(await first8(discriminator.train().call(images("x0"))), expected.train_first8))
      .toBeLessThan(1e-5);
    const state = discriminator.stateDict();
    const four = async (key: string) => (await state.get(key)!.floats()).slice(0, 4);
    expect(maxError(await four("main.3.running_mean"), expected.running_mean_after_first4)).toBeLessThan(
      1e-7,
    );
    expect(maxError(await four("main.3.running_var"), expected.running_var_after_first4)).toBeLessThan(5e-7);
    expect(await state.get("main.3.num_batches_tracked")!.item()).toBe(expected.num_batches_tracked);
    discriminator.dispose();
  }));
