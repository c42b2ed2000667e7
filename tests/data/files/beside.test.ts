// The configuration beside a checkpoint that does not say all itself, and what happens to what nobody says.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  configOf,
  convertCheckpoint,
  formatInspectReport,
  inspect,
  openCheckpoint,
  writeTorch,
} from "../../../data/index.ts";
import { unwrapOmegaconf } from "../../../data/formats/torch/unwrap.ts";
import { VQGAN } from "../../../nn/index.ts";
import { Random } from "../../../src/index.ts";
import { smallConfig } from "../../support/small_model.ts";
import { withFile } from "../../support/with_file.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

let folder = "", weights = "";

/** A model whose lowest level has attention, at 16 pixels of a resolution of 32. */
const config = smallConfig({ perceptualWeight: 0 });
const yaml = (changes: Record<string, unknown> = {}, target = "taming.models.vqgan.VQModel") =>
  JSON.stringify({ // which is YAML too
    model: {
      target,
      params: {
        ...{ embed_dim: config.embedDim, n_embed: config.nEmbed, ...changes },
        ddconfig: {
          ch: 32,
          ch_mult: config.ddconfig.chMult,
          num_res_blocks: 1,
          resolution: 32,
          attn_resolutions: [16],
        },
        lossconfig: {
          target: "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator",
          params: { disc_start: 6, disc_num_layers: config.lossconfig.discNumLayers },
        },
      },
    },
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-beside-"));
  weights = join(folder, "weights.ckpt");
  const model = new VQGAN(config, new Random(1), { withLoss: true });
  const tensors = [...model.stateDict()].filter(([key]) => !key.includes("perceptual")).map(([name, t]) =>
    [name, { name, shape: [...t.shape], dtype: "f32", data: () => t.floats() }] as const
  );
  await writeTorch(weights, new Map([["state_dict", new Map(tensors)]]));
  model.dispose();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
/** Puts the checkpoint and other files into a folder of their own. @returns the path of the checkpoint */
async function placed(path: string, files: Record<string, string>): Promise<string> {
  const own = join(folder, `${count++}`);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(own, name)), { recursive: true });
    await writeFile(join(own, name), text);
  }
  await mkdir(dirname(join(own, path)), { recursive: true });
  await cp(weights, join(own, path));
  return join(own, path);
}

describe("the settings are found", () => {
  const places: [path: string, files: Record<string, string>][] = [
    ["logs/a/checkpoints/last.ckpt", {
      "logs/a/configs/1-lightning.yaml": "lightning: {}",
      "logs/a/configs/1-project.yaml": yaml(),
    }],
    ["checkpoints/epoch=1-step=7.ckpt", {
      "configs/model.yaml": yaml({ n_embed: 9 }),
      "configs/z.yaml": yaml(),
    }],
    ["ckpts/last.ckpt", { "configs/model.yaml": yaml() }],
    ["last.ckpt", { "model.yaml": yaml() }],
    ["vqgan_faces.ckpt", { "vqgan_faces.yaml": yaml(), "model.yaml": yaml({ n_embed: 9 }) }],
    ["last.ckpt", { "config.json": yaml() }],
    ["last.ckpt", { "config.yml": yaml().replace('"model"', '"other": 1, "model"') }],
    ["last.ckpt", {
      "2021-07-09T15-33-11-project.yaml": yaml(),
      "2021-07-09T15-33-11-lightning.yaml": "lightning: {}",
    }],
    ["last.ckpt", { "whatever.yaml": yaml() }],
    ["last.ckpt", { "model.yaml": `model: {params: {first_stage_config: ${yaml().slice(9, -1)}}}` }],
    ["last.ckpt", { "config.json": '{"unrelated": 1}', "model.yaml": "a: [", "project.yaml": yaml() }],
  ];
  for (const [path, files] of places) {
    test(`beside ${path}: ${Object.keys(files).join(", ")}`, async () => {
      const { config: found, assumed } = await withFile(
        await placed(path, files),
        (file) => Promise.resolve(configOf(file)),
      );
      expect(assumed).toEqual([]);
      expect(found.ddconfig).toEqual({ ...config.ddconfig, resolution: 32, attnResolutions: [16] });
      // what the config leaves out has the default of the class that it names
      expect(found.lossconfig).toMatchObject({
        discStart: 6,
        discWeight: 1,
        discFactor: 1,
        discLoss: "hinge",
      });
    });
  }

  test("as far as they say anything: of another class only what they state", async () => {
    const path = await placed("last.ckpt", { "model.yaml": yaml({}, "ldm.models.autoencoder.VQModel") });
    const { assumed } = await withFile(path, (file) => Promise.resolve(configOf(file)));
    expect(assumed).toEqual(["beta", "legacyBeta", "attentionOrder"]);
    const flat = await placed("last.ckpt", { "config.json": '{"ch_mult": [1, 1], "resolution": 32}' });
    const report = await inspect(flat);
    expect(report.architecture?.ddconfig.resolution).toBe(32);
    expect(report.assumed).toContain("lossconfig.discStart");
    expect(formatInspectReport(report)).toContain(
      `settings beside it, in ${join(dirname(flat), "config.json")}:\n  ch_mult: [1,1]`,
    );
  });
});

