// Parts by their names: which parameters belong to them, what freezing saves, and rates of their own.
import { describe, expect, test } from "bun:test";
import { VQGAN } from "../../nn/vqgan.ts";
import { CountingBackend } from "../../src/backends/counting.ts";
import { withBackend } from "../../src/device.ts";
import { asyncScope, Random, type Tensor, zeros } from "../../src/index.ts";
import { type PartName, Trainer, trainOnly } from "../../train/index.ts";
import { isIn, keepsTokens, partNames, rateFactors } from "../../train/parts.ts";
import { smallConfig } from "../support/small_model.ts";

const config = smallConfig({ discStart: 0, perceptualWeight: 0 });
const newModel = () => new VQGAN(config, new Random(1), { withLoss: true });
const learning = (model: VQGAN) =>
  [...model.namedParameters()].filter(([, { requiresGrad }]) => requiresGrad).map(([key]) => key);

test("every parameter that learns belongs to one part, and attention to a half as well", () => {
  const model = newModel();
  for (const key of [...model.generatorParameters().keys(), ...model.discriminatorParameters().keys()]) {
    const found = partNames.filter((part) => isIn(part, key));
    expect([key, found.length]).toEqual([key, key.includes("attn") ? 2 : 1]);
  }
  const of = (part: PartName) => {
    trainOnly(model, [part]);
    return learning(model);
  };
  expect(of("encoder")).toContain("quant_conv.weight");
  expect(of("decoder")).toContain("post_quant_conv.weight");
  expect(of("codebook")).toEqual(["quantize.embedding.weight"]);
  expect(of("attention")).toContain("decoder.mid.attn_1.q.weight");
  expect(of("attention")).toContain("encoder.down.1.attn.0.norm.bias");
  expect(of("attention").every((key) => key.includes("attn"))).toBe(true);
  trainOnly(model, ["all"]);
  expect(learning(model)).toEqual([...newModel().namedParameters().keys()]);
  const byHand = newModel();
  for (const part of [byHand.encoder, byHand.quant_conv, byHand.quantize]) part.setRequiresGrad(false);
  trainOnly(model, ["decoder", "discriminator"]);
  expect(learning(model)).toEqual(learning(byHand));
});

test("parts that do not exist are named with those that do", () => {
  const model = newModel(), wrong = (parts: unknown) => () => trainOnly(model, parts as PartName[]);
  const expected =
    "expected a list of parts: all, or some of encoder, codebook, decoder, attention, discriminator";
  expect(wrong(["decoder", "lpips"])).toThrow(`trainOnly: the parts are ["decoder", "lpips"], ${expected}`);
  expect(wrong([])).toThrow(`trainOnly: the parts are [], ${expected}`);
  expect(wrong("decoder")).toThrow(`trainOnly: the parts are "decoder", ${expected}`);
  const { ddconfig } = config;
  const plain = new VQGAN(
    { ...config, ddconfig: { ...ddconfig, attnResolutions: [], midAttention: false } },
    new Random(1),
    { withLoss: true },
  );
  const before = learning(plain);
  expect(() => trainOnly(plain, ["attention"])).toThrow("trainOnly: the model has no attention");
  expect(learning(plain)).toEqual(before);
});

/** The memory and the work of the second step on a device that only counts. */
async function costOf(parts: readonly (PartName | "all")[]) {
  const backend = new CountingBackend();
  const names: string[] = [];
  await withBackend(backend, async () => {
    const model = newModel(), images = zeros([4, 16, 16, 3]);
    trainOnly(model, parts);
    const trainer = new Trainer(model, { learningRate: () => 1e-3, update: { clip: 1 } });
    for (let i = 0; i < 2; i++) {
      backend.totals.clear();
      await asyncScope(async () => void await trainer.trainStep([images]));
    }
    for (const { parameters } of Object.values(trainer.optimizers)) {
      names.push(...[...parameters].filter(([, p]: [string, Tensor]) => p.requiresGrad).map(([key]) => key));
    }
    for (const owner of [trainer, images, model]) owner.dispose();
  });
  const of = (kernel: Parameters<typeof backend.totals.get>[0]) => backend.totals.get(kernel)?.calls ?? 0;
  return {
    peak: backend.peak,
    flops: backend.total.flops,
    weightGradients: of("conv2dWeightGrad"),
    updates: of("adam"),
    names,
  };
}

