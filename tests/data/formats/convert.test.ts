// Converting whole checkpoints between all formats and back.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../../cli/program.ts";
import { vqModelArguments } from "../../../data/formats/torch/lightning.ts";
import {
  configOf,
  convertCheckpoint,
  OrderedDict,
  unwrapOmegaconf,
  writeTorch,
} from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { tensor } from "../../../src/index.ts";
import { readProgress } from "../../../train/index.ts";
import { draws } from "../../support/numbers.ts";
import { contents, trainedCheckpoint, trainedConfig } from "../../support/trained.ts";
import { withFile } from "../../support/with_file.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-convert-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { original, convert, asLightning } = await trainedCheckpoint(folder);

describe("a whole checkpoint", () => {
  test("keeps everything when converted to torch and back", async () => {
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
      const model = new VQGAN(trainedConfig, null, { withLoss: true });
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

  test("of Lightning keeps optimizers and hyper-parameters when converted to safetensors and back", async () => {
    const plain = await asLightning("plain.ckpt");
    const there = await convert(plain, "plain.safetensors");
    const back = await convert(there, "back.ckpt");
    expect(await contents(there)).toEqual(await contents(original));
    expect(await contents(back)).toEqual(await contents(original));
    expect(await readProgress(there)).toEqual({ step: 3, epoch: 1, lr: 1e-3, betas: [0.5, 0.9] });
    const told = await withFile(back, ({ root }) => Promise.resolve(root as Map<string, unknown>));
    expect(unwrapOmegaconf(told.get("hyper_parameters"))).toEqual(vqModelArguments(trainedConfig));
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
      expect(copy.config.ddconfig).toEqual(trainedConfig.ddconfig);
      copy.dispose();
      from = out;
    }
    const flax = join(folder, "flax", "flax_model.msgpack");
    expect(await readFile(flax)).toEqual(await readFile(join(folder, "sub", "flax.msgpack")));
    model.dispose();
  });

  test("may be converted onto itself, and stays unchanged if converting fails", async () => {
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

  test("of an older Tessera, whose batch norm counted in floats, is converted to integer counts", async () => {
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

  test("by Lightning that holds another model keeps its tensors", async () => {
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

  test("that holds another model keeps its tensors, but cannot become Flax", async () => {
    const from = join(folder, "other.pt"), to = join(folder, "other.safetensors");
    const tensors = (["f32", "f16", "bf16"] as const).map((dtype) =>
      [dtype, { name: dtype, dtype, shape: [3], data: () => Float32Array.of(1.5, -2, 0) }] as const
    );
    await writeTorch(from, new Map([["state_dict", new OrderedDict(tensors)]]));
    expect(await runCommandLine(["convert", from, to])).toBe(0);
    expect(await contents(to)).toEqual(await contents(from));
    await expect(withFile(from, (file) => convertCheckpoint(file, join(folder, "no"), { config: null })))
      .rejects
      .toThrow("other.pt cannot be written for vqgan-jax (Flax): it is not a VQGAN");
  });
});
