// Runs the examples of the documentation in a folder that has the files that they use: `deno task examples`. The folder, with
// what they write, is removed at the end.
import { execFileSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  convertCheckpoint,
  loadVQGAN,
  openCheckpoint,
  Random,
  saveWeights,
  TokenWriter,
  writeCartoonFaces,
  writeTorch,
} from "../../mod.ts";
import { RepositoryCache } from "../../data/hub/cache.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "tessera-examples-"));
const at = (name: string) => join(folder, name);

/** Writes a checkpoint to fine-tune, with a perceptual network. Its weights are random, because the real ones are large. */
async function writeModel(): Promise<void> {
  const { model } = await loadVQGAN(join(root, "models/faces.safetensors"), { withLoss: true });
  const random = new Random(1);
  for (const t of model.loss!.perceptual_loss!.stateDict().values()) {
    t.assign(random.uniform(t.shape, 0, 0.1));
  }
  await saveWeights(at("model.safetensors"), model);
  const file = await openCheckpoint(at("model.safetensors"));
  await convertCheckpoint(file, at("last.ckpt"), { config: model.config });
  await file.close();
  const weights = await Promise.all([...model.generatorParameters()].map(async ([name, t]) => {
    const values = await t.floats();
    return [name, { name, shape: t.shape, dtype: "f32", data: () => values }] as const;
  }));
  await writeTorch(at("net.pth"), new Map([["params", new Map(weights)], ["params_ema", new Map(weights)]]));
}

/** Puts a checkpoint into the cache as if it had been downloaded from the hub. */
async function cacheAs(repository: string, path: string): Promise<void> {
  const cache = new RepositoryCache(at("hub"), repository), commit = "0".repeat(40);
  await mkdir(dirname(cache.path(commit, "model.ckpt")), { recursive: true });
  await copyFile(path, cache.path(commit, "model.ckpt"));
  await cache.remember("main", commit);
}

async function writeTokens(): Promise<void> {
  const writer = await TokenWriter.open(at("tokens.parquet"), {
    format: "tessera-tokens",
    version: 1,
    factor: 8,
    grid: [2, 2],
    vocabulary: 2048,
    range: "signed",
    attentionOrder: "taming",
    preprocessing: "none",
    model: "last.ckpt",
    weights: "",
    source: ["faces/"],
    shard: null,
  });
  await writer.add([{ file: "face.jpg", caption: "a face", encoding: [1, 2, 3, 4], grid: [2, 2] }]);
  await writer.finish();
}

const yaml = `model:
  base_learning_rate: 4.5e-6
  target: taming.models.vqgan.VQModel
  params:
    embed_dim: 256
    n_embed: 1024
    ddconfig: { double_z: false, z_channels: 256, resolution: 256, in_channels: 3, out_ch: 3, ch: 128,
      ch_mult: [1, 1, 2, 2, 4], num_res_blocks: 2, attn_resolutions: [16], dropout: 0.0 }
    lossconfig:
      target: taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator
      params: { disc_conditional: false, disc_in_channels: 3, disc_start: 10000, disc_weight: 0.8, codebook_weight: 1.0 }
`;

try {
  await writeModel();
  await cacheAs("boris/vqgan_f16_16384", at("last.ckpt"));
  await writeTokens();
  await mkdir(at("models"));
  await copyFile(join(root, "models/faces.safetensors"), at("models/faces.safetensors"));
  await writeCartoonFaces(at("faces"), 3, 128, 1);
  await copyFile(at("faces/face_00000.png"), at("face.jpg"));
  await writeFile(at("custom_vqgan.yaml"), yaml);
  const modules = ["mod.ts", "core.ts", "src", "data", "nn", "train", "docs/book"].map((name) =>
    join(root, name)
  );
  const words = ["test", "--doc", "-A", "--config", join(root, "deno.json"), ...modules];
  const env = { ...process.env, HF_HUB_CACHE: at("hub"), HF_HUB_OFFLINE: "1" };
  execFileSync(process.execPath, words, { cwd: folder, stdio: "inherit", env });
} catch (error) {
  process.exitCode = (error as { status?: number }).status ?? 1;
  if (process.exitCode === 1) console.error(error);
} finally {
  await rm(folder, { recursive: true });
}
