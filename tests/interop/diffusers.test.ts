// Against diffusers of today (diffusers.py): it opens the folders that Tessera writes, Tessera opens those that it writes, and
// tokens and pixels agree.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset, type VQModelOverrides } from "../../data/formats/config.ts";
import { convertCheckpoint, openCheckpoint } from "../../data/index.ts";
import { loadVQGAN, VQGAN } from "../../nn/index.ts";
import { asyncScope, Random, tensor } from "../../src/index.ts";
import { saveWeights } from "../../train/index.ts";
import { draws, maxError, toNHWC } from "../support/numbers.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

const folder = await mkdtemp(join(tmpdir(), "tessera-diffusers-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const picture = draws("a picture for diffusers", 3 * 32 * 32);
await writeFile(join(folder, "picture.json"), JSON.stringify([...picture]));

interface Computed {
  readonly tokens: number[];
  readonly pixels: number[];
}

async function computed(model: VQGAN): Promise<Computed> {
  return await asyncScope(async () => {
    const { indices, latents } = model.encode(tensor(toNHWC(picture, [1, 3, 32, 32]), [1, 32, 32, 3]));
    return { tokens: [...await indices.ints()], pixels: [...await model.decode(latents).floats()] };
  });
}

async function expectSame(name: string, model: VQGAN, theirs: Computed): Promise<void> {
  const ours = await computed(model);
  expect([name, ours.tokens]).toEqual([name, theirs.tokens]);
  expect(new Set(ours.tokens).size).toBeGreaterThan(3); // a model with one token for all would prove little
  expect([name, maxError(ours.pixels, theirs.pixels) < 2e-5]).toEqual([name, true]);
}

describePython("diffusers.py", ["diffusers", "torch"], (job) => {
  test("it opens what Tessera writes, with attention in levels or none at all", async () => {
    const kinds: Record<string, VQModelOverrides> = {
      ours_attention: { ddconfig: { attnResolutions: [16], zChannels: 8 } },
      ours_bare: {
        ddconfig: { attnResolutions: [], midAttention: false, numResBlocks: 2, chMult: [1, 2, 1] },
      },
    };
    const models: Record<string, VQGAN> = {};
    for (const [name, { ddconfig }] of Object.entries(kinds)) {
      const config = preset("faces", {
        embedDim: 4,
        nEmbed: 40,
        ddconfig: { ch: 32, chMult: [1, 2], resolution: 32, zChannels: 4, ...ddconfig },
      });
      const model = models[name] = new VQGAN(config, new Random(3));
      model.quantize.codebook.write(draws(name, 160));
      await saveWeights(join(folder, `${name}.safetensors`), model);
      const file = await openCheckpoint(join(folder, `${name}.safetensors`));
      await convertCheckpoint(file, join(folder, name), { config }, "diffusers");
      await file.close();
      await rm(join(folder, `${name}.safetensors`));
    }
    const seen = job<Record<string, Computed>>("open", folder);
    expect(Object.keys(seen).sort()).toEqual(Object.keys(models).sort());
    for (const [name, model] of Object.entries(models)) await expectSame(name, model, seen[name]);
  });

  test("Tessera opens what it writes: in one file or several, safetensors or not, f32 and f16", async () => {
    const theirs = job<Record<string, Computed>>("write", folder);
    expect(Object.keys(theirs).length).toBe(8);
    for (const [name, values] of Object.entries(theirs)) {
      const { model, note } = await loadVQGAN(join(folder, name));
      expect([name, note]).toEqual([name, "diffusers' VQModel"]);
      await expectSame(name, model, values);
      model.dispose();
    }
  });

  test("what it has and Tessera has not is refused in one line", async () => {
    const wrong: [string, RegExp][] = [
      ["theirs_movq", /theirs_movq.*: this is MoVQ: the norms of its decoder/],
      ["theirs_groups", /theirs_groups.*: its config.json says norm_num_groups 16; only 32 is supported/],
      ["theirs_kl", /theirs_kl.*: this is AutoencoderKL, a KL autoencoder: it has no codebook/],
      ["theirs_lopsided", /theirs_lopsided.*: its encoder and its decoder differ \(levels with attention/],
    ];
    for (const [name, message] of wrong) await expect(loadVQGAN(join(folder, name))).rejects.toThrow(message);
  });
});