describe("what is frozen costs neither memory nor time", () => {
  test("counted on a device that computes nothing", async () => {
    const all = await costOf(["all"]);
    const isFilter = (key: string) => /(conv\w*|nin_shortcut|q|k|v|proj_out|main\.\d)\.weight$/.test(key);
    expect(all.updates).toBe(all.names.length);
    const costs = new Map<string, typeof all>();
    for (
      const parts of [["decoder"], ["encoder"], ["codebook"], ["decoder", "discriminator"], [
        "attention",
      ]] as PartName[][]
    ) {
      const cost = await costOf(parts);
      costs.set(`${parts}`, cost);
      expect([parts, cost.updates]).toEqual([parts, cost.names.length]);
      expect(cost.peak).toBeLessThan(all.peak);
      expect(cost.flops).toBeLessThan(all.flops);
      // one for each filter that learns, and two for the adaptive weight at the last layer
      const filters = cost.names.filter((key) => isFilter(key) && !key.startsWith("loss."));
      const last = parts.includes("decoder") ? 0 : 1; // which gets a gradient and throws it away
      expect([parts, cost.weightGradients]).toEqual([
        parts,
        filters.length + 2 + last + (parts.includes("discriminator") ? 2 * 3 : 0),
      ]);
    }
    // nothing goes backward through the encoder, which needs no activations then
    expect(costs.get("decoder")!.peak).toBeLessThan(0.7 * all.peak);
    expect(costs.get("codebook")!.flops).toBeLessThan(costs.get("decoder")!.flops);
  });
});

test("with the decoder alone, tokens stay what they are", async () => {
  const model = newModel(), images = new Random(3).uniform([2, 16, 16, 3], -1, 1);
  const tokens = async () => await asyncScope(async () => await model.encode(images).indices.ints());
  const pixels = async () => await asyncScope(async () => await model.reconstruct(images).floats());
  const before = { tokens: await tokens(), pixels: await pixels() };
  trainOnly(model, ["decoder", "discriminator"]);
  const trainer = new Trainer(model, { learningRate: () => 1e-2, update: { weightDecay: 0.1, clip: 1 } });
  for (let i = 0; i < 3; i++) await asyncScope(async () => void await trainer.trainStep([images]));
  expect(await tokens()).toEqual(before.tokens);
  expect(await pixels()).not.toEqual(before.pixels);
  expect([
    keepsTokens(["decoder", "discriminator"]),
    keepsTokens(["decoder", "attention"]),
    keepsTokens(["all"]),
  ])
    .toEqual([true, false, false]);
  for (const owner of [trainer, images, model]) owner.dispose();
});

test("a part's own rate is a factor of the common one, and attention's counts more than that of its half", async () => {
  const factor = rateFactors({ decoder: 1e-4, attention: 0.1, discriminator: 2e-3 }, 1e-3);
  const of = [
    "decoder.conv_in.weight",
    "decoder.mid.attn_1.q.weight",
    "encoder.conv_in.weight",
    "loss.discriminator.main.0.bias",
  ];
  expect(of.map((key) => Number(factor(key).toPrecision(6)))).toEqual([0.1, 100, 1, 2]);

  // with a rate of almost nothing a part stays where it is
  const model = newModel(), images = new Random(3).uniform([1, 16, 16, 3], -1, 1);
  const rateFactor = rateFactors({ encoder: 1e-30 }, 1e-3);
  const trainer = new Trainer(model, { learningRate: () => 1e-3, update: { rateFactor } });
  const weights = () =>
    Promise.all([model.encoder.conv_in, model.decoder.conv_in].map(({ weight }) => weight.floats()));
  const [encoder, decoder] = await weights();
  await asyncScope(async () => void await trainer.trainStep([images]));
  const [encoderAfter, decoderAfter] = await weights();
  expect(encoderAfter).toEqual(encoder);
  expect(decoderAfter).not.toEqual(decoder);
  for (const owner of [trainer, images, model]) owner.dispose();
});
