// Between all formats: whole checkpoints there and back, what is told of them, and training that goes on from either
// side.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../../cli/program.ts";
import { lightningRoot, vqModelArguments } from "../../../data/formats/torch/lightning.ts";
import {
  configOf,
  convertCheckpoint,
  type ConvertOptions,
  formatInspectReport,
  formatTensors,
  hashFile,
  inspect,
  OrderedDict,
  toWrite,
  trainingState,
  Tuple,
  unwrapOmegaconf,
  writeCartoonFaces,
  writeTorch,
} from "../../../data/index.ts";
import { preset, VQGAN } from "../../../nn/index.ts";
import { asyncScope, tensor } from "../../../src/index.ts";
import {
  beginRun,
  defaultOptions,
  readProgress,
  resumeRun,
  type Run,
  saveWeights,
  train,
} from "../../../train/index.ts";
import { draws, withFile } from "../../support/helpers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-convert-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const faces = join(folder, "faces");
await writeCartoonFaces(faces, 4, 16, 1);

/** Converts, and gives the path of what was written. */
async function convert(from: string, name: string, options: Partial<ConvertOptions> = {}): Promise<string> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  return await withFile(
    from,
    (file) => convertCheckpoint(file, join(folder, name), { config: configOf(file).config, ...options }),
  );
}

/** Every tensor of a file, moments too, as numbers. */
async function contents(path: string): Promise<Map<string, number[]>> {
  return await withFile(path, async (file) => {
    const all = new Map<string, number[]>();
    for (const [key, t] of file.tensors) {
      if (!key.startsWith("optimizer.")) all.set(key, Array.from(await t.read(), Number));
    }
    const training = await trainingState(file);
    for (const [i, { moments }] of training?.optimizers.entries() ?? []) {
      for (const [key, { step, expAvg, expAvgSq }] of moments) {
        all.set(`${i} ${key} step`, [step]);
        all.set(`${i} ${key} m`, Array.from(await expAvg.read(), Number));
        all.set(`${i} ${key} v`, Array.from(await expAvgSq.read(), Number));
      }
    }
    return new Map([...all].sort(([a], [b]) => a < b ? -1 : 1));
  });
}

const tiny = preset("faces", {
  embedDim: 32,
  nEmbed: 16,
  ddconfig: { ch: 32, chMult: [1, 1], resolution: 16, attnResolutions: [8], zChannels: 32 },
  lossconfig: { discStart: 1, discNdf: 8, discNumLayers: 1, discWeight: 0.3, perceptualWeight: 0 },
});

async function finish(run: Run): Promise<string> {
  const { checkpoint } = await train(run);
  run.trainer.dispose();
  run.trainer.model.dispose();
  return checkpoint;
}

const options = { ...defaultOptions, data: [faces], size: 16, batch: 2, steps: 3, lr: 1e-3, name: "test" };
const run = await beginRun({ start: { scratch: tiny }, perceptual: "none", options, out: folder });
const original = await finish(run);

/** The checkpoint as Lightning would have left it: without anything of Tessera's. */
async function asLightning(
  name: string,
  change: (root: Map<string, unknown>) => void = () => {},
): Promise<string> {
  const path = join(folder, name);
  await withFile(original, async (file) => {
    const { config } = configOf(file);
    const tensors = [...file.tensors].filter(([key]) => !key.startsWith("optimizer."))
      .map(([name, t]) => toWrite(name, t));
    const training = await trainingState(file);
    const hyperParameters = vqModelArguments(config);
    const root = lightningRoot({ tensors, training, hyperParameters, metadata: {} });
    change(root as Map<string, unknown>);
    await writeTorch(path, root);
  });
  return path;
}

