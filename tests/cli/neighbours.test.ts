// The commands on VQGANs of other libraries: what they say about a file, and the way out when they cannot use it.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors, writeTorch } from "../../data/index.ts";
import { commandFixture, tessera } from "../support/commands.ts";
import { dictOf, weightsOf } from "../support/neighbours.ts";

setDefaultTimeout(60_000);

const { folder, faces } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const encode = (model: string, out: string) =>
  tessera("encode", "-m", at(model), "--size", "16", "-o", at(out), join(faces, "face_00000.png"));
const tokensIn = async (name: string) =>
  (await readFile(at(name), "utf8")).match(/"encoding":\[[^\]]*\]/)?.[0];

test("encode says which model it found, and gives the same tokens from each form of it", async () => {
  await writeSafetensors(
    at("inside.safetensors"),
    weightsOf("diffusers", (key) => `first_stage_model.${key}`),
  );
  const { code, err } = await encode("inside.safetensors", "a.jsonl");
  expect([code, err]).toEqual([0, "model: diffusers' VQModel, under first_stage_model\n"]);
  const { out } = await tessera("convert", at("inside.safetensors"), at("vqvae"), "--format", "diffusers");
  expect(out).toMatch(
    /^model: diffusers' VQModel, under first_stage_model\n.*diffusion_pytorch_model.safetensors: /,
  );
  expect((await readdir(at("vqvae"))).sort()).toEqual(["config.json", "diffusion_pytorch_model.safetensors"]);
  expect((await encode("vqvae", "b.jsonl")).code).toBe(0);
  expect(await tokensIn("b.jsonl")).toBe((await tokensIn("a.jsonl"))!);
  expect((await tessera("convert", at("vqvae"), at("own.ckpt"))).code).toBe(0);
  expect(await encode("own.ckpt", "c.jsonl")).toMatchObject({ code: 0, err: "" });
  expect(await tokensIn("c.jsonl")).toBe((await tokensIn("a.jsonl"))!);
});

test("of several models one is taken out by --inside, which the error says", async () => {
  const two = new Map([["params", dictOf(weightsOf("ldm"))], ["params_ema", dictOf(weightsOf("gumbel"))]]);
  await writeTorch(at("two.pth"), two);
  expect(await encode("two.pth", "d.jsonl")).toEqual({
    code: 1,
    out: "",
    err: `tessera: ${at("two.pth")}: it holds 2 VQGANs, under params and params_ema; take one out: ` +
      `tessera convert ${at("two.pth")} one.safetensors --inside params\n`,
  });
  const wrong = await tessera("convert", at("two.pth"), at("one.safetensors"), "--inside", "ema");
  expect([wrong.code, wrong.err]).toEqual([
    1,
    `tessera: ${
      at("two.pth")
    }: there is no VQGAN under ema.; there is one under params and params_ema; take one out: ` +
    `tessera convert ${at("two.pth")} one.safetensors --inside params\n`,
  ]);
  const chosen = await tessera("convert", at("two.pth"), at("one.safetensors"), "--inside", "params_ema");
  expect(chosen.out).toContain("model: taming's VQModel, under params_ema\n");
  expect(await encode("one.safetensors", "e.jsonl")).toMatchObject({ code: 0, err: "" });
  const { out } = await tessera("inspect", at("one.safetensors"));
  expect(out).toContain("VQGAN f2, 50 codes of 8, chosen by logits");
});

test("a model that cannot do what a command needs gives one line, before anything is written", async () => {
  await writeSafetensors(
    at("decoder.safetensors"),
    weightsOf("ldm").filter(({ name }) => !/^(en|quant_)/.test(name)),
  );
  await writeSafetensors(at("gumbel.safetensors"), weightsOf("gumbel"));
  await writeSafetensors(at("movq.safetensors"), [
    ...weightsOf("diffusers"),
    { ...weightsOf("ldm")[0], name: "decoder.conv_norm_out.conv_y.weight" },
  ]);
  const finetune = (model: string) => [
    ...["finetune", "--from", at(model), "--data", faces, "--no-lpips", "--steps", "1", "--out", at("runs")],
  ];
  const picture = join(faces, "face_00000.png");
  const lines: [words: string[], message: string][] = [
    [
      ["encode", "-m", at("decoder.safetensors"), "-o", at("f.jsonl"), picture],
      "holds only the decoder of a model",
    ],
    [
      ["reconstruct", "-m", at("decoder.safetensors"), "-o", at("pngs"), picture],
      "but this needs both halves",
    ],
    [finetune("decoder.safetensors"), "holds only the decoder of a model"],
    [
      finetune("gumbel.safetensors"),
      'its quantizer is "gumbel", which cannot be trained here',
    ],
    [
      ["encode", "-m", at("movq.safetensors"), "-o", at("f.jsonl"), picture],
      "this is MoVQ: the norms of its decoder",
    ],
    [
      ["convert", at("gumbel.safetensors"), at("no"), "--format", "diffusers"],
      "there is no gumbel quantizer there",
    ],
    [
      ["convert", at("gumbel.safetensors"), at("no")],
      "cannot be written for vqgan-jax (Flax): there is no gumbel",
    ],
    [
      ["convert", at("gumbel.safetensors"), at("no.ckpt"), "--format", "diffusers"],
      "is a folder, so OUT has no ending",
    ],
  ];
  for (const [words, message] of lines) {
    const { code, err } = await tessera(...words);
    expect([words[0], code > 0, err]).toEqual([words[0], true, expect.stringContaining(message)]);
    expect(err.trim().split("\n").length).toBe(1);
  }
  expect((await readdir(folder)).filter((name) => /^(f\.jsonl|no|runs|pngs)/.test(name))).toEqual([]);
});
