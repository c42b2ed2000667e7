// Files that other libraries wrote, with the tokens and pixels that they compute themselves in float64: diffusers, taming's
// GumbelVQ and Net2Net, latent-diffusion and LlamaGen. The files are too large to be part of this repository.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configOf, convertCheckpoint, hashWeights, openCheckpoint } from "../../data/index.ts";
import { loadVQGAN } from "../../nn/index.ts";
import { asyncScope, tensor } from "../../src/index.ts";
import { maxError } from "../support/numbers.ts";

setDefaultTimeout(60_000);

const shared = fileURLToPath(new URL("../../../shared/fixtures/neighbours", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "tessera-neighbours-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Expected {
  readonly input: { readonly shape: number[]; readonly u8: number[] };
  readonly prequant: { readonly data: number[] };
  readonly ids: { readonly shape: number[]; readonly data: number[] };
  readonly decoded: { readonly data: number[] };
}

/** The file of each, and what is said about it. */
const files: Readonly<Record<string, [path: string, note: string | null]>> = {
  diffusers_f4: ["", "diffusers' VQModel"],
  diffusers_f4_attn: ["diffusion_pytorch_model.safetensors", "diffusers' VQModel"],
  diffusers_f8_amused: ["", "diffusers' VQModel"],
  diffusers_f8_fp16: ["", "diffusers' VQModel"],
  diffusers_old_f4: ["", "diffusers' VQModel"],
  ldm_first_stage_f4: ["model.ckpt", "taming's VQModel, under first_stage_model"],
  taming_net2net_f4: ["model.ckpt", "taming's VQModel, under first_stage_model"],
  llamagen_vq: ["vq_ds4.pt", "LlamaGen's VQModel, under model"],
  taming_gumbel_f8: ["model.ckpt", null],
};

const present = existsSync(shared);
describe(
  present ? "files of other libraries" : `files of other libraries, skipped: ${shared} is not there`,
  () => {
    const check = present ? test : test.skip;
    for (const [name, [path, note]] of Object.entries(files)) {
      check(`${name}: all tokens are equal, and pixels up to rounding`, async () => {
        const expected = JSON.parse(readFileSync(join(shared, `${name}.expected.json`), "utf8")) as Expected;
        const loaded = await loadVQGAN(join(shared, name, path));
        expect(loaded.note).toBe(note);
        const { model } = loaded;
        const { shape, u8 } = expected.input;
        await asyncScope(async () => {
          const { indices, latents } = model.encode(
            tensor(Float32Array.from(u8, (v) => v / 127.5 - 1), shape),
          );
          expect(indices.shape).toEqual(expected.ids.shape);
          expect([...await indices.ints()]).toEqual(expected.ids.data);

          expect(maxError(await model.decode(latents).floats(), expected.decoded.data)).toBeLessThan(2e-5);
        });
        model.dispose();
      });
    }

    check(
      "each is written for diffusers and read back, bit for bit, if diffusers has such a model",
      async () => {
        for (const [name, [path]] of Object.entries(files)) {
          const file = await openCheckpoint(join(shared, name, path));
          const { config } = configOf(file), out = join(folder, name);
          if (config.quantizer === "nearest") {
            await convertCheckpoint(file, out, { config }, "diffusers");
            const again = await openCheckpoint(out);
            expect([name, again.model]).toMatchObject([name, { family: { name: "diffusers' VQModel" } }]);
            expect([name, configOf(again).config]).toEqual([name, config]);
            expect([name, await hashWeights(again)]).toEqual([name, await hashWeights(file)]);
            await again.close();
          } else {
            await expect(convertCheckpoint(file, out, { config }, "diffusers")).rejects.toThrow(
              `cannot be written for diffusers: there is no ${config.quantizer} quantizer there`,
            );
          }
          await file.close();
        }
      },
    );

    check("MoVQ is refused by name", async () => {
      const path = join(shared, "diffusers_movq");
      await expect(loadVQGAN(path)).rejects.toThrow(
        `${join(path, "diffusion_pytorch_model.safetensors")}: this is MoVQ: the norms of its decoder`,
      );
    });
  },
);
