// Finding pictures in folders, globs and lists.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { listImages } from "../../../data/pictures/list.ts";
import { numberedPictures, pictureCount as count } from "../../support/pictures.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-list-"));
  await numberedPictures(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("listImages", () => {
  test("a folder and its subfolders, in name order, each picture once", async () => {
    const names = (await listImages(join(folder, "good"))).map((path) => basename(path));
    expect(names.length).toBe(count);
    expect(names.slice(0, 4)).toEqual(["p08.png", "p09.png", "p10.png", "p00.png"]); // "deep" is before "p00"
  });

  test("a glob, a list in its own order, one picture, several sources", async () => {
    const deep = await listImages(join(folder, "good", "**", "p0[89].png"));
    expect(deep.map((path) => basename(path))).toEqual(["p08.png", "p09.png"]);
    const listed = await listImages(join(folder, "good", "list.txt"));
    expect(listed.map((path) => basename(path))).toEqual(["p03.png", "p09.png", "p00.png"]);
    const one = join(folder, "good", "p02.png");
    expect(await listImages([one, join(folder, "good", "list.txt")])).toEqual([one, ...listed]);
  });

  test("an error says what was searched if nothing is found", async () => {
    await expect(listImages(join(folder, "empty"))).rejects.toThrow("looked for .jpg, .jpeg, .png");
    await expect(listImages(join(folder, "absent"))).rejects.toThrow("there is no file or folder");
    await expect(listImages(join(folder, "*.gif"))).rejects.toThrow("no file matches the pattern");
    await expect(listImages(join(folder, "wrong.txt"))).rejects.toThrow(
      "names nowhere/p03.png, which is neither in",
    );
    await expect(listImages(join(folder, "blank.txt"))).rejects.toThrow("names no pictures");
  });
});
