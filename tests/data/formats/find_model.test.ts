// Finding the VQGAN in a file: neighbours of VQGAN are named and refused, and damaged files cost nothing.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../data/formats/config.ts";
import { findModel } from "../../../data/formats/find_model.ts";
import type { StoredTensor } from "../../../data/formats/stored_tensor.ts";
import { inspect, writeSafetensors } from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { memory } from "../../../src/index.ts";
import { saveWeights } from "../../../train/index.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-find-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const path = join(folder, "other.safetensors");

/** Some keys of a model as its own code names them, with a number of channels where that matters. */
const neighbours: [name: string, keys: Record<string, number[]>][] = [
  ["MoVQ", {
    ...coder(3),
    "decoder.norm_out.norm_layer.weight": [4],
    "decoder.norm_out.conv_y.weight": [4, 4],
  }],
  ["MoVQ", { ...coder(3), "decoder.conv_norm_out.conv_y.weight": [4, 4] }],
  ["VQSegmentationModel", { ...coder(182), colorize: [3, 182] }],
  ["VAR's multi-scale VQVAE", { ...coder(3), "quantize.quant_resi.qresi_ls.0.weight": [4] }],
  ["SimVQ", { ...coder(3), "quantize.embedding_proj.weight": [4, 4] }],
  ["RQ-VAE", { "encoder.conv_in.weight": [4, 3], "quantizer.codebooks.0.weight": [9, 4] }],
  ["MaskGIT's VQGAN in torch", { ...coder(3), "encoder.mid.0.norm1.weight": [4] }],
  ["Open-MAGVIT2", { "encoder.conv_in.weight": [4, 3], "encoder.mid_block.0.conv1.weight": [4, 4] }],
  ["MaskGIT's VQGAN", { "encoder.ResBlock_0.Conv_0.weight": [4, 4], "quantizer.codebook": [4, 4] }],
  ["ViT-VQGAN", { "encoder.to_patch_embedding.0.weight": [4, 4], "quantizer.embedding.weight": [9, 4] }],
  ["TiTok", { latent_tokens: [32, 4], "quantize.embedding.weight": [9, 4] }],
  ["OpenAI's dVAE of DALL-E", { "blocks.input.w": [4, 3], "blocks.input.b": [4] }],
  ["DALLE-pytorch's DiscreteVAE", { "codebook.weight": [9, 4], "decoder.0.weight": [4, 4] }],
  ["CodeFormer", { "encoder.blocks.0.weight": [4, 3], "generator.blocks.0.weight": [4, 4] }],
  ["VQ-VAE-2", { "enc_b.blocks.0.weight": [4, 3], "quantize_t.embed": [4, 9] }],
  ["Paella's VQGAN", { "in_block.1.weight": [4, 3], "vquantizer.codebook.weight": [9, 4] }],
  ["AutoencoderKL", { "encoder.conv_in.weight": [4, 3], "encoder.mid.block_1.conv1.weight": [4, 4] }],
  ["AutoencoderKL", {
    "decoder.conv_out.weight": [3, 4],
    "decoder.mid_block.resnets.0.conv1.weight": [4, 4],
  }],
];

function coder(channels: number): Record<string, number[]> {
  return {
    "encoder.conv_in.weight": [4, channels],
    "decoder.conv_out.weight": [channels, 4],
    "quantize.embedding.weight": [9, 4],
  };
}

async function write(keys: Record<string, number[]>, prefix = ""): Promise<void> {
  const tensors = Object.entries(keys).map(([key, shape]) => {
    const data = () => new Float32Array(shape.reduce((a, b) => a * b, 1));
    return { name: prefix + key, shape, dtype: "f32", data } as const;
  });
  await writeSafetensors(path, tensors);
}

describe("neighbours of VQGAN are refused by name, in one line with the file's name", () => {
  for (const [name, keys] of neighbours) {
    test(`${name}: ${Object.keys(keys).at(-1)}`, async () => {
      await write(keys);
      const error = await VQGAN.load(path).catch((error: Error) => error);
      expect((error as Error).message).toMatch(/^[^\n]+; inspect lists what is in it$/);
      expect((error as Error).message).toContain(`${path}: this is ${name}`);
      await write(keys, "first_stage_model.");
      await expect(VQGAN.load(path)).rejects.toThrow(`${path}: this is ${name}`);
      await expect(VQGAN.load(path)).rejects.toThrow("(under first_stage_model)");
      expect((await inspect(path)).notVQGAN).toContain(`this is ${name}`);
    });
  }

  test("what is not known is described", async () => {
    await write({ "a.weight": [1], "b.0.weight": [1], "b.1.weight": [1] });
    await expect(VQGAN.load(path)).rejects.toThrow(
      `${path}: not a VQGAN that is known here, under any prefix: its 3 tensors are named a, b; inspect`,
    );
    await write({});
    await expect(VQGAN.load(path)).rejects.toThrow(`${path}: there are no tensors in it`);
  });
});

test("a file with very many tensors and long names is searched in little time", () => {
  const tensor = { shape: [1] } as unknown as StoredTensor;
  const stored = new Map(
    Array.from({ length: 200_000 }, (_, i) => [`${"x".repeat(i % 40)}.${i}.weight`, tensor]),
  );
  stored.set(`${"y".repeat(1e7)}.encoder.conv_in.weight`, tensor);
  const started = Date.now();
  const { model } = findModel(stored);
  expect("problem" in model && model.problem.length < 1000).toBe(true);
  expect(Date.now() - started).toBeLessThan(20_000); // 0.2 s on a free machine
});

