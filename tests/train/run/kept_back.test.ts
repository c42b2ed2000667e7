// Which pictures a run learns from, and which it is measured on.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile, link, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { contentNames } from "../../../train/run/copies.ts";
import { describeList, listPictures, pathsOf } from "../../../train/run/pictures.ts";

setDefaultTimeout(30_000); // Bun gives a test five seconds

const folder = await mkdtemp(join(tmpdir(), "tessera-kept-back-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes files, which need not be pictures, into a folder of their own. */
async function made(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const path = join(folder, name);
  await mkdir(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(path, file), text);
  return path;
}
const numbered = (count: number) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`${String(i).padStart(4, "0")}.png`, `picture ${i}`]),
  );
const names = (paths: readonly string[]) => paths.map((path) => basename(path)).sort();

describe("listPictures", () => {
  test("keeps a tenth back by default, at most 24, and none of fewer than five", async () => {
    for (const [count, held] of [[1, 0], [4, 0], [5, 1], [30, 3], [240, 24], [600, 24]]) {
      const data = [await made(`default-${count}`, numbered(count))];
      const list = await listPictures({ data, val: null, seed: 0 });
      expect([list.held, list.train]).toEqual([held, count - held]);
    }
  });

  test("learns from no picture of the validation folder: not by its path, a link, a copy or a folder named twice", async () => {
    const val = await made("val", { "a.png": "aaaa", "b.png": "bbbb", "c.png": "cccc" });
    const data = await made("data", { "own.png": "dddd", "like.png": "aaab" });
    await symlink(join(val, "a.png"), join(data, "a-linked.png"));
    await link(join(val, "b.png"), join(data, "b-hard.png"));
    await copyFile(join(val, "c.png"), join(data, "c-copy.png"));
    const list = await listPictures({ data: [data, join(data, "own.png"), val], val, seed: 0 });
    expect(names(pathsOf(list, false))).toEqual(["like.png", "own.png", "own.png"]);
    expect(names(pathsOf(list, true))).toEqual(["a.png", "b.png", "c.png"]);
    expect(list.shared).toBe(6);
  });

  test("keeps all copies of a picture back if it is held out of the data", async () => {
    const files = numbered(10);
    const data = await made("twice", files);
    await made("twice/again", files);
    const list = await listPictures({ data: [data], val: 0.3, seed: 1 });
    const held = new Set(names(pathsOf(list, true))), train = names(pathsOf(list, false));
    expect(held.size).toBe(list.held); // none is measured twice
    expect(train.filter((name) => held.has(name))).toEqual([]);
    expect(list.train + list.shared + 6).toBe(20);
  });

  test("learns from validation pictures only if there are no others, and says so", async () => {
    const data = await made("all", numbered(3));
    const list = await listPictures({ data: [data], val: data, seed: 0 });
    expect([list.train, list.held, list.learnt, list.shared]).toEqual([3, 3, 3, 0]);
    expect(describeList(list, data).map(({ text }) => text)).toEqual([
      "warning: the run learns, or has learnt, from 3 of the 3 validation pictures, so they make it look better than it is",
    ]);
  });
});

describe("contentNames", () => {
  test("tells files of one size apart by their middle, and takes unreadable ones by their path", async () => {
    const long = (middle: string) => `${"x".repeat(5000)}${middle}${"y".repeat(5000)}`;
    const path = await made("alike", { "a.png": long("1"), "b.png": long("2"), "c.png": long("1") });
    const [a, b, c, gone] = ["a.png", "b.png", "c.png", "gone.png"].map((name) => join(path, name));
    const found = await contentNames([a, b, c, gone]);
    expect(found.get(a)).toBe(found.get(c)!);
    expect(found.get(a) === found.get(b)).toBe(false);
    expect(found.get(gone)).toBe(gone);
  });
});
