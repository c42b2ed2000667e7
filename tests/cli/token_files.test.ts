// What encode, decode, reconstruct and convert do with what is there already, and the pictures and models that they take.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { openTokens, readImage, type TokenRecord, writeCartoonFaces } from "../../data/index.ts";
import { commandFixture, tessera } from "../support/commands.ts";
import { tar } from "../support/tarfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model, run } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const to = (...names: string[]) => join(folder, ...names);
const rowsOf = async (path: string): Promise<TokenRecord[]> =>
  await Array.fromAsync((await openTokens(path)).records());

describe("a finished token file", () => {
  const out = to("made", "finished.parquet");
  const encode = (...words: string[]) => tessera("encode", "-m", model, "-o", out, ...words);

  test("says that it is finished, takes new pictures, and is replaced only with --force", async () => {
    expect((await encode(faces)).code).toBe(0);
    const first = await readFile(out);
    const again = await encode(faces);
    expect([again.code, again.out]).toEqual([
      ...[0, `${out} is finished: 5 pictures by the same model (--force encodes again)\n`],
    ]);
    const other = await encode("--size", "8", faces);
    expect([other.code, other.err]).toEqual([
      1,
      expect.stringMatching(
        /finished.parquet: it exists already, made with other settings \(grid \[8,8\], now \[4,4\]\); choose another name, or replace it with --force/,
      ),
    ]);
    expect((await tessera("encode", "-o", out, faces)).err).toContain(
      "the weights of tiny.safetensors, now of faces",
    );
    expect([await readFile(out), await readdir(to("made"))]).toEqual([first, ["finished.parquet"]]);

    await writeFile(join(faces, "new.png"), await readFile(join(faces, "face_00000.png")));
    const more = await encode(faces);
    expect(more.out).toContain(`continuing: 5 pictures in ${out}\n`);
    expect(more.out).toContain("6 pictures, 384 tokens");
    const rows = await rowsOf(out);
    expect([rows.length, rows[5].file]).toEqual([6, join(faces, "new.png")]);
    await rm(join(faces, "new.png"));
    expect((await encode(faces)).out).toContain(
      `${out} keeps 1 picture that the sources do not have\n${out} is finished`,
    );
    expect((await encode("--size", "8", "--force", faces)).code).toBe(0);
    expect((await openTokens(out)).header?.grid).toEqual([4, 4]);
    expect((await encode("--force", faces)).code).toBe(0);
    expect(await readFile(out)).toEqual(first);
  });

  test("gets the grids that a call that was stopped left out", async () => {
    await encode("--grids", faces);
    const grids = (await readdir(to("made"))).filter((name) => name.endsWith(".tokens.png"));
    expect(grids.sort()).toEqual([0, 1, 2, 3, 4].map((i) => `face_0000${i}.tokens.png`));
    const kept = await stat(to("made", grids[0]));
    await rm(to("made", grids[1]));
    await encode("--grids", faces);
    expect((await stat(to("made", grids[1]))).size).toBeGreaterThan(0);
    expect((await stat(to("made", grids[0]))).mtimeMs).toBe(kept.mtimeMs);
  });

  test("nothing is left behind where nothing could be read, or the ending is wrong", async () => {
    const bad = to("bad"), empty = to("bad.jsonl");
    await mkdir(bad);
    await writeFile(join(bad, "x.png"), "no picture");
    const none = await tessera("encode", "-m", model, "-o", empty, bad);
    expect([none.code, none.err]).toEqual([
      1,
      expect.stringContaining("none of the 1 picture could be used"),
    ]);
    expect((await tessera("encode", "-m", "no.ckpt", "-o", to("x.csv"), faces)).err).toContain(
      "token files end in .parquet, .jsonl or .tsv",
    );
    expect((await readdir(folder)).filter((name) => /^(bad|x)\./.test(name))).toEqual([]);
  });
});

describe("encode", () => {
  test("leaves out captions that are no text, and says how many; names pictures once", async () => {
    const captions = to("captions"), bytes = await readFile(join(faces, "face_00000.png"));
    await mkdir(captions);
    for (const name of ["a.png", "b.png"]) await writeFile(join(captions, name), bytes);
    await writeFile(join(captions, "a.txt"), Uint8Array.of(99, 233));
    await writeFile(join(captions, "b.txt"), Uint8Array.of(0xff, 0xfe, 233, 0));
    await writeFile(join(captions, "c.heic"), "");
    const out = to("captions.jsonl");
    const { code, err } = await tessera("encode", "-m", model, "-o", out, captions, captions);
    expect(code).toBe(0);
    expect(err).toContain("caption left out: " + join(captions, "a.txt") + ": this text is not in UTF-8");
    expect(err).toContain("1 caption left out\n");
    expect(err).toContain("left out: 2 paths named more than once");
    expect(err).toContain(`left out in ${captions}: 1 file: 1 .heic`);
    expect((await rowsOf(out)).map(({ caption }) => caption)).toEqual([null, "é"]);
  });

  test("skips a picture that does not fit into memory, before it begins", async () => {
    const mixed = to("mixed"), huge = join(mixed, "huge.png");
    await mkdir(mixed);
    await writeFile(join(mixed, "a.png"), await readFile(join(faces, "face_00000.png")));
    await sharp({ create: { width: 8000, height: 8000, channels: 3, background: "#345" } }).png().toFile(
      huge,
    );
    const { code, err } = await tessera("encode", "-m", model, "--size", "0", "-o", to("mixed.jsonl"), mixed);
    expect(code).toBe(0);
    expect(err).toMatch(
      /skipped .*huge\.png: 8000x8000 pixels take more than the 4\.\d GB that the device \(cpu\) has: choose/,
    );
    expect(err).toContain("1 picture of 2 skipped");
    expect((await rowsOf(to("mixed.jsonl"))).length).toBe(1);
  });
});

