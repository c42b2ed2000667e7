// What inspect reports about a checkpoint without loading it.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../data/formats/config.ts";
import {
  formatInspectReport,
  formatTensors,
  inspect,
  openCheckpoint,
  tamingOrder,
  trainingState,
} from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { saveWeights } from "../../../train/index.ts";
import { trainedCheckpoint, trainedConfig } from "../../support/trained.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-inspect-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { original, asLightning } = await trainedCheckpoint(folder);

/** A file with this header and as many zeros. */
function safetensors(header: object, length: number): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header)),
    file = new Uint8Array(8 + json.length + length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

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

  test("reports 200,000 tensors, and names of 10 MB", async () => {
    const many = Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => {
      return [`layer.${i}.weight`, { dtype: "U8", shape: [1], data_offsets: [i, i + 1] }];
    }));
    const report = await inspect(safetensors(many, 200_000));
    expect(formatInspectReport(report)).toContain("layer  200000 tensors");
    expect(formatTensors(report).split("\n").length).toBe(200_000);
    const long = await inspect(
      safetensors({ ["ema_0".repeat(2e6)]: { dtype: "U8", shape: [1], data_offsets: [0, 1] } }, 1),
    );
    expect(formatInspectReport(long).length + formatTensors(long).length).toBeLessThan(2000);
    expect(formatTensors(long)).toContain("... (10000000 characters)");
    expect(tamingOrder([`${"0".repeat(1e7)}x`, "encoder"])[0]).toBe("encoder");
  });

  test("says nothing of steps that an optimizer does not count", async () => {
    const { root, ...file } = await openCheckpoint(await asLightning("uncounted.ckpt"));
    const states = (root as Map<string, Map<string, Map<number, Map<string, unknown>>>[]>).get(
      "optimizer_states",
    )!;
    for (const entry of states[0].get("state")!.values()) entry.delete("step");
    const uncounted = { ...file, root };
    expect((await inspect(uncounted)).optimizers[0].step).toBe(null);
    await expect(trainingState(uncounted)).rejects.toThrow(
      "optimizer 0 does not say how many steps it has made",
    );
    await file.close();
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