test("settings of another model are named and not used", async () => {
  const path = await placed("last.ckpt", { "model.yaml": yaml({ n_embed: 1024 }) });
  const report = await inspect(path);
  expect(report.assumed).toContain("ddconfig.resolution");
  expect(report.warnings).toContain(
    `${join(dirname(path), "model.yaml")} lies beside it but describes another model ` +
      `(n_embed is 1024 there and ${config.nEmbed} in the file), so it is not used`,
  );
  const many = await placed("last.ckpt", { "a.yaml": yaml(), "b.yaml": yaml() });
  expect((await inspect(many)).beside).toBe(null);
});

describe("what is only assumed", () => {
  const targets = ["out.safetensors", "out.ckpt", "flax", "diffusers"] as const;
  for (const target of targets) {
    test(`is not written as a fact: ${target}`, async () => {
      const bare = await placed("last.ckpt", {}), out = join(dirname(bare), "made", target);
      await mkdir(dirname(out), { recursive: true });
      const [assumed, [written]] = await withFile(bare, async (file) => {
        const guess = configOf(file), format = target === "diffusers" ? target : undefined;
        return [guess.assumed, await convertCheckpoint(file, out, guess, format)] as const;
      });
      expect(assumed).toContain("ddconfig.resolution");
      const again = await inspect(target.startsWith("out") ? written : out);
      for (const field of assumed) expect(again.assumed).toContain(field);
      expect(again.architecture?.ddconfig.attnResolutions).toEqual([128]); // at an assumed resolution of 256
      if (!target.startsWith("out")) {
        expect(await readFile(join(out, "config.json"), "utf8")).not.toMatch(/resolution"|sample_size/);
      }
    });
  }

  test("is left out of the arguments that taming reads, and what is known is there", async () => {
    const made = async (files: Record<string, string>) => {
      const path = await placed("last.ckpt", files), out = join(dirname(path), "new", "out.ckpt");
      await mkdir(dirname(out));
      await withFile(path, async (file) => void await convertCheckpoint(file, out, configOf(file)));
      const root = await withFile(out, ({ root }) => Promise.resolve(root as Map<string, unknown>));
      return unwrapOmegaconf(root.get("hyper_parameters")) as Record<
        string,
        Record<string, Record<string, unknown>>
      >;
    };
    const bare = await made({}), known = await made({ "model.yaml": yaml() });
    expect(Object.keys(bare.ddconfig)).not.toContain("resolution");
    expect(bare.lossconfig.params).toEqual({
      ...{ disc_conditional: false, disc_in_channels: 3, disc_num_layers: config.lossconfig.discNumLayers },
      disc_ndf: config.lossconfig.discNdf,
    });
    expect(known.ddconfig).toMatchObject({ resolution: 32, attn_resolutions: [16] });
    expect(known.lossconfig.params).toMatchObject({ disc_start: 6, disc_weight: 1, disc_loss: "hinge" });
  });

  test("does not enlarge pictures, and a resolution that is stated does", async () => {
    const sizes = async (files: Record<string, string>, side: number) => {
      const model = await VQGAN.load(await placed("last.ckpt", files));
      const picture = { width: side, height: side + 2, pixels: new Uint8Array(side * (side + 2) * 3) };
      const { grid } = await model.tokensOf(picture);
      const chosen = await model.tokensOf(picture, { size: 24 });
      model.dispose();
      return [grid, chosen.grid];
    };
    expect(await sizes({}, 20)).toEqual([[10, 10], [12, 12]]);
    expect(await sizes({ "model.yaml": yaml() }, 20)).toEqual([[16, 16], [12, 12]]);
    expect(await sizes({}, 300)).toEqual([[128, 128], [12, 12]]);
  });

  test("can be told: then attention stays on its levels", async () => {
    const path = await placed("last.ckpt", {});
    const model = await VQGAN.load(path, { config: { ddconfig: { resolution: 64 } } });
    expect(model.config.ddconfig).toMatchObject({ resolution: 64, attnResolutions: [32] });
    expect(model.assumed).not.toContain("ddconfig.resolution");
    expect(model.assumed).toContain("lossconfig.discStart");
    model.dispose();
  });
});

test("beta on the commitment term survives a .ckpt, also without Tessera's own metadata", async () => {
  const path = await placed("last.ckpt", {}),
    out = join(dirname(path), "out.ckpt"),
    bare = join(dirname(path), "bare.ckpt");
  const paper = { legacyBeta: false, beta: 0.5 };
  await withFile(path, async (file) => {
    await convertCheckpoint(file, out, { ...configOf(file), config: { ...config, ...paper }, assumed: [] });
  });
  const file = await openCheckpoint(out);
  expect(configOf(file).config).toMatchObject(paper);
  // as another program saves it again
  const hyper = unwrapOmegaconf((file.root as Map<string, unknown>).get("hyper_parameters")) as Record<
    string,
    unknown
  >;
  expect([hyper.beta, hyper.legacy]).toEqual([0.5, false]);
  await convertCheckpoint({ ...file, metadata: {} }, bare, { config: null });
  await file.close();
  expect(await withFile(bare, (file) => Promise.resolve(configOf(file).config))).toMatchObject(paper);
});
