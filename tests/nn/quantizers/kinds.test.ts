// The quantizers of other libraries: codes of length 1, as LlamaGen trains them, and taming's choice by logits.
import { expect, test } from "bun:test";
import { GumbelQuantizer, VectorQuantizer, VQGAN } from "../../../nn/index.ts";
import { preset } from "../../../data/formats/config.ts";
import { asyncScope, backward, Random, tensor } from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { filled, golden } from "../../support/goldens.ts";
import { draws, maxError, toNHWC } from "../../support/numbers.ts";

interface Trained {
  readonly training: { readonly loss: number; readonly z: number[]; readonly codes: number[] };
}

describeDevices("codes of length 1", () => {
  test("loss and gradients are LlamaGen's", async () => {
    const { loss: wanted, z: dz, codes: de } = golden<Trained>("neighbours/llamagen").training;
    const quantize = new VectorQuantizer(50, 4, { beta: 0.25, legacyBeta: false, normalized: true }, null);
    quantize.codebook.write(filled("quantize.embedding.weight", [50, 4]));
    const z = tensor(toNHWC(draws("z", 256), [1, 4, 8, 8]), [1, 8, 8, 4], { requiresGrad: true });
    const g = tensor(toNHWC(draws("g", 256), [1, 4, 8, 8]), [1, 8, 8, 4]);
    const { quantized, loss, indices } = quantize.call(z);
    expect(Math.abs(await loss.item() - wanted)).toBeLessThan(1e-6);
    backward(loss.add(quantized.mul(g).sum()));
    expect(maxError(await z.grad!.floats(), dz)).toBeLessThan(5e-6);
    expect(maxError(await quantize.codebook.grad!.floats(), de)).toBeLessThan(1e-6);
    // only directions count
    const far = tensor((await z.floats()).map((v) => 100 * v), z.shape);
    expect(await quantize.encode(far).ints()).toEqual(await indices.ints());
    const lengths = await quantize.lookup(indices).square().sum(-1).floats();
    expect(maxError(lengths, new Float32Array(64).fill(1))).toBeLessThan(1e-6);
    quantize.dispose();
  });

  test("a vector of zeros gets some code, and no gradient that is NaN", async () => {
    const quantize = new VectorQuantizer(
      3,
      2,
      { beta: 0.25, legacyBeta: false, normalized: true },
      new Random(1),
    );
    const z = tensor([0, 0], [1, 1, 1, 2], { requiresGrad: true });
    const { quantized, loss } = quantize.call(z);
    backward(loss.add(quantized.sum()));
    expect((await z.grad!.floats()).every(Number.isFinite)).toBe(true);
    quantize.dispose();
  });
});

describeDevices("choice by logits", () => {
  test("the highest logit wins, the lowest index of equal ones, also when logits are computed in parts", async () => {
    const quantize = new GumbelQuantizer(2 ** 14, 2, null);
    const weights = new Float32Array(2 ** 15);
    [3, 9, 5000].forEach((code) => weights.set([1, 0], 2 * code));
    [7, 16383].forEach((code) => weights.set([0, 1], 2 * code));
    quantize.proj.weight.write(weights);
    quantize.embed.weight.write(Float32Array.from({ length: 2 ** 15 }, (_, i) => i));
    await asyncScope(async () => {
      const z = Float32Array.from({ length: 600 }, (_, i) => i % 4 === 0 || i % 4 === 3 ? 1 : 0); // 2^14 logits for 300 vectors
      const indices = quantize.encode(tensor(z, [300, 1, 1, 2]));
      expect([...await indices.ints()]).toEqual(Array.from({ length: 300 }, (_, i) => i % 2 === 0 ? 3 : 7));
      expect([...(await quantize.lookup(indices).floats()).slice(0, 4)]).toEqual([6, 7, 14, 15]);
    });
    expect(() => quantize.encode(tensor([1, 2, 3], [1, 1, 1, 3]))).toThrow(
      "z has 3 channels (shape [1,1,1,3]), expected 2",
    );
    expect(() => quantize.call(tensor([1, 2], [1, 1, 1, 2]))).toThrow("cannot be trained here");
    quantize.dispose();
    const config = preset("faces", { quantizer: "gumbel", embedDim: 64 });
    expect(() => new VQGAN(config, null, { withLoss: true })).toThrow(
      'with the quantizer "gumbel" encodes and decodes',
    );
    expect(() => new VQGAN(preset("faces", { quantizer: "gumbel" }), null)).toThrow(
      "embedDim is 16; with a gumbel quantizer it must be zChannels, 64",
    );
  });
});
