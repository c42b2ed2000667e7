// The commands on a tiny model: doctor, inspect, encode, decode, reconstruct, convert and demo.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openTokens, readImage, type TokenRecord, toPictures } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { commandFixture, tessera } from "../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("commands", () => {
  test("doctor finds nothing missing here", async () => {
    const { code, out } = await tessera("doctor");
    expect(code).toBe(0);
    for (const name of ["runtime", "SIMD", "shared memory", "engine", "pictures"]) {
      expect(out).toMatch(new RegExp(`ok   ${name} `));
    }
  });

  test("inspect reports the architecture and the parts", async () => {
    const { out } = await tessera("inspect", model);
    expect(out).toContain("VQGAN f2, 16 codes of 32");
    const report = JSON.parse((await tessera("inspect", "--json", model)).out);
    expect(report.architecture.ddconfig.chMult).toEqual([1, 1]);
    expect(report.architecture.ddconfig).toMatchObject({ resolution: 16, attnResolutions: [8] });
  });

  test("encode, decode and reconstruct", async () => {
    await writeFile(join(faces, "broken.png"), "not a picture");
    await writeFile(join(faces, "face_00001.txt"), "a cartoon\n");
    const tokens = join(folder, "tokens.jsonl"), decoded = join(folder, "decoded");
    const encoded = await tessera("encode", "-m", model, "-o", tokens, "--grids", faces);
    expect(encoded.out).toContain("5 pictures, 320 tokens");
    expect(encoded.err).toContain("1 picture of 6 skipped");
    const [header, first, second] = (await readFile(tokens, "utf8")).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    expect(header).toMatchObject({
      ...{ factor: 2, vocabulary: 16, range: "signed", grid: [8, 8], model: "tiny.safetensors" },
      ...{ source: [faces], shard: null },
    });
    expect(header.weights).toMatch(/^[0-9a-f]{64}$/);
    expect(header.preprocessing).toContain(
      "smallest side to 16 by Lanczos, or enlarged bicubically, middle square",
    );
    expect([first.caption, first.encoding.length]).toEqual([null, 64]);
    expect([second.caption, second.file]).toEqual(["a cartoon", join(faces, "face_00001.png")]);
    await stat(join(folder, "face_00000.tokens.png"));

    expect((await tessera("decode", "-m", model, "-o", decoded, tokens)).code).toBe(0);
    expect((await readdir(decoded)).length).toBe(5);
    expect((await readImage(join(decoded, "face_00000.png"))).width).toBe(16);

    // the decoder's lower level has two blocks with attention, the encoder's has one
    const legacy = ["--attention-order", "vqgan-jax-legacy"], other = join(folder, "decoded-legacy");
    expect((await tessera("decode", "-m", model, "-o", other, ...legacy, tokens)).code).toBe(0);
    const [taming, jax] = await Promise.all(
      [decoded, other].map(async (at) => (await readImage(join(at, "face_00000.png"))).pixels),
    );
    expect(jax).not.toEqual(taming);
    const loaded = await VQGAN.load(model, { config: { attentionOrder: "vqgan-jax-legacy" } });
    const expected = loaded.decodeTokens(first.encoding, [8, 8]);
    expect(toPictures(await expected.floats(), expected.shape)[0].pixels).toEqual(jax);
    expected.dispose();
    loaded.dispose();

    const out = join(folder, "side");
    const made = await tessera("reconstruct", "-m", model, "-o", out, ...legacy, "--size", "0", faces);
    expect(made.out).toMatch(/1\/6 .*face_00000\.png: PSNR \d+\.\d\d dB, SSIM/);
    expect(made.out).toContain("mean of 5 pictures");
    expect((await readImage(join(out, "face_00000.png"))).width).toBe(48 * 2 + 12);
    await rm(join(faces, "broken.png"));
  });

  test("all formats, batches and shards give the same tokens", async () => {
    const read = async (path: string) => {
      const rows: TokenRecord[] = [];
      for await (const row of (await openTokens(path)).records()) rows.push(row);
      return rows.sort((a, b) => a.file < b.file ? -1 : 1);
    };
    const to = (name: string) => join(folder, name);
    await tessera("encode", "-m", model, "-o", to("one.parquet"), faces);
    const rows = await read(to("one.parquet"));
    expect(rows.length).toBe(5);
    await tessera("encode", "-m", model, "-o", to("four.tsv"), "--batch", "4", faces, faces);
    expect(await read(to("four.tsv"))).toEqual(rows);
    const parts: TokenRecord[] = [];
    for (const shard of ["1/3", "2/3", "3/3"]) {
      await tessera("encode", "-m", model, "-o", to("part.parquet"), "--shard", shard, faces);
      const path = to(`part-${shard.replace("/", "-of-")}.parquet`);
      parts.push(...await read(path));
      expect((await openTokens(path)).header?.shard).toBe(shard);
    }
    expect(parts.sort((a, b) => a.file < b.file ? -1 : 1)).toEqual(rows);
    await tessera(
      "encode",
      "-m",
      model,
      "-o",
      to("wide.parquet"),
      "--size",
      "0",
      join(faces, "face_00000.png"),
    );
    expect((await read(to("wide.parquet")))[0].grid).toEqual([24, 24]);
  });

  test("decode warns about tokens of another model, and refuses invalid ones before it writes", async () => {
    const path = join(folder, "other.jsonl"), out = join(folder, "refused");
    const own = (await readFile(join(folder, "tokens.jsonl"), "utf8")).split("\n")[0];
    const header = { ...JSON.parse(own), weights: "0123", model: "other.ckpt", range: "unit", grid: null };
    const line = (encoding: number[]) => JSON.stringify({ file: "a.jpg", grid: [1, 2], encoding });
    await writeFile(path, `${JSON.stringify(header)}\n${line([3, 4])}\n`);
    const { code, err } = await tessera("decode", "-m", model, "-o", join(folder, "d"), path);
    expect(code).toBe(0);
    expect(err).toContain("made with other weights (other.ckpt)");
    expect(err).toContain("made with --range unit, not signed");
    await writeFile(path, line([3, 4, 5]));
    expect((await tessera("decode", "-m", model, path)).err).toContain(
      "line 1: it has 3 tokens (the first is 3), which do not fill a grid of 1x2",
    );
    await writeFile(path, `${line([3, 4])}\n${line([3, 99])}\n`);
    expect((await tessera("decode", "-m", model, "-o", out, path)).err).toContain(
      "token 99 at place 1 of a.jpg is not in 0..15, the model's vocabulary of 16",
    );
    expect(await stat(out).catch(() => null)).toBe(null);
  });

  test("--dalle-mini uses pixels in [0, 1], and removes a first token 16384", async () => {
    const tokens = join(folder, "mini.jsonl"),
      plain = join(folder, "plain.png.d"),
      bos = join(folder, "bos.d");
    await tessera("encode", "-m", model, "-o", tokens, "--dalle-mini", join(faces, "face_00000.png"));
    const [header, row] = (await readFile(tokens, "utf8")).trim().split("\n").map((line) => JSON.parse(line));
    expect(header.range).toBe("unit");
    await tessera("decode", "-m", model, "-o", plain, "--range", "unit", tokens);
    const sequence = { key: "face_00000", encoding: JSON.stringify([16384, ...row.encoding]) };
    await writeFile(tokens, JSON.stringify(sequence));
    expect((await tessera("decode", "-m", model, tokens)).err).toContain("65 tokens (the first is 16384)");
    expect((await tessera("decode", "-m", model, "-o", bos, "--dalle-mini", tokens)).code).toBe(0);
    expect(await readFile(join(bos, "face_00000.png"))).toEqual(
      await readFile(join(plain, "face_00000.png")),
    );
  });

  test("convert writes weights that load, at half the size in f16", async () => {
    const whole = join(folder, "whole.safetensors"), half = join(folder, "half.safetensors");
    expect((await tessera("convert", model, whole, "--strip", "--discriminator")).code).toBe(0);
    const { code } = await tessera("convert", model, half, "--strip", "--dtype", "f16");
    expect(code).toBe(0);
    expect((await stat(half)).size).toBeLessThan(0.6 * (await stat(whole)).size);
    expect((await tessera("encode", "-m", half, "-o", join(folder, "t.jsonl"), faces)).code).toBe(0);
    expect((await tessera("convert", half, whole, "--strip", "--discriminator", "--force")).err).toContain(
      "has no discriminator",
    );
  });
});

// run here and not in its test, because Bun would stop it after five seconds
const demo = await tessera(
  ...["demo", "--steps", "1", "--faces", "10", "--batch", "2", "--out", join(folder, "demo")],
);

test("demo draws, trains, and writes its pictures", async () => {
  const { code, out, err } = demo;
  expect([code, err]).toEqual([0, ""]);
  const run = /^run folder: (.*)$/m.exec(out)![1];
  const files = await readdir(run);
  for (const name of ["before-after.png", "tokens.png", "metrics.jsonl"]) expect(files).toContain(name);
});
