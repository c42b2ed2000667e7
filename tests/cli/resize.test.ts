// --resize, and sizes that nobody stated, in the commands that read pictures: what they make and what token files say of it.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCheckpoint, writeSafetensors } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { commandFixture, tessera } from "../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

let fixture: Awaited<ReturnType<typeof commandFixture>>;
beforeAll(async () => void (fixture = await commandFixture()));
afterAll(() => rm(fixture.folder, { recursive: true, force: true }));

const picture = fileURLToPath(new URL("../fixtures/taming_pixels/420.jpg", import.meta.url)); // 48x61
const at = (name: string) => join(fixture.folder, name);

interface Written {
  readonly header: { readonly preprocessing: string; readonly grid: number[] | null };
  readonly row: { readonly encoding: number[]; readonly grid?: number[] };
}

async function encoded(name: string, ...words: string[]): Promise<Written> {
  const { code, err } = await tessera("encode", "--out", at(name), ...words, picture);
  if (code !== 0) throw new Error(err);
  const [header, row] = (await readFile(at(name), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  return { header, row };
}

describe("--resize", () => {
  test("encode makes the tokens of taming's pixels, and says so", async () => {
    const model = await VQGAN.load(fixture.model);
    for (const resize of ["lanczos", "taming"] as const) {
      const { header, row } = await encoded(`${resize}.jsonl`, "--model", fixture.model, "--resize", resize);
      expect(row.encoding).toEqual([...(await model.tokensOf(picture, { resize })).tokens]);
      expect(header.grid).toEqual([8, 8]);
      expect(header.preprocessing).toBe(
        resize === "lanczos"
          ? "turned by EXIF, laid on white, sRGB, smallest side to 16 by Lanczos, or enlarged bicubically, middle square, edges cut evenly to multiples of 2"
          : "as taming's loader: EXIF and profiles ignored, opacity dropped, smallest side to 16 by OpenCV's bilinear filter, " +
            "middle square, edges cut evenly to multiples of 2",
      );
    }
    model.dispose();
  });

  test("finetune keeps it in the run's settings, and reconstruct takes it", async () => {
    const out = at("resized");
    const run = await tessera(...fixture.run, "--steps", "1", "--resize", "taming", "--out", out);
    expect([run.code, run.err]).toEqual([0, ""]);
    const config = JSON.parse(await readFile(join(out, (await readdir(out))[0], "config.json"), "utf8"));
    expect(config.resize).toBe("taming");
    const words = ["reconstruct", "--model", fixture.model, "--out", at("seen"), "--resize"];
    expect((await tessera(...words, "taming", picture)).code).toBe(0);
    const refused = await tessera(...words, "bicubic", picture);
    expect([refused.code, refused.err.includes("Allowed choices are lanczos, taming")]).toEqual([2, true]);
  });
});

test("a picture smaller than a resolution that nobody stated is not enlarged", async () => {
  const bare = at("bare.safetensors"), file = await openCheckpoint(fixture.model);
  await writeSafetensors(
    bare,
    [...file.tensors].map(([name, stored]) => {
      const data = async () => Float32Array.from(await stored.read(), Number);
      return { name, shape: stored.shape, dtype: "f32", data };
    }),
  );
  await file.close();
  const { header, row } = await encoded("bare.jsonl", "--model", bare);
  expect([header.grid, row.grid, row.encoding.length]).toEqual([null, [24, 24], 576]);
  expect(header.preprocessing).toContain("smallest side to at most 256 by Lanczos");
  const sized = await encoded("sized.jsonl", "--model", bare, "--size", "16");
  expect([sized.header.grid, sized.row.encoding.length]).toEqual([[8, 8], 64]);
});
