// LPIPS with the published SqueezeNet weights on the published example pictures. Skipped if ../shared is not there.
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { asyncScope, ones, Random, scope, type Tensor, tensor, zeros } from "../../src/index.ts";
import "../../data/files/open.ts"; // so that loadPerceptual takes paths
import { loadPerceptual } from "../../nn/fill.ts";
import { dropHalf, LPIPS } from "../../nn/lpips.ts";
import { expectNoLeak } from "../support/expectations.ts";

const weights = fileURLToPath(new URL("../../../shared/weights", import.meta.url));
const present = existsSync(weights);
const files = {
  backbone: `${weights}/lpips_squeeze/squeeze.backbone.pth`,
  heads: `${weights}/lpips_squeeze/lin_v0.1.pth`,
};

async function example(name: string): Promise<Tensor> {
  const { data, info } = await sharp(`${weights}/${name}.png`).removeAlpha().raw().toBuffer({
    resolveWithObject: true,
  });
  return tensor(Float32Array.from(data, (v) => v / 127.5 - 1), [1, info.height, info.width, 3]);
}

describe(present ? "LPIPS(squeeze)" : "LPIPS(squeeze), skipped: ../shared/weights is not there", () => {
  const check = present ? test : test.skip;

  check("gives the published distances", async () => {
    const lpips = new LPIPS("squeeze");
    await loadPerceptual(lpips, files);
    const reference = lpips.features(await example("ex_ref"));
    for (const [name, published] of [["ex_p0", 0.71105], ["ex_p1", 0.14790]] as const) {
      const other = await example(name);
      const distance = scope(() => lpips.distance(lpips.features(other), reference));
      expect(Math.abs(await distance.item() - published)).toBeLessThan(1e-4);
    }
    expect(await lpips.distance(reference, reference).item()).toBe(0);
    lpips.dispose();
  });

  check("refuses the weights of another network", async () => {
    const lpips = new LPIPS("vgg");
    await expect(loadPerceptual(lpips, files)).rejects.toThrow(
      /\d+ of the perceptual network's tensors do not fit the model/,
    );
    lpips.dispose();
  });
});

test("dropout keeps the mean and drops half", async () => {
  await expectNoLeak(async () => {
    const y = await asyncScope(() => dropHalf(ones([20_000]), new Random(1)).floats());
    const dropped = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(dropped - 0.5)).toBeLessThan(0.0125);
    expect(Math.max(...y)).toBe(2);
  });
});

test("a perceptual network without weights refuses to compare", () => {
  expect(() => new LPIPS("squeeze").features(zeros([1, 32, 32, 3]))).toThrow("no weights are loaded");
});
