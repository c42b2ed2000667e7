// VQGANs of other libraries, wherever they lie in a file: the tokens and pixels that the libraries compute
// (fixtures/neighbours), what is said about each file, and what is refused.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertCheckpoint,
  formatInspectReport,
  inspect,
  openCheckpoint,
  trainingState,
  writeFlax,
  writeSafetensors,
  writeTorch,
} from "../../data/index.ts";
import { configOf } from "../../data/formats/guess.ts";
import type { TensorToWrite } from "../../data/formats/values.ts";
import type { Pickleable } from "../../data/formats/torch/pickle_write.ts";
import { loadVQGAN, VQGAN } from "../../nn/index.ts";
import { asyncScope, tensor } from "../../src/index.ts";
import { dictOf, fixtures, kinds, weightsOf } from "../support/neighbours.ts";
import { draws, maxError, toNHWC } from "../support/numbers.ts";

setDefaultTimeout(60_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-neighbours-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

/** Encodes and decodes the picture of a fixture. */
async function expectSame(name: string, model: VQGAN): Promise<void> {
  await asyncScope(async () => {
    const picture = toNHWC(draws(`a picture for ${name}`, 768), [1, 3, 16, 16]);
    const { indices, latents } = model.encode(tensor(picture, [1, 16, 16, 3]));
    expect([...await indices.ints()]).toEqual(fixtures[name].tokens);
    const pixels = await model.decode(latents).floats();
    expect(maxError(pixels, fixtures[name].pixels)).toBeLessThan(1e-5);
    expect(await model.decodeTokens(fixtures[name].tokens, [8, 8]).floats()).toEqual(pixels);
  });
}

describe("VQGANs of other libraries have the tokens and pixels of their own code", () => {
  const notes: Record<string, string | null> = {
    ldm: null,
    gumbel: null,
    diffusers: "diffusers' VQModel",
    llamagen: "LlamaGen's VQModel",
  };
  for (const name of kinds) {
    test(name, async () => {
      await writeSafetensors(at(`${name}.safetensors`), weightsOf(name));
      const { model, note } = await loadVQGAN(at(`${name}.safetensors`));
      expect(note).toBe(notes[name]);
      await expectSame(name, model);
      model.dispose();
    });

    test(`${name}, converted and loaded again`, async () => {
      const file = await openCheckpoint(at(`${name}.safetensors`));
      const { config } = configOf(file);
      for (const ending of ["safetensors", "ckpt"]) {
        await convertCheckpoint(file, at(`again.${ending}`), { config });
        const { model, note } = await loadVQGAN(at(`again.${ending}`));
        expect([note, model.config]).toEqual([null, config]);
        expect((await inspect(at(`again.${ending}`))).architecture).toMatchObject(config);
        await expectSame(name, model);
        model.dispose();
      }
      await file.close();
    });
  }
});

describe("a VQGAN inside something larger", () => {
  const others = [{
    name: "transformer.head.weight",
    shape: [2],
    dtype: "f32",
    data: () => new Float32Array(2),
  }] as const;

  for (const prefix of ["first_stage_model.", "module.", "_orig_mod.", "module._orig_mod.", "model.vqgan."]) {
    test(`below ${prefix}`, async () => {
      await writeSafetensors(at("inside.safetensors"), [
        ...others,
        ...weightsOf("ldm", (key) => prefix + key),
      ]);
      const { model, note } = await loadVQGAN(at("inside.safetensors"));
      expect(note).toBe(`taming's VQModel, under ${prefix.slice(0, -1)}`);
      await expectSame("ldm", model);
      model.dispose();
    });
  }

  for (const name of ["params_ema", "model", "ema", "module", "net_g"]) {
    test(`in a dict ${name}, beside an optimizer`, async () => {
      const moments = new Map([["0", new Map(weightsOf("ldm").slice(0, 2).map((t) => ["exp_avg", t]))]]);
      const root = new Map<string, Pickleable>([
        ["epoch", 3],
        ["optimizer", new Map([["state", moments]])],
        [name, dictOf(weightsOf("llamagen"))],
      ]);
      await writeTorch(at("dict.pt"), root);
      const { model, note } = await loadVQGAN(at("dict.pt"));
      expect(note).toBe(`LlamaGen's VQModel, under ${name}`);
      await expectSame("llamagen", model);
      model.dispose();
    });
  }

  test("of several, one has to be chosen", async () => {
    const root = new Map([
      ["params", dictOf(weightsOf("ldm"))],
      ["params_ema", dictOf(weightsOf("llamagen"))],
    ]);
    await writeTorch(at("two.pth"), root);
    await expect(VQGAN.load(at("two.pth"))).rejects.toThrow(
      `${at("two.pth")}: it holds 2 VQGANs, under params and params_ema; ` +
        'choose one: openCheckpoint(path, { inside: "params" })',
    );
    for (const [inside, name] of [["params", "ldm"], ["params_ema", "llamagen"]]) {
      const file = await openCheckpoint(at("two.pth"), { inside });
      const model = await VQGAN.load(file);
      await expectSame(name, model);
      model.dispose();
      await file.close();
    }
    const none = await openCheckpoint(at("two.pth"), { inside: "ema" });
    await expect(VQGAN.load(none)).rejects.toThrow(
      "there is no VQGAN under ema.; there is one under params and params_ema",
    );
    await none.close();
    const report = await inspect(at("two.pth"));
    expect([report.architecture, report.notVQGAN]).toEqual([
      null,
      "it holds 2 VQGANs, under params and params_ema",
    ]);
  });

  test("a model whose keys stand as they are is the file's own, and inspect names the averages beside it", async () => {
    const copies = weightsOf("llamagen", (key) => `ema.${key}`);
    const litEma = weightsOf("ldm", (key) => `model_ema.${key.replaceAll(".", "")}`);
    await writeSafetensors(at("own.safetensors"), [...weightsOf("ldm"), ...copies, ...litEma]);
    const { model, note } = await loadVQGAN(at("own.safetensors"));
    expect(note).toBe(null);
    await expectSame("ldm", model);
    model.dispose();
    const text = formatInspectReport(await inspect(at("own.safetensors")));
    expect(text).toContain("warning: averaged copies of weights (EMA) are not used: ema, model_ema");
    const root = new Map([["state_dict", dictOf(weightsOf("ldm"))], [
      "ema_state_dict",
      dictOf(weightsOf("ldm")),
    ]]);
    await writeTorch(at("own.ckpt"), root);
    expect((await inspect(at("own.ckpt"))).warnings[0]).toContain("are not used: ema_state_dict");
  });

  test("inspect shows every tensor under its own name, and whose the model is", async () => {
    await writeSafetensors(at("shown.safetensors"), [
      ...others,
      ...weightsOf("diffusers", (key) => `vqvae.${key}`),
    ]);
    const report = await inspect(at("shown.safetensors"));
    expect(report.parts.map(({ name }) => name).sort()).toEqual(
      [
        "transformer",
        ...["decoder", "encoder", "post_quant_conv", "quant_conv", "quantize"].map((n) => `vqvae.${n}`),
      ],
    );
    expect(report.list[0].name).toBe("transformer.head.weight");
    expect(formatInspectReport(report)).toMatch(
      /model: diffusers' VQModel, under vqvae\narchitecture: VQGAN f2, 50 codes of 4\n/,
    );
  });

  test("the optimizers of a model around it are not its own, but its settings are in that model's", async () => {
    const state = new Map<string, Pickleable>([["state", new Map()], ["param_groups", [
      new Map([["params", [0]]]),
    ]]]);
    const params = new Map([["ddconfig", new Map([["resolution", 48]])]]);
    const root = new Map<string, Pickleable>([
      ["state_dict", dictOf(weightsOf("ldm", (key) => `first_stage_model.${key}`))],
      ["optimizer_states", [state]],
      [
        "hyper_parameters",
        new Map([["transformer_config", null], ["first_stage_config", new Map([["params", params]])]]),
      ],
    ]);
    await writeTorch(at("net2net.ckpt"), root);
    const file = await openCheckpoint(at("net2net.ckpt"));
    expect(await trainingState(file)).toBe(null);
    expect(configOf(file).config.ddconfig.resolution).toBe(48);
    await file.close();
  });
});

describe("half a model", () => {
  const isHalf = (half: string) => ({ name }: TensorToWrite) =>
    name.startsWith(half) || name.startsWith("quantize.") ||
    name.startsWith(half === "encoder" ? "quant_conv." : "post_quant_conv.");

  test("a decoder decodes, and says that it cannot encode", async () => {
    const path = at("decoder.safetensors");
    await writeSafetensors(path, weightsOf("ldm").filter(isHalf("decoder")));
    const model = await VQGAN.load(path);
    const pixels = await asyncScope(() => model.decodeTokens(fixtures.ldm.tokens, [8, 8]).floats());
    expect(maxError(pixels, fixtures.ldm.pixels)).toBeLessThan(1e-5);
    const cannot =
      `${path} holds only the decoder of a model, which turns tokens into pictures, but cannot encode`;
    expect(() => model.encode(tensor(new Float32Array(768), [1, 16, 16, 3]))).toThrow(`VQGAN: ${cannot}`);
    model.dispose();
    for (const options of [{ only: "encoder" }, { withLoss: true }] as const) {
      await expect(VQGAN.load(path, options)).rejects.toThrow(cannot.replace(" holds", ": holds"));
    }
    expect((await inspect(path)).warnings).toEqual([
      "only the decoder is inside: it can decode, and nothing else",
    ]);
  });

  test("an encoder encodes, and says that it cannot decode", async () => {
    const path = at("encoder.safetensors");
    await writeSafetensors(path, weightsOf("ldm").filter(isHalf("encoder")));
    const model = await VQGAN.load(path);
    const picture = toNHWC(draws("a picture for ldm", 768), [1, 3, 16, 16]);
    const tokens = await asyncScope(() => model.encode(tensor(picture, [1, 16, 16, 3])).indices.ints());
    expect([...tokens]).toEqual(fixtures.ldm.tokens);
    expect(() => model.decodeTokens([1], [1, 1])).toThrow("turns pictures into tokens, but not back");
    model.dispose();
  });

  test("min-dalle's detokenizer and Flax's decoders", async () => {
    const decoder = weightsOf("gumbel").filter(({ name }) => /^(decoder|post_quant_conv)/.test(name));
    const codes = (name: string) =>
      ({ name, shape: [50, 8], dtype: "f32", data: () => draws("codes", 400) }) as const;
    await writeTorch(at("detoker.pt"), dictOf([...decoder, codes("embedding.weight")]));
    const { model, note } = await loadVQGAN(at("detoker.pt"));
    expect(note).toBe("min-dalle's detokenizer");
    expect(await model.quantize.codebook.floats()).toEqual(draws("codes", 400));
    const file = await openCheckpoint(at("detoker.pt"));
    await mkdir(at("flax"));
    await writeFlax(
      at("flax/flax_model.msgpack"),
      [...decoder, codes("quantize.embedding.weight")],
      configOf(file).config,
    );
    await file.close();
    const flax = await VQGAN.load(at("flax"));
    const pixels = (model: VQGAN) => asyncScope(() => model.decodeTokens([7, 8, 49, 0], [2, 2]).floats());
    expect(await pixels(flax)).toEqual(await pixels(model));
    expect(() => flax.encode(tensor(new Float32Array(768), [1, 16, 16, 3]))).toThrow("cannot encode");
    for (const m of [model, flax]) m.dispose();
  });
});