describe("a whole checkpoint", () => {
  test("keeps everything through torch and back", async () => {
    const ckpt = await convert(original, "whole.ckpt");
    const again = await convert(ckpt, "again.safetensors");
    expect(await contents(again)).toEqual(await contents(original));
    await withFile(ckpt, async ({ root, tensors }) => {
      const plain = unwrapOmegaconf(root) as Record<string, unknown>;
      expect(Object.keys(plain).slice(0, 7)).toEqual([
        ...["epoch", "global_step", "pytorch-lightning_version", "callbacks"],
        ...["optimizer_states", "lr_schedulers", "state_dict"],
      ]);
      expect([plain.global_step, plain.callbacks, plain.lr_schedulers]).toEqual([3, {}, []]);
      expect(plain.hyper_parameters).toMatchObject({
        n_embed: 16,
        ddconfig: { ch: 32, ch_mult: [1, 1], attn_resolutions: [8] },
        lossconfig: { params: { disc_start: 1, disc_weight: 0.3, disc_num_layers: 1 } },
      });
      const model = new VQGAN(tiny, null, { withLoss: true });
      expect([...tensors.keys()]).toEqual([...model.stateDict().keys()]);
      const [first, second] = plain.optimizer_states as { param_groups: { params: number[] }[] }[];
      expect(first.param_groups).toEqual([{
        ...{ lr: 1e-3, betas: [0.5, 0.9], eps: 1e-8, weight_decay: 0, amsgrad: false },
        params: [...model.generatorParameters().keys()].map((_, i) => i),
      }]);
      expect(second.param_groups[0].params.length).toBe(model.discriminatorParameters().size);
      const count = tensors.get("loss.discriminator.main.3.num_batches_tracked")!;
      expect([count.dtype, await count.read()]).toEqual(["i64", new BigInt64Array([9n])]);
      model.dispose();
    });
  });

  test("of Lightning keeps optimizers and hyper-parameters through safetensors", async () => {
    const plain = await asLightning("plain.ckpt");
    const there = await convert(plain, "plain.safetensors");
    const back = await convert(there, "back.ckpt");
    expect(await contents(there)).toEqual(await contents(original));
    expect(await contents(back)).toEqual(await contents(original));
    expect(await readProgress(there)).toEqual({ step: 3, epoch: 1, lr: 1e-3 });
    const told = await withFile(back, ({ root }) => Promise.resolve(root as Map<string, unknown>));
    expect(unwrapOmegaconf(told.get("hyper_parameters"))).toEqual(vqModelArguments(tiny));
  });

  test("with --strip keeps the autoencoder, in any format, with the same bits", async () => {
    const model = await VQGAN.load(original);
    const x = tensor(draws("x", 768), [1, 16, 16, 3]);
    const wanted = await model.reconstruct(x).floats();
    let from = original;
    for (const name of ["strip.ckpt", "strip.safetensors", "flax", "sub/flax.msgpack", "strip.pth"]) {
      const out = join(folder, name);
      expect(await runCommandLine(["convert", from, out, "--strip"])).toBe(0);
      const copy = await VQGAN.load(out);
      expect(await copy.reconstruct(x).floats()).toEqual(wanted);
      expect(copy.config.ddconfig).toEqual(tiny.ddconfig);
      copy.dispose();
      from = out;
    }
    const flax = join(folder, "flax", "flax_model.msgpack");
    expect(await readFile(flax)).toEqual(await readFile(join(folder, "sub", "flax.msgpack")));
    model.dispose();
  });

  test("may be converted onto itself, and is left alone when converting fails", async () => {
    const path = await convert(original, "self.safetensors");
    await convert(path, "self.safetensors", { optimizers: false });
    const size = (await stat(path)).size;
    expect(size).toBeLessThan((await stat(original)).size / 2);
    const failing = withFile(path, (file) => {
      file.tensors.set("encoder.conv_in.weight", {
        ...file.tensors.get("encoder.conv_in.bias")!,
        read: () => Promise.reject(new Error("the disk is on fire")),
      });
      return convertCheckpoint(file, path, { config: configOf(file).config });
    });
    await expect(failing).rejects.toThrow();
    expect((await stat(path)).size).toBe(size);
  });

  test("of an older Tessera, whose batch norm counted in floats, counts in integers", async () => {
    const ckpt = await convert(
      fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url)),
      "faces.ckpt",
    );
    const key = "loss.discriminator.main.3.num_batches_tracked";
    await withFile(ckpt, async ({ tensors }) => {
      const [count] = await tensors.get(key)!.read();
      expect([tensors.get(key)!.dtype, typeof count, Number(count) > 0]).toEqual(["i64", "bigint", true]);
    });
  });

  test("by Lightning of something else is converted by its tensors", async () => {
    const from = fileURLToPath(new URL("../../fixtures/micro_pl140_omegaconf_legacy.ckpt", import.meta.url));
    const to = join(folder, "other.ckpt");
    expect(await runCommandLine(["convert", from, to])).toBe(0);
    await withFile(to, async ({ tensors, root }) => {
      await withFile(from, async (original) => {
        expect([...tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
        const key = "loss.discriminator.main.3.num_batches_tracked";
        expect(await tensors.get(key)!.read()).toEqual(await original.tensors.get(key)!.read());
      });
      const told = unwrapOmegaconf((root as Map<string, unknown>).get("hyper_parameters"));
      expect(told).toMatchObject({ n_embed: 64, ddconfig: { ch_mult: [1, 2, 2] } });
    });
  });

  test("of something else is converted by its tensors, but not to Flax", async () => {
    const from = join(folder, "other.pt"), to = join(folder, "other.safetensors");
    const tensors = (["f32", "f16", "bf16"] as const).map((dtype) =>
      [dtype, { name: dtype, dtype, shape: [3], data: () => Float32Array.of(1.5, -2, 0) }] as const
    );
    await writeTorch(from, new Map([["state_dict", new OrderedDict(tensors)]]));
    expect(await runCommandLine(["convert", from, to])).toBe(0);
    expect(await contents(to)).toEqual(await contents(from));
    await expect(withFile(from, (file) => convertCheckpoint(file, join(folder, "no"), { config: null })))
      .rejects
      .toThrow("is not a VQGAN");
  });
});

