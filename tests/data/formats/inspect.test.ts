// What inspect reports about a checkpoint without loading it.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../data/formats/config.ts";
import { formatInspectReport, formatTensors, inspect } from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { saveWeights } from "../../../train/index.ts";
import { trainedCheckpoint, trainedConfig } from "../../support/trained.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-inspect-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { original, asLightning } = await trainedCheckpoint(folder);

describe("inspect", () => {
  test("reports optimizers of Tessera and of Lightning in the same way, and every tensor", async () => {
    const [own, lightning] = [await inspect(original), await inspect(await asLightning("seen.ckpt"))];
    expect(own.optimizers).toEqual(lightning.optimizers);
    expect(own.optimizers[0]).toMatchObject({ lr: 1e-3, betas: [0.5, 0.9], step: 3 });
    expect([lightning.globalStep, lightning.epoch]).toEqual([3, 1]);
    const codes = { name: "quantize.embedding.weight", shape: [16, 32], dtype: "f32", bytes: 2048 };
    expect(lightning.list).toContainEqual(codes as (typeof lightning.list)[0]);
    expect(formatTensors(lightning)).toMatch(/quantize\.embedding\.weight +\[16,32\] +f32 +2\.0 kB/);
    expect(formatInspectReport(lightning)).toContain('lossconfig: {"target":"taming.modules.losses');
  });

  test("warns about a discriminator that taming would not build by default, or that differs from the published one", async () => {
    const warnings = async (discNumLayers: number) => {
      const model = new VQGAN(
        preset("faces", { ...trainedConfig, lossconfig: { ...trainedConfig.lossconfig, discNumLayers } }),
        null,
        {
          withLoss: true,
        },
      );
      await saveWeights(join(folder, "layers.safetensors"), model);
      model.dispose();
      return (await inspect(join(folder, "layers.safetensors"))).warnings.join("\n");
    };
    expect(await warnings(2)).toContain("set disc_num_layers: 2 in its lossconfig");
    expect(await warnings(3)).toContain("3 layers, taming's default; that of the published f16-16384 has 2");
    expect(await warnings(2)).toContain("no perceptual network inside");
  });
});