describe("decode and reconstruct", () => {
  test("keep subfolders, pick rows, and replace nothing without --force", async () => {
    const tree = to("tree"), tokens = to("tree.jsonl"), decoded = to("decoded"), sheets = to("sheets");
    await writeCartoonFaces(tree, 2, 16, 1);
    await writeCartoonFaces(join(tree, "sub"), 2, 16, 2);
    const path = join(tree, "x.tar"), bytes = await readFile(join(tree, "face_00000.png"));
    await writeFile(path, tar([{ name: "1.png", data: bytes }]));
    await tessera("encode", "-m", model, "-o", tokens, tree, path);
    const files = [
      "face_00000.png",
      "face_00001.png",
      "sub/face_00000.png",
      "sub/face_00001.png",
      "x.tar/1.png",
    ];
    const listed = async (at: string) => {
      const all = await readdir(at, { recursive: true, withFileTypes: true });
      const paths = all.filter((entry) => entry.isFile()).map(({ parentPath, name }) =>
        join(parentPath, name)
      );
      return paths.map((path) => path.slice(at.length + 1).replaceAll("\\", "/")).sort();
    };
    const decode = (...words: string[]) => tessera("decode", "-m", model, "-o", decoded, ...words, tokens);
    expect((await decode("--rows", "1, 3-4")).code).toBe(0);
    expect(await listed(decoded)).toEqual([files[1], files[3], files[4]]);
    const before = await readFile(join(decoded, files[1]));
    const refused = await decode("--attention-order", "vqgan-jax-legacy");
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining(
        `${
          join(decoded, files[1])
        }: it exists already, and so do 2 others; choose another name, or replace it with --force`,
      ),
    ]);
    expect([await readFile(join(decoded, files[1])), (await listed(decoded)).length]).toEqual([before, 3]);
    expect((await decode("--force")).code).toBe(0);
    expect(await listed(decoded)).toEqual(files);
    const beyond = await decode("--rows", "2,5");
    expect([beyond.code, beyond.err]).toEqual([2, "tessera: --rows 2,5: there are 5 rows, 0 to 4\n"]);
    for (const wrong of ["x", "3-1", "-1", "1.5", ""]) expect((await decode("--rows", wrong)).code).toBe(2);

    const reconstruct = (...words: string[]) =>
      tessera("reconstruct", "-m", model, "-o", sheets, ...words, tree, path);
    const picked = await reconstruct("--rows", "2,4");
    expect(picked.out).toMatch(
      /1\/2 .*sub.face_00000\.png -> .*\n2\/2 .*x\.tar.1\.png -> .*\nmean of 2 pictures/,
    );
    expect(await listed(sheets)).toEqual([files[2], files[4]]);
    expect((await reconstruct()).err).toContain("it exists already, and so does 1 other");
    expect((await readImage(join(sheets, files[4]))).height).toBe(16 + 2 * 4); // with a margin
  });

  test("shorten names that are too long for a disk", async () => {
    const tokens = to("long.jsonl"), encoding = Array(64).fill(1);
    const lines = ["ok", "n".repeat(300)].map((file) => JSON.stringify({ file, encoding }));
    await writeFile(tokens, lines.join("\n"));
    const { code, err } = await tessera("decode", "-m", model, "-o", to("long"), tokens);
    expect([code, err]).toEqual([0, expect.stringContaining("1 name longer than a disk allows: shortened")]);
    expect((await readdir(to("long"))).length).toBe(2);
  });
});

test("every command that takes a checkpoint takes the folder of a run", async () => {
  expect((await tessera(...run, "--steps", "1", "--val", "0", "--name", "short")).code).toBe(0);
  const [name] = (await readdir(to("runs"))).filter((name) => name.endsWith("_short"));
  const at = to("runs", name), last = join(at, "checkpoints", "last.safetensors"), tokens = to("run.jsonl");
  const commands = [
    ["encode", "-m", at, "-o", tokens, faces],
    ["decode", "-m", at, "-o", to("run"), tokens],
    ["reconstruct", "-m", at, "-o", to("run-sheets"), "--rows", "0", faces],
    ["inspect", at],
    ["convert", at, to("run.ckpt")],
    run.with(run.indexOf(model), at).concat("--steps", "1", "--val", "0"),
  ];
  for (const words of commands) {
    const { code, err } = await tessera(...words);
    expect([words[0], code, err.split("\n")[0]]).toEqual([words[0], 0, `checkpoint: ${last}`]);
  }
  const again = await tessera("convert", at, to("run.ckpt"));
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("run.ckpt: it exists already")]);
});