describe("inspect", () => {
  test("tells the optimizers of both worlds alike, and every tensor", async () => {
    const [own, lightning] = [await inspect(original), await inspect(await asLightning("seen.ckpt"))];
    expect(own.optimizers).toEqual(lightning.optimizers);
    expect(own.optimizers[0]).toMatchObject({ lr: 1e-3, betas: [0.5, 0.9], step: 3 });
    expect([lightning.globalStep, lightning.epoch]).toEqual([3, 1]);
    const codes = { name: "quantize.embedding.weight", shape: [16, 32], dtype: "f32", bytes: 2048 };
    expect(lightning.list).toContainEqual(codes as (typeof lightning.list)[0]);
    expect(formatTensors(lightning)).toMatch(/quantize\.embedding\.weight +\[16,32\] +f32 +2\.0 kB/);
    expect(formatInspectReport(lightning)).toContain('lossconfig: {"target":"taming.modules.losses');
  });

  test("warns of a discriminator that taming would not build by default, or that differs from the published", async () => {
    const warnings = async (discNumLayers: number) => {
      const model = new VQGAN(
        preset("faces", { ...tiny, lossconfig: { ...tiny.lossconfig, discNumLayers } }),
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

  test("the SHA-256, with progress", async () => {
    const seen: number[] = [];
    const { sha256, published } = await hashFile(original, {
      onProgress: (bytes, total) => seen.push(bytes, total),
    });
    const bytes = await readFile(original);
    expect([sha256, published]).toEqual([createHash("sha256").update(bytes).digest("hex"), null]);
    expect(seen.slice(-2)).toEqual([bytes.length, bytes.length]);
  });
});

describe("training goes on", () => {
  test("from a .ckpt by Tessera exactly as from its safetensors", async () => {
    const ckpt = await convert(original, "exact.ckpt");
    const resumed = await finish(await resumeRun(ckpt, { steps: 5 }));
    const same = await convert(original, "same/checkpoints/last.safetensors");
    const straight = await finish(await resumeRun(same, { steps: 5 }));
    expect(await contents(resumed)).toEqual(await contents(straight));
  });

  test("from a .ckpt by Lightning with both Adams, step and epoch", async () => {
    const path = await asLightning("lightning.ckpt");
    const goingOn = await beginRun({
      start: { from: path, goOn: true },
      perceptual: "none",
      options: { ...options, steps: 9, name: "on" },
      out: join(folder, "on"),
    });
    expect([goingOn.trainer.step, goingOn.epoch]).toEqual([3, 1]);
    expect(goingOn.settings.model.lossconfig.discStart).toBe(1);
    expect(goingOn.notes.at(-1)).toMatch(/optimizers: both Adams from .*lightning\.ckpt, at step 3, epoch 1/);
    const own = await resumeRun(await convert(original, "own/checkpoints/last.safetensors"), { steps: 9 });
    const step = ({ trainer }: Run) =>
      asyncScope(async () => {
        await trainer.trainStep([tensor(draws("x", 1536), [2, 16, 16, 3])]);
        return await trainer.model.decoder.conv_out.weight.floats();
      });
    expect(await step(goingOn)).toEqual(await step(own));
    for (const { trainer } of [goingOn, own]) {
      trainer.dispose();
      trainer.model.dispose();
    }
  });

  test("with a new discriminator, of another depth, and its new optimizer", async () => {
    const path = await asLightning("deeper.ckpt");
    const { trainer, notes } = await beginRun({
      start: { from: path, goOn: true, overrides: { lossconfig: { discNumLayers: 2 } } },
      perceptual: "none",
      options: { ...options, steps: 9, name: "deeper" },
      out: join(folder, "deeper"),
    });
    expect(notes.join("\n")).toContain("no discriminator that fits in the file");
    expect([trainer.optimizers.generator.state().size > 0, trainer.optimizers.discriminator.state().size])
      .toEqual([true, 0]);
    trainer.dispose();
    trainer.model.dispose();
  });

  test("by the command line, which asks for pictures and more steps", async () => {
    const path = await asLightning("line.ckpt");
    const words = ["finetune", "--resume", path, "--no-lpips", "--size", "16", "--out", join(folder, "line")];
    expect(await runCommandLine([...words, "--steps", "3", "--data", faces])).toBe(2);
    expect(await runCommandLine(words)).toBe(2);
    expect(await runCommandLine([...words, "--steps", "4", "--data", faces])).toBe(0);
  });

  test("since Lightning 1.6 steps are counted by optimizer", async () => {
    const path = await asLightning("new.ckpt", (root) => {
      root.set("pytorch-lightning_version", "2.5.1").set("global_step", 6);
    });
    expect(await readProgress(path)).toMatchObject({ step: 3 });
  });

  test("not with optimizers that are not taming's", async () => {
    type State = Map<string, Map<string, unknown>[]>;
    const group = (root: Map<string, unknown>) =>
      (root.get("optimizer_states") as State[])[0].get("param_groups")![0];
    const betas = await asLightning("betas.ckpt", (root) => group(root).set("betas", new Tuple([0.9, 0.95])));
    await expect(readProgress(betas)).rejects.toThrow(/Adam has betas 0\.9, 0\.95 .*start: \{ from: /);
    const decay = await asLightning("decay.ckpt", (root) => group(root).set("weight_decay", 0.01));
    await expect(readProgress(decay)).rejects.toThrow(
      "optimizer 0 has weight_decay 0.01, which taming's Adam",
    );
    const few = await asLightning("few.ckpt", (root) => group(root).set("params", [0, 1]));
    await expect(readProgress(few)).rejects.toThrow(
      /optimizer 0 has 2 parameters, the weights beside it \d+/,
    );
    await expect(readProgress(join(folder, "strip.ckpt"))).rejects.toThrow(
      "holds weights but no run to resume",
    );
  });
});
