// Against onnx and onnxruntime: the checker accepts what Tessera writes, and the graphs compute the same tokens and pixels.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { preset } from "../../data/formats/config.ts";
import { configOf, convertCheckpoint, openCheckpoint } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { asyncScope, Random, tensor } from "../../src/index.ts";
import { saveWeights } from "../../train/index.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

const folder = await mkdtemp(join(tmpdir(), "tessera-onnx-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Small models that have each kind of layer; their weights are random. */
const models = {
  taming: preset("faces", {
    ...{ embedDim: 16, nEmbed: 64 },
    ddconfig: {
      ch: 32,
      chMult: [1, 1, 2],
      numResBlocks: 2,
      resolution: 32,
      attnResolutions: [8],
      zChannels: 32,
    },
  }),
  normalized: preset("faces", {
    ...{ embedDim: 4, nEmbed: 64, quantizer: "normalized" },
    ddconfig: {
      ch: 32,
      chMult: [1, 2],
      resolution: 16,
      attnResolutions: [],
      midAttention: false,
      zChannels: 8,
    },
  }),
  gumbel: preset("faces", {
    ...{ embedDim: 8, nEmbed: 64, quantizer: "gumbel" },
    ddconfig: { ch: 32, chMult: [1, 2], resolution: 16, attnResolutions: [8], zChannels: 8 },
  }),
  legacy: preset("faces", {
    ...{ embedDim: 32, nEmbed: 64, attentionOrder: "vqgan-jax-legacy" },
    ddconfig: {
      ch: 32,
      chMult: [1, 2],
      numResBlocks: 2,
      resolution: 16,
      attnResolutions: [8],
      zChannels: 64,
    },
  }),
};

/** Writes a model as ONNX. @returns the paths of both halves, and the model */
async function exported(name: keyof typeof models, dtype: "f32" | "f16") {
  const path = join(folder, `${name}.${dtype}.safetensors`);
  const made = new VQGAN(models[name], new Random(3));
  await saveWeights(path, made, { dtype });
  made.dispose();
  const file = await openCheckpoint(path);
  const [encoder, decoder] = await convertCheckpoint(file, path.replace(".safetensors", ".onnx"), {
    config: configOf(file).config,
  });
  await file.close();
  return { encoder, decoder, model: await VQGAN.load(path) };
}

describePython("packages.py", ["onnx"], (job) => {
  test("onnx.checker accepts both halves, and infers the shapes that they state", async () => {
    const kinds = [["taming", "f32"], ["taming", "f16"], ["normalized", "f32"], ["gumbel", "f16"]] as const;
    for (const [name, dtype] of kinds) {
      const { encoder, decoder, model } = await exported(name, dtype);
      model.dispose();
      expect(job<Record<string, string>>("onnx", encoder)).toEqual({ tokens: "INT32 batch rows columns" });
      expect(job<Record<string, string>>("onnx", decoder)).toEqual({ pixels: "FLOAT batch 3 height width" });
    }
  });
});

const node = process.env.NODE ?? "node";
const packages = process.env.ONNXRUNTIME ?? "";
const script = fileURLToPath(new URL("onnxruntime.cjs", import.meta.url));

for (const runtime of ["onnxruntime-node", "onnxruntime-web"]) {
  const missing = problem(runtime);
  if (missing) {
    test.skip(`${runtime} computes the same tokens and pixels: ${missing}`, () => {});
    continue;
  }
  describe(runtime, () => {
    for (const name of ["taming", "legacy", "normalized", "gumbel"] as const) {
      for (const dtype of ["f32", "f16"] as const) {
        test(`computes the tokens and pixels of ${name}, ${dtype}, for two pictures of 32x48`, async () => {
          const { encoder, decoder, model } = await exported(name, dtype);
          const [batch, height, width] = [2, 32, 48];
          const images = await asyncScope(() =>
            new Random(4).uniform([batch, height, width, 3], -1, 1).floats()
          );
          const pixels = [...channelsFirst(images, batch, height * width)];
          const asked = join(folder, "job.json");
          await writeFile(
            asked,
            JSON.stringify({ encoder, decoder, pixels, shape: [batch, 3, height, width] }),
          );
          const run = spawnSync(node, [script, runtime, asked], {
            encoding: "utf8",
            maxBuffer: 2 ** 26,
            timeout: 100_000,
          });
          expect({ status: run.status, stderr: run.status === 0 ? "" : run.stderr }).toEqual({
            status: 0,
            stderr: "",
          });
          const found: Record<"tokens" | "pixels", { values: number[]; shape: number[] }> = JSON.parse(
            run.stdout,
          );

          const wanted = await asyncScope(async () => {
            const { indices } = model.encode(tensor(images, [batch, height, width, 3]));
            const made = model.decodeTokens(indices);
            return { tokens: [...await indices.ints()], grid: indices.shape, pixels: await made.floats() };
          });
          model.dispose();
          expect(found.tokens).toEqual({ values: wanted.tokens, shape: [...wanted.grid] });
          expect(found.pixels.shape).toEqual([batch, 3, height, width]);
          const own = channelsFirst(wanted.pixels, batch, height * width);
          const largest = found.pixels.values.reduce((most, v, i) => Math.max(most, Math.abs(v - own[i])), 0);
          expect(largest < 1e-4).toBe(true);
        });
      }
    }
  });
}

/** Why a runtime cannot be asked; null if it can. */
function problem(runtime: string): string | null {
  if (spawnSync(node, ["--version"]).status !== 0) return `there is no ${node}`;
  try {
    createRequire(join(packages || "/nowhere", "package.json")).resolve(runtime);
    return null;
  } catch {
    return `set ONNXRUNTIME to a folder with it, which ". .ci/pythons" does`;
  }
}

/** [batch, pixels, 3] to [batch, 3, pixels]. */
function channelsFirst(values: Float32Array, batch: number, pixels: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p < pixels; p++) {
      for (let c = 0; c < 3; c++) turned[(b * 3 + c) * pixels + p] = values[(b * pixels + p) * 3 + c];
    }
  }
  return turned;
}
