// finetune --base: a run with a config of taming.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommandLine } from "../../../cli/program.ts";
import { writeCartoonFaces } from "../../../data/index.ts";
import { customVqgan } from "../../support/taming.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-base-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}
const base = await file("custom_vqgan.yaml", customVqgan);

describe("finetune --base", () => {
  const tiny = [
    "model.params.embed_dim=32",
    "model.params.n_embed=16",
    "model.params.ddconfig={z_channels: 32, resolution: 16, ch: 32, ch_mult: [1, 1], num_res_blocks: 1, attn_resolutions: [8]}",
    "model.params.lossconfig.params={disc_num_layers: 1, disc_ndf: 8, disc_start: 1}",
    "data.params.train.params.size=16",
    "data.params.validation.params.size=16",
    "data.params.batch_size=2",
  ];

  test("trains with the config's model, pictures and rates; options override them", async () => {
    const faces = join(folder, "faces"), out = join(folder, "runs");
    await writeCartoonFaces(faces, 5, 16, 1);
    const names = (await readdir(faces)).map((name) => join(faces, name));
    const lists = [
      `data.params.train.params.training_images_list_file=${await file(
        "train.txt",
        names.slice(1).join("\n"),
      )}`,
      `data.params.validation.params.test_images_list_file=${await file("test.txt", names[0])}`,
    ];
    const words = (name: string) => ["finetune", "--base", base, "--no-lpips", "--out", out, "--name", name];
    expect(await runCommandLine([...words("tamed"), ...tiny, ...lists, "lightning.trainer.max_epochs=1"]))
      .toBe(0);
    const [run] = await readdir(out);
    const settings = JSON.parse(await readFile(join(out, run, "config.json"), "utf8"));
    expect(settings).toMatchObject({
      batch: 2,
      steps: 2,
      size: 16,
      codebook: { learning: "adam", restartEvery: 0 },
      from: null,
      crop: "center",
    });
    expect(settings.lr).toBeCloseTo(2 * 4.5e-6, 12);
    expect(settings.model).toMatchObject({
      embedDim: 32,
      legacyBeta: true,
      ddconfig: { ch: 32, attnResolutions: [8] },
      lossconfig: { discNumLayers: 1, discNdf: 8, discStart: 1, discWeight: 0.8 },
    });

    // --data takes all following words, and hands back those that are assignments
    const data = ["--steps", "1", "--data"];
    expect(await runCommandLine([...words("end"), ...data, faces, ...tiny, ...lists])).toBe(0);
    const end = (await readdir(out)).find((name) => name.endsWith("_end"))!;
    const ending = JSON.parse(await readFile(join(out, end, "config.json"), "utf8"));
    expect([ending.data, ending.model.embedDim]).toEqual([[faces], 32]);
    expect(await runCommandLine([...words("none"), ...data, ...tiny, ...lists])).toBe(2);

    const checkpoint = join(out, run, "checkpoints", "last.safetensors");
    const from = [...tiny, ...lists, `model.params.ckpt_path=${checkpoint}`];
    const options = ["--steps", "1", "--batch", "3", "--lr", "1e-4"];
    expect(await runCommandLine([...words("warm"), ...from, ...options])).toBe(0);
    const warm = (await readdir(out)).find((name) => name.endsWith("_warm"))!;
    expect(JSON.parse(await readFile(join(out, warm, "config.json"), "utf8"))).toMatchObject({
      ...{ from: checkpoint, batch: 3, lr: 1e-4, steps: 1 },
      model: { lossconfig: { discStart: 1 } },
    });
  });

  test("assignments need a config", async () => {
    expect(await runCommandLine(["finetune", "--scratch", "model.params.n_embed=3"])).toBe(2);
  });
});