describe("a config in a file", () => {
  const config = preset("faces", {
    embedDim: 4,
    nEmbed: 9,
    ddconfig: { ch: 32, chMult: [1, 1], zChannels: 4, attnResolutions: [64] },
  });
  const model = new VQGAN(config, null);

  /** Saves the model with another config in the metadata, and loads it. */
  async function load(changes: Record<string, unknown>): Promise<string> {
    const { ddconfig, ...rest } = { ddconfig: {}, ...changes };
    const changed = { ...config, ...rest, ddconfig: { ...config.ddconfig, ...ddconfig as object } };
    const fake = { stateDict: () => model.stateDict(), config: changed } as unknown as VQGAN;
    await saveWeights(path, fake);
    const before = memory().liveBytes;
    const error = await VQGAN.load(path).then(() => "loaded", (error: Error) => error.message);
    expect(memory().liveBytes).toBe(before);
    return error;
  }

  const wrong: [Record<string, unknown>, string][] = [
    [
      { ddconfig: { numResBlocks: 1e8 } },
      "ddconfig.numResBlocks is 100000000, expected a whole number from 1 to 64",
    ],
    [{ ddconfig: { attnResolutions: null } }, "ddconfig.attnResolutions is null, expected a list"],
    [
      { ddconfig: { chMult: Array(1e5).fill(1) } },
      "ddconfig.chMult is [1, 1, 1, 1, 1, 1, ...], expected a list of 1 to 16",
    ],
    [{ ddconfig: { chMult: [1, 1e4] } }, "so level 1 has 320000 channels"],
    [{ ddconfig: { ch: "\x1b[31m" } }, 'ddconfig.ch is "\\u001b[31m", expected a whole number'],
    [{ nEmbed: 2 ** 40 }, "nEmbed is 1099511627776, expected a whole number from 1 to 16777216"],
    [{ embedDim: -1 }, "embedDim is -1"],
    [{ quantizer: "FSQ!" }, 'quantizer is "FSQ!", expected the name of a quantizer'],
    [{ quantizerOptions: [8] }, "quantizerOptions is [8], expected an object"],
    [{ lossconfig: 3 }, "lossconfig is 3, expected an object"],
  ];
  for (const [changes, message] of wrong) {
    test(`that cannot be built is refused: ${message}`, async () => {
      const error = await load(changes);
      expect(error).toMatch(/^[^\n]*$/);
      expect(error).toContain(`${path}: the config in its metadata cannot be used: `);
      expect(error).toContain(message);
    });
  }

  test("with a quantizer that is not here, or options that it does not have, is refused", async () => {
    const error = await load({ quantizer: "lattice" }); // other tests may have added quantizers to the list
    expect(error).toContain(
      `${path}: its quantizer is "lattice", but there are nearest, normalized, gumbel`,
    );
    expect(error).toContain(" here; registerQuantizer() adds one");
    expect(await load({ quantizerOptions: { levels: [8] } })).toContain(
      'the quantizer "nearest" has no options, but quantizerOptions has "levels"',
    );
  });

  test("that does not fit the tensors is refused before memory is taken", async () => {
    const error = await load({
      nEmbed: 2 ** 24,
      embedDim: 2 ** 16,
      ddconfig: { numResBlocks: 64, ch: 8192 },
    });
    expect(error).toContain(`${path}: `);
    expect(error).toMatch(/^[^\n]* of the autoencoder's tensors do not fit the model: [^\n]*$/);
    expect(error).toContain("are missing (encoder.down.0.block.1.norm1.weight, ");
  });

  test("is not needed: shapes tell what older files do not say", async () => {
    const { quantizer: _, ddconfig: { midAttention: __, ...ddconfig }, ...rest } = config;
    const older = { stateDict: () => model.stateDict(), config: { ...rest, ddconfig } } as unknown as VQGAN;
    await saveWeights(path, older);
    expect((await inspect(path)).architecture).toMatchObject(config);
  });
});

describe("weights that are not finite", () => {
  for (const [value, dtype] of [[NaN, "f32"], [Infinity, "f16"], [-Infinity, "bf16"]] as const) {
    test(`${value} in ${dtype} is refused, naming the first tensor and how many there are`, async () => {
      const model = new VQGAN(preset("faces"), null);
      const tensors = [...model.stateDict()].map(([name, t]) => {
        const values = new Float32Array(t.size);
        if (name === "decoder.conv_in.weight") values.fill(value, 5, 8);
        if (name === "quant_conv.bias") values[0] = value;
        return { name, shape: t.shape, dtype, data: () => values } as const;
      });
      model.dispose();
      await writeSafetensors(path, tensors);
      const before = memory().liveBytes;
      await expect(VQGAN.load(path)).rejects.toThrow(
        new RegExp(
          `^${path}: 4 of its numbers are NaN or infinite, in 2 of \\d+ tensors, first in decoder.conv_in.weight; `,
        ),
      );
      expect(memory().liveBytes).toBe(before);
    });
  }
});
