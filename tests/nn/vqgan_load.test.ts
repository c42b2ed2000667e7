// Loading a model from a file: every storage type, tensors that are not read, and tensors that are missing.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TensorToWrite, writeSafetensors } from "../../data/index.ts";
import { loadVQGAN, VQGAN } from "../../nn/vqgan.ts";
import { currentBackend, memory, OutOfMemoryError, type Tensor, tensor } from "../../src/index.ts";
import { fillState, picture, tinyConfig } from "../support/goldens.ts";

describe("loading", () => {
  let folder = "";
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-load-"))));
  afterAll(() => rm(folder, { recursive: true }));

  const original = new VQGAN(tinyConfig, null, { withLoss: true });
  fillState(original.stateDict());

  /** Writes the tiny model, or the part of it that `wanted` selects, with some optimizer state. */
  async function write(
    name: string,
    dtype: "f32" | "f16" | "bf16" = "f32",
    wanted: (key: string) => boolean = () => true,
  ): Promise<string> {
    const path = join(folder, name);
    const entry = ([key, t]: [string, Tensor]): TensorToWrite => ({
      name: key,
      shape: t.shape,
      dtype,
      data: async () => Float32Array.from(await t.floats()),
    });
    const moments = { name: "optimizer.0.exp_avg", shape: [4], dtype, data: () => new Float32Array(4) };
    await writeSafetensors(path, [
      ...[...original.stateDict()].filter(([key]) => wanted(key)).map(entry),
      moments,
    ]);
    return path;
  }
  const images = () => tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]);

  test("inference reads only the autoencoder, and gives the same bits", async () => {
    const path = await write("all.safetensors");
    const autoencoder = [...original.generatorParameters().values()].reduce((sum, t) => sum + 4 * t.size, 0);
    const before = memory().liveBytes;
    const seen: number[] = [];
    const model = await VQGAN.load(path, { onProgress: (bytes, total) => seen.push(bytes, total) });
    expect(memory().liveBytes - before).toBe(autoencoder);
    expect(seen.slice(-2)).toEqual([autoencoder, autoencoder]);
    expect(model.loss).toBe(null);
    expect(model.config.ddconfig.chMult).toEqual([1, 2, 2]);
    expect(await model.reconstruct(images()).floats()).toEqual(await original.reconstruct(images()).floats());
    model.dispose();
    expect(memory().liveBytes).toBeGreaterThanOrEqual(before);
  });

  test("half a model encodes or decodes with the same results, and throws where the other half is needed", async () => {
    const path = await write("halves.safetensors");
    const bytes = memory().liveBytes;
    const size = (t: readonly Tensor[]) => t.reduce((sum, { size }) => sum + 4 * size, 0);
    const parameters = (model: VQGAN, prefix: string) =>
      [...model.generatorParameters()].filter(([key]) => key.startsWith(prefix)).map(([, t]) => t);
    const encoder = await VQGAN.load(path, { only: "encoder" });
    const whole = size([...original.generatorParameters().values()]);
    expect(memory().liveBytes - bytes).toBe(whole - size(parameters(original, "decoder.")));
    const x = images(), { indices, latents } = encoder.encode(x), expected = original.encode(x);
    expect(await indices.ints()).toEqual(await expected.indices.ints());
    expect(() => encoder.decode(latents)).toThrow("made without its decoder");

    const decoder = await VQGAN.load(path, { only: "decoder" });
    expect(parameters(decoder, "encoder.")).toEqual([]);
    expect(await decoder.decodeTokens(indices).floats()).toEqual(
      await original.decodeTokens(indices).floats(),
    );
    expect(() => decoder.encode(x)).toThrow("made without its encoder");
    expect(() => new VQGAN(tinyConfig, null, { only: "decoder", withLoss: true })).toThrow(
      "needs both halves",
    );
    for (const model of [encoder, decoder]) model.dispose();
  });

  test("training finds discriminator and perceptual network in the same file", async () => {
    const path = await write("all.safetensors");
    const { model, discriminator, perceptual, report } = await loadVQGAN(path, {
      withLoss: true,
      config: { lossconfig: { discWeight: 0.5 } },
    });
    expect([discriminator, perceptual]).toEqual(["file", true]);
    expect(report.unexpected).toEqual(["optimizer.0.exp_avg"]);
    expect(report.missing).toEqual([]);
    expect(model.config.lossconfig.discWeight).toBe(0.5);
    expect(model.loss!.perceptual_loss!.ready).toBe(true);
    const [own, copy] = [original, model].map((m) =>
      m.loss!.discriminator.stateDict().get("main.3.running_var")!
    );
    expect(await copy.floats()).toEqual(await own.floats());
    model.dispose();
  });

  for (const [dtype, precision] of [["f16", 2 ** -11], ["bf16", 2 ** -8]] as const) {
    test(`${dtype} weights are widened`, async () => {
      const path = await write(`${dtype}.safetensors`, dtype);
      const model = await VQGAN.load(path);
      const [own, copy] = [original, model].map((m) => m.decoder.conv_in.weight);
      const wanted = await own.floats();
      const far = (await copy.floats()).filter((v, i) =>
        Math.abs(v - wanted[i]) > precision * Math.abs(wanted[i]) + 1e-7
      );
      expect(far.length).toBe(0);
      model.dispose();
    });
  }

  test("the config that Tessera wrote wins over a guess from shapes", async () => {
    const path = join(folder, "config.safetensors");
    const tensors = [...original.generatorParameters()].map(([name, t]): TensorToWrite => ({
      name,
      shape: t.shape,
      dtype: "f32",
      data: async () => Float32Array.from(await t.floats()),
    }));
    const config = { ...tinyConfig, attentionOrder: "vqgan-jax-legacy", legacyBeta: false };
    await writeSafetensors(path, tensors, { config: JSON.stringify(config) });
    const model = await VQGAN.load(path, { config: { legacyBeta: true } });
    expect([model.config.attentionOrder, model.config.legacyBeta]).toEqual(["vqgan-jax-legacy", true]);
    model.dispose();
    await writeSafetensors(path, tensors, { config: "{" });
    await expect(VQGAN.load(path)).rejects.toThrow("the config in its metadata cannot be used");
  });

  test("a file without discriminator gives a new one, the same for the same seed", async () => {
    const path = await write("bare.safetensors", "f32", (key) => !key.startsWith("loss."));
    const weights = async (seed: number) => {
      const { model, discriminator, perceptual } = await loadVQGAN(path, { withLoss: true, seed });
      expect([discriminator, perceptual]).toEqual(["new", false]);
      expect(() => model.loss!.perceptual_loss!.features(images())).toThrow("no weights are loaded");
      const values = await model.discriminatorParameters().get("loss.discriminator.main.0.weight")!.floats();
      model.dispose();
      return values;
    };
    const first = await weights(3);
    expect(first.some((v) => v !== 0)).toBe(true);
    expect(await weights(3)).toEqual(first);
    expect(await weights(4)).not.toEqual(first);
  });

  test("running out of memory while the model is made leaves nothing behind", async () => {
    const path = await write("memory.safetensors");
    const backend = currentBackend(), alloc = backend.alloc.bind(backend);
    const before = memory().liveBytes;
    for (const count of [0, 20, 130]) {
      let left = count;
      backend.alloc = (bytes) => {
        if (left-- > 0) return alloc(bytes);
        throw new OutOfMemoryError("out of memory: as a test", { total: 0 });
      };
      try {
        await expect(VQGAN.load(path, { withLoss: true })).rejects.toThrow("as a test");
      } finally {
        backend.alloc = alloc;
      }
      expect([count, memory().liveBytes]).toEqual([count, before]);
    }
  });

  test("a file that lacks a part of the autoencoder is refused in one line", async () => {
    const path = await write("cut.safetensors", "f32", (key) => key !== "decoder.mid.attn_1.q.bias");
    const before = memory().liveBytes;
    await expect(VQGAN.load(path)).rejects.toThrow(
      /1 of the autoencoder's tensors do not fit the model: 1 is missing \(decoder\.mid\.attn_1\.q\.bias\), \d+ in the file/,
    );
    expect(memory().liveBytes).toBe(before);
  });
});
