// Models in folders, and in several files with an index: transformers' and diffusers' names, and damaged indices.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../data/formats/config.ts";
import { inDiffusers } from "../../../data/formats/families/diffusers.ts";
import type { TensorToWrite } from "../../../data/formats/values.ts";
import { inspect, openCheckpoint, writeFlax, writeSafetensors, writeTorch } from "../../../data/index.ts";
import { loadVQGAN, VQGAN } from "../../../nn/index.ts";
import { Random } from "../../../src/index.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-folder-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const config = preset("faces", {
  embedDim: 4,
  nEmbed: 9,
  ddconfig: { ch: 32, chMult: [1, 1], zChannels: 4, attnResolutions: [64] },
});
const model = new VQGAN(config, new Random(1));
const tensors = await Promise.all([...model.stateDict()].map(async ([name, t]): Promise<TensorToWrite> => {
  const values = await t.floats() as Float32Array<ArrayBuffer>;
  return { name, shape: t.shape, dtype: "f32", data: () => values };
}));
const inDiffusersNames = tensors.map((t) => ({ ...t, ...inDiffusers(t.name, t.shape, 2) }));

async function expectWhole(path: string): Promise<void> {
  const { model: loaded } = await loadVQGAN(path);
  for (const [key, t] of loaded.stateDict()) {
    expect([key, await t.floats()]).toEqual([key, await model.stateDict().get(key)!.floats()]);
  }
  loaded.dispose();
}

type Write = (path: string, part: readonly TensorToWrite[]) => Promise<void>;

/** Writes three files with an index. @returns its path */
async function inShards(
  name: string,
  index: string,
  files: string,
  all: readonly TensorToWrite[],
  write: Write,
  nameOf = (key: string) => key,
): Promise<string> {
  await mkdir(join(folder, name), { recursive: true });
  const weightMap: Record<string, string> = {};
  for (let i = 0; i < 3; i++) {
    const file = files.replace("*", `0000${i + 1}-of-00003`);
    const part = all.filter((_, j) => j % 3 === i);
    await write(join(folder, name, file), part);
    for (const t of part) weightMap[nameOf(t.name)] = file;
  }
  await writeFile(join(folder, name, index), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  return join(folder, name, index);
}

const torch: Write = (path, part) => writeTorch(path, new Map(part.map((t) => [t.name, t])));
const flax: Write = (path, part) => writeFlax(path, part, config);

describe("a model in several files", () => {
  const kinds: [name: string, index: string, files: string, all: readonly TensorToWrite[], write: Write][] = [
    ["safetensors", "model.safetensors.index.json", "model-*.safetensors", tensors, writeSafetensors],
    ["torch", "pytorch_model.bin.index.json", "pytorch_model-*.bin", tensors, torch],
    ["flax", "flax_model.msgpack.index.json", "flax_model-*.msgpack", tensors, flax],
    [
      "diffusers",
      "diffusion_pytorch_model.safetensors.index.json",
      "part-*.safetensors",
      inDiffusersNames,
      writeSafetensors,
    ],
    [
      "old_variant",
      "diffusion_pytorch_model.fp16.bin.index.json",
      "part-*.fp16.bin",
      inDiffusersNames,
      torch,
    ],
    [
      "variant",
      "diffusion_pytorch_model.safetensors.index.fp16.json",
      "part-*.safetensors",
      inDiffusersNames,
      writeSafetensors,
    ],
  ];
  for (const [name, index, files, all, write] of kinds) {
    test(`${name}: by its folder and by its index`, async () => {
      const path = await inShards(name, index, files, all, write);
      await expectWhole(path);
      await expectWhole(join(folder, name));
      const report = await inspect(join(folder, name));
      expect([report.path, report.tensors]).toEqual([path, tensors.length]);
    });
  }

  const damaged: [name: string, index: unknown, message: RegExp][] = [
    ["no JSON", "{", /it has no weight_map, so it is not the index of a model/],
    [
      "a name outside",
      { weight_map: { a: "../model.safetensors" } },
      /it names "\.\.\/model\.safetensors", which is not the name of/,
    ],
    ["a number", { weight_map: { a: 3 } }, /it names 3, which is not the name/],
    ["no files", { weight_map: {} }, /it names 0 files, expected 1 to 1000/],
    ["very many files", {
      weight_map: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [i, `${i}`])),
    }, /it names 2000 files/],
    ["a missing file", { weight_map: { a: "none.safetensors" } }, /none\.safetensors: there is no such file/],
    [
      "a missing tensor",
      { weight_map: { a: "one.safetensors", b: "one.safetensors" } },
      /it lists 2 tensors, but its files hold 1/,
    ],
    [
      "a tensor twice",
      { weight_map: { a: "one.safetensors", b: "two.safetensors" } },
      /two of its files hold the tensor a/,
    ],
  ];
  for (const [name, index, message] of damaged) {
    test(`a damaged index, ${name}, gives one line`, async () => {
      const one = { name: "a", shape: [1], dtype: "f32", data: () => new Float32Array(1) } as const;
      for (const file of ["one", "two"]) await writeSafetensors(join(folder, `${file}.safetensors`), [one]);
      const path = join(folder, "model.safetensors.index.json");
      await writeFile(path, typeof index === "string" ? index : JSON.stringify(index));
      const error = await openCheckpoint(path).catch((error: Error) => error);
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message).toMatch(/^[^\n]*$/);
    });
  }
});

describe("a folder", () => {
  beforeAll(async () => {
    for (const name of ["whole", "pipeline/vqvae", "empty"]) {
      await mkdir(join(folder, name), { recursive: true });
    }
    await writeSafetensors(join(folder, "whole/diffusion_pytorch_model.safetensors"), inDiffusersNames);
    await writeSafetensors(join(folder, "whole/diffusion_pytorch_model.fp16.safetensors"), []);
    await torch(join(folder, "whole/diffusion_pytorch_model.bin"), []);
    await writeFile(join(folder, "pipeline/model_index.json"), "{}");
  });

  test("with several copies gives the whole precision, as safetensors", async () => {
    await expectWhole(join(folder, "whole"));
  });

  test("of a pipeline names the model inside it", async () => {
    await expect(openCheckpoint(join(folder, "pipeline"))).rejects.toThrow(
      `${join(folder, "pipeline")}: this is a folder with several models; name the one that is meant, ${
        join(folder, "pipeline", "vqvae")
      }`,
    );
  });

  test("without weights is refused", async () => {
    await expect(openCheckpoint(join(folder, "empty"))).rejects.toThrow(
      "this folder holds no weights under a name",
    );
  });

  test("with settings that cannot be built is refused", async () => {
    for (
      const [settings, message] of [
        [
          { _class_name: "VQModel", norm_num_groups: 16 },
          "its config.json says norm_num_groups 16; only 32 is supported",
        ],
        [
          { _class_name: "VQModel", act_fn: "gelu" },
          "its config.json says act_fn gelu; only silu is supported",
        ],
      ] as const
    ) {
      await writeFile(join(folder, "whole/config.json"), JSON.stringify(settings));
      await expect(VQGAN.load(join(folder, "whole"))).rejects.toThrow(message);
      expect((await inspect(join(folder, "whole"))).notVQGAN).toBe(message);
    }
    await writeFile(join(folder, "whole/config.json"), "damaged");
    await expectWhole(join(folder, "whole"));
  });
});
