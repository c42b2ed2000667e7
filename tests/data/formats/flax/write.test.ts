// Writing Flax: models written and read back, in chunks and as bfloat16.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  guessConfig,
  inspect,
  openCheckpoint,
  type TensorToWrite,
  toWrite,
  writeFlax,
} from "../../../../data/index.ts";
import { VQGAN } from "../../../../nn/vqgan.ts";
import { tensor } from "../../../../src/index.ts";
import { fillState, golden, picture, tinyConfig } from "../../../support/goldens.ts";
import { maxError, toNCHW } from "../../../support/numbers.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url));

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-flax-"))));
afterAll(() => rm(folder, { recursive: true }));

interface Legacy {
  forward: { indices: number[] };
  jax_legacy_attention: { indices: number[]; rec_from_same_q_first48: number[] };
}

/** Makes the tiny model of the goldens, with its tensors ready to be written. */
function tinyModel(): { model: VQGAN; tensors: (dtype?: "f32" | "bf16") => TensorToWrite[] } {
  const model = new VQGAN(tinyConfig, null);
  fillState(model.stateDict());
  const tensors = (dtype: "f32" | "bf16" = "f32") =>
    [...model.stateDict()].map(([name, t]) => {
      return { name, shape: t.shape, dtype, data: async () => Float32Array.from(await t.floats()) };
    });
  return { model, tensors };
}

describe("writing and reading back", () => {
  test("tensors that were read from Flax are written again byte for byte", async () => {
    const original = fixture("micro_flax_new.msgpack");
    const file = await openCheckpoint(original);
    const path = join(folder, "again.msgpack");
    const tensors = [...file.tensors].map(([name, t]) => toWrite(name, t));
    await writeFlax(path, tensors, guessConfig({ tensors: tinyShapes() }).config);
    await file.close();
    expect(await readFile(path)).toEqual(await readFile(original));
  });

  /** The shapes of the tiny model, because the fixture holds only a few tensors. */
  function tinyShapes() {
    const { model } = tinyModel();
    const shapes = new Map([...model.stateDict()].map(([key, t]) => [key, { shape: t.shape }]));
    model.dispose();
    return shapes;
  }

  test("a model opens from the folder, and from the file inside, with the same bits", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "model");
    await mkdir(path);
    const weights = join(path, "flax_model.msgpack");
    const shapes = new Map([...model.stateDict()].map(([key, t]) => [key, { shape: t.shape }]));
    const { config } = guessConfig({ tensors: shapes });
    await writeFlax(weights, tensors(), { ...config, ddconfig: tinyConfig.ddconfig });
    const images = tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]);
    const wanted = await model.reconstruct(images).floats();
    for (const source of [path, weights]) {
      const copy = await VQGAN.load(source);
      expect(copy.config.ddconfig).toEqual(tinyConfig.ddconfig);
      expect(await copy.reconstruct(images).floats()).toEqual(wanted);
      copy.dispose();
    }
    const report = await inspect(path);
    expect([report.format, report.architecture?.nEmbed]).toEqual(["flax", 64]);
    expect(report.hyperParameters).toMatchObject({ ch_mult: [1, 2, 2], resolution: 32, embed_dim: 16 });
    model.dispose();
  });

  test("with the attention order of vqgan-jax before July 2022, as in the golden", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "legacy");
    await mkdir(path);
    await writeFlax(join(path, "flax_model.msgpack"), tensors(), tinyConfig);
    const copy = await VQGAN.load(path, { config: { attentionOrder: "vqgan-jax-legacy" } });
    const { forward, jax_legacy_attention: wanted } = golden<Legacy>("tiny_forward");
    const encoded = copy.encode(tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]));
    expect(Array.from(await encoded.indices.ints())).toEqual(wanted.indices);
    const made = copy.decodeTokens(forward.indices, [8, 8]);
    const first = toNCHW(await made.floats(), made.shape).slice(0, 48);
    expect(maxError(first, wanted.rec_from_same_q_first48)).toBeLessThan(4e-5);
    copy.dispose();
    model.dispose();
  });

  test("in chunks", async () => {
    const { model, tensors } = tinyModel();
    const [whole, cut] = [join(folder, "whole.msgpack"), join(folder, "cut.msgpack")];
    await writeFlax(whole, tensors(), tinyConfig);
    await writeFlax(cut, tensors(), tinyConfig, 1000);
    const [a, b] = [await openCheckpoint(whole), await openCheckpoint(cut)];
    expect(b.byteLength).toBeGreaterThan(a.byteLength + 1000);
    for (const [key, t] of a.tensors) {
      expect([key, await b.tensors.get(key)!.read()]).toEqual([key, await t.read()]);
    }
    await a.close();
    await b.close();
    model.dispose();
  });

  test("bfloat16", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "brain.msgpack");
    await writeFlax(path, tensors("bf16"), tinyConfig);
    const file = await openCheckpoint(path);
    const key = "decoder.conv_in.weight";
    expect(file.tensors.get(key)?.dtype).toBe("bf16");
    const wanted = await model.stateDict().get(key)!.floats();
    const far = Array.from(await file.tensors.get(key)!.read(), Number).filter((v, i) =>
      Math.abs(v - wanted[i]) > 2 ** -8 * Math.abs(wanted[i])
    );
    expect(far).toEqual([]);
    await file.close();
    model.dispose();
  });

  test("a config.json that belongs to something else stays unchanged", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "other");
    await mkdir(path);
    await writeFile(join(path, "config.json"), '{"name":"mine"}');
    const writing = writeFlax(join(path, "flax_model.msgpack"), tensors(), tinyConfig);
    await expect(writing).rejects.toThrow("belongs to something else");
    expect(await readFile(join(path, "config.json"), "utf8")).toBe('{"name":"mine"}');
    model.dispose();
  });
});
