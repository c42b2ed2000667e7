// Drawing cartoon faces.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cartoonFaceSvg } from "../../../data/figures/cartoon_svg.ts";
import { drawCartoonFace, writeCartoonFaces } from "../../../data/figures/cartoons.ts";
import { readImage } from "../../../data/index.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-cartoons-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("cartoons", () => {
  test("a seed gives the same face in every runtime", async () => {
    const svg = (await Promise.all([0, 1, 2, 3].map(cartoonFaceSvg))).join("\n");
    expect(createHash("sha256").update(svg).digest("hex").slice(0, 16)).toBe("a762e9fe25a829fe");
    const first = await drawCartoonFace(1, 64), again = await drawCartoonFace(1, 64);
    expect(again).toEqual(first);
    // Means instead of a hash, because another processor's rounding may move a pixel by one level.
    const mean = (channel: number) =>
      first.reduce((sum, value, i) => i % 3 === channel ? sum + value : sum, 0) / 4096;
    [132.24, 123.08, 114.26].forEach((expected, channel) => expect(mean(channel)).toBeCloseTo(expected, 0));
    expect(await drawCartoonFace(2, 64)).not.toEqual(first);
  });

  test("restores Math.random", async () => {
    const original = Math.random;
    await Promise.all([drawCartoonFace(1, 16), drawCartoonFace(2, 16)]);
    expect(Math.random).toBe(original);
  });

  test("writes a set of faces; a longer set starts with the same faces", async () => {
    const seen: number[] = [];
    const short = await writeCartoonFaces(join(folder, "a"), 2, 32, 7, (done) => seen.push(done));
    const long = await writeCartoonFaces(join(folder, "b"), 3, 32, 7);
    expect(await readdir(join(folder, "b"))).toEqual(["face_00000.png", "face_00001.png", "face_00002.png"]);
    expect(seen).toEqual([1, 2]);
    expect((await readImage(short[1])).pixels).toEqual((await readImage(long[1])).pixels);
    expect((await readImage(long[2])).pixels).not.toEqual((await readImage(long[1])).pixels);
  });
});
