// Large pictures in strips: the results are the same bit for bit, in less memory.
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  attention,
  conv2d,
  groupNorm,
  memory,
  noGrad,
  Random,
  resetPeakBytes,
  scope,
  zeros,
} from "../../../src/index.ts";
import { convStrips, normConvStrips, takesStrips } from "../../../src/ops/strips.ts";
import { finish } from "../../../src/parts.ts";
import { VQGAN } from "../../../nn/vqgan.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { tinyConfig } from "../../support/goldens.ts";
import { drawn, maxError } from "../../support/numbers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

for (const [height, width, inChannels, channels] of [[80, 48, 32, 32], [75, 53, 64, 32]]) {
  test(`strips of ${height}x${width}x${inChannels} equal the whole map`, async () => {
    await expectNoLeak(async () => {
      const made = scope(() => {
        const x = drawn("x", [2, height, width, inChannels]);
        const norm = { weight: drawn("gamma", [inChannels]), bias: drawn("beta", [inChannels]) };
        const conv = { weight: drawn("w", [channels, inChannels, 3, 3]), bias: drawn("b", [channels]) };
        const residual = drawn("residual", [2, height, width, channels]);
        const n = groupNorm(x, norm.weight, norm.bias, { swish: true });
        const whole = conv2d(n, conv.weight, conv.bias, { padding: 1, residual });
        const stripBytes = x.size * 4 / 5;
        const strips = finish(normConvStrips(x, norm, conv, { residual, stripBytes }));
        const same = inChannels === channels;
        const over = same
          ? finish(normConvStrips(x, norm, conv, { residual, stripBytes, overwrite: true }))
          : strips;
        return { whole, strips, over };
      });
      const whole = await made.whole.data();
      expect(maxError(await made.strips.data(), whole)).toBe(0);
      expect(maxError(await made.over.data(), whole)).toBe(0);
      for (const t of new Set(Object.values(made))) t.dispose();
    });
  });
}

for (
  const [name, filter, options] of [
    ["3x3", 3, { padding: 1 }],
    ["1x1", 1, {}],
    ["3x3 of stride 2, as in Downsample", 3, { stride: 2, padding: [0, 1, 0, 1] }],
    ["3x3 of an enlarged map", 3, { padding: 1, upsample: 2 }],
  ] as const
) {
  test(`a ${name} convolution in strips equals the whole one`, async () => {
    await expectNoLeak(async () => {
      let parts = 0;
      const made = noGrad(() =>
        scope(() => {
          const x = drawn("x", [2, 75, 53, 24]), weight = drawn("w", [32, 24, filter, filter]);
          const bias = drawn("b", [32]), whole = conv2d(x, weight, bias, options);
          const work = 2 * whole.size * 24 * filter ** 2 / 5;
          const strips = convStrips(x, weight, bias, options, work);
          let step = strips.next();
          for (; !step.done; step = strips.next()) parts++;
          return { whole, strips: step.value };
        })
      );
      expect(parts).toBeGreaterThan(1);
      expect(maxError(await made.strips.data(), await made.whole.data())).toBe(0);
      for (const t of Object.values(made)) t.dispose();
    });
  });
}

test("attention in blocks of queries equals attention at once", async () => {
  await expectNoLeak(async () => {
    const made = scope(() => {
      const [q, k, v] = ["q", "k", "v"].map((name) => drawn(name, [2, 2051, 32])); // 33 MB of scores in 3 blocks
      const whole = attention(q, k, v);
      const before = memory().liveBytes;
      resetPeakBytes();
      const blocks = noGrad(() => attention(q, k, v));
      expect(memory().peakBytes - before).toBeLessThan(35 * 2 ** 20); // the scores and weights of one block only
      return { whole, blocks };
    });
    expect(maxError(await made.blocks.data(), await made.whole.data())).toBe(0);
    for (const t of Object.values(made)) t.dispose();
  });
});

test("strips refuse filters and shapes that do not fit", () => {
  scope(() => {
    const x = zeros([1, 8, 8, 32]), norm = { weight: zeros([32]), bias: zeros([32]) };
    const conv = (shape: number[]) => ({ weight: zeros(shape), bias: null });
    expect(() => finish(normConvStrips(x, norm, conv([32, 32, 1, 1])))).toThrow("3x3 filter, got 1x1");
    expect(() => finish(normConvStrips(x, norm, conv([64, 32, 3, 3]), { overwrite: true }))).toThrow(
      "64 channels",
    );
  });
});

test("a large picture is encoded and decoded with the same bits as in one piece, in less memory", async () => {
  await expectNoLeak(async () => {
    const ddconfig = {
      ...tinyConfig.ddconfig,
      chMult: [1, 1, 1, 1, 1],
      numResBlocks: 1,
      attnResolutions: [],
    };
    const config = { ...tinyConfig, ddconfig };
    const model = new VQGAN(config, new Random(1)).setRequiresGrad(false);
    const images = drawn("picture", [1, 528, 512, 3]);
    const x = zeros([1, 528, 512, 32]);
    expect(noGrad(() => takesStrips(x))).toBe(true);
    expect(takesStrips(x)).toBe(false); // because the tape needs every intermediate value
    x.dispose();
    const before = memory().liveBytes;
    resetPeakBytes();
    const { indices, latents } = model.encode(images);
    const pictures = model.decode(latents);
    const map = 528 * 512 * 32 * 4;
    expect(memory().peakBytes - before).toBeLessThan(2.9 * map);
    // outside noGrad nothing is computed in strips
    const whole = scope(() => ({
      indices: model.quantize.encode(model.quant_conv.call(model.encoder.call(images))),
      pictures: model.decoder.call(model.post_quant_conv.call(latents)).detach(),
    }));
    expect(maxError(await indices.data(), await whole.indices.data())).toBe(0);
    expect(maxError(await pictures.data(), await whole.pictures.data())).toBe(0);
    for (const t of [pictures, indices, latents, whole.pictures, whole.indices, images]) t.dispose();
    model.dispose();
  });
});
