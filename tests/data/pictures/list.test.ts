// Finding pictures in folders, globs and lists.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import process from "node:process";
import { ImageDataset, listImages, openCheckpoint, openTokens, readImage } from "../../../data/index.ts";
import { numberedPictures, pictureCount as count } from "../../support/pictures.ts";
import { tar } from "../../support/tarfile.ts";

const quiet = { onLeftOut: () => {} };

/** The bytes of a text in UTF-16 with a byte order mark. */
const utf16 = (text: string) =>
  [..."\ufeff" + text].flatMap((letter) => [letter.charCodeAt(0) & 255, letter.charCodeAt(0) >> 8]);

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-list-"));
  await numberedPictures(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("listImages", () => {
  test("a folder and its subfolders, in name order, each picture once", async () => {
    const names = (await listImages(join(folder, "good"), quiet)).map((path) => basename(path));
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

  test("patterns match folders and follow links, as in a shell", async () => {
    const inside = join(folder, "shell"),
      names = async (pattern: string) =>
        (await listImages(join(inside, pattern), quiet)).map((path) => relative(inside, path));
    for (const name of ["people1", "people2", "real.jpg", "set[1]"]) {
      await mkdir(join(inside, name), { recursive: true });
      await writeFile(join(inside, name, "p.png"), "");
    }
    await writeFile(join(inside, "people1", ".hidden.png"), "");
    await symlink(join(inside, "real.jpg"), join(inside, "people2", "link"));
    await symlink("people1", join(inside, "peoplelink"));
    await symlink(inside, join(inside, "real.jpg", "around"));
    // a folder is entered once, even by several links
    expect(await names("people*")).toEqual([
      "people1/p.png",
      "people2/link/around/set[1]/p.png",
      "people2/link/p.png",
      "people2/p.png",
    ]);
    expect(await names("people*/*.png")).toEqual(["people1/p.png", "people2/p.png", "peoplelink/p.png"]);
    expect(await names("people2/*/*.png")).toEqual(["people2/link/p.png"]);
    expect(await names("{people1,set[1]}/p.*")).toEqual(["people1/p.png", "set[1]/p.png"]);
    expect(await names("set[1]/*")).toEqual(["set[1]/p.png"]);
    expect(await names("people1/.h*")).toEqual(["people1/.hidden.png"]);
    expect(await names("real.jpg/p.png")).toEqual(["real.jpg/p.png"]); // a folder with the name of a picture
    expect((await listImages(join(inside, "real.jpg"))).length).toBe(4);
  });

  test("the pictures of an archive have paths, which a list may name too", async () => {
    const path = join(folder, "a.TAR"), bytes = await readFile(join(folder, "good", "p02.png"));
    await writeFile(path, tar([{ name: "x/1.png", data: bytes }, { name: "x/1.json", data: "{}" }]));
    const said: string[] = [], found: number[] = [];
    const [one, ...others] = await listImages([path], {
      onLeftOut: (source, what) => said.push(source, what),
      onFound: (count) => found.push(count),
    });
    expect([one, others]).toEqual([join(path, "x", "1.png"), []]);
    expect([said, found.at(-1)]).toEqual([[path, "1 file: 1 .json"], 1]);
    expect(await readImage(one)).toEqual(await readImage(join(folder, "good", "p02.png")));
    await writeFile(join(folder, "LIST.TXT"), new Uint8Array(utf16(`a.TAR/x/1.png\r\ngood/p02.png\r\n`)));
    expect(await listImages(join(folder, "LIST.TXT"))).toEqual([one, join(folder, "good", "p02.png")]);
    await expect(listImages(join(path, "x", "2.png"))).rejects.toThrow("a.TAR has no such picture");
    // an archive that was replaced is listed again
    await writeFile(path, tar([{ name: "x/1.png", data: "no picture" }]));
    await expect(readImage(one)).rejects.toThrow("x/1.png: this is text, not a picture");
    const set = await ImageDataset.open(join(folder, "shards*"), { size: 16 }).catch((error) =>
      error.message
    );
    expect(set).toContain("nothing matches the pattern");
  });

  test("a data set of archives reads their pictures", async () => {
    const path = join(folder, "set.tar"), bytes = await readFile(join(folder, "good", "p03.png"));
    await writeFile(path, tar([{ name: "1.png", data: bytes }, { name: "2.png", data: bytes }]));
    const set = await ImageDataset.open([path], { size: 16 });
    for await (const { paths, pictures } of set.batches(2, { epochs: 1 })) {
      expect(paths.toSorted()).toEqual([join(path, "1.png"), join(path, "2.png")]);
      expect(pictures[0]).toEqual(await readImage(join(folder, "good", "p03.png"), { size: 16 }));
    }
  });

  test("refuses what is no file before it is opened", async () => {
    if (process.platform === "win32") return; // which has no named pipes in folders
    const pipe = join(folder, "pipe.txt");
    execFileSync("mkfifo", [pipe, join(folder, "pipe.jpg")]); // opening one would wait for a writer
    await expect(listImages(pipe)).rejects.toThrow("pipe.txt: this is a pipe and not a file");
    await expect(listImages("/dev/zero")).rejects.toThrow("/dev/zero: this is a device and not a file");
    await expect(readImage(join(folder, "pipe.jpg"))).rejects.toThrow("it is a pipe and not a file");
    await expect(openCheckpoint(pipe)).rejects.toThrow("this is a pipe and not a file");
    await expect(openTokens("/dev/zero.jsonl")).rejects.toThrow("there is no such file");
  });

  test("listing stops when its signal is aborted", async () => {
    const controller = new AbortController();
    const onFound = () => controller.abort(new Error("enough"));
    const listing = listImages(join(folder, "good"), { signal: controller.signal, onFound });
    await expect(listing).rejects.toThrow("enough");
  });

  test("an error says what was searched if nothing is found", async () => {
    await expect(listImages(join(folder, "empty"))).rejects.toThrow("looked for .jpg, .jpeg, .png");
    await expect(listImages(join(folder, "absent"))).rejects.toThrow("there is no file or folder");
    await expect(listImages(join(folder, "*.gif"))).rejects.toThrow("nothing matches the pattern");
    await expect(listImages(join(folder, "wrong.txt"))).rejects.toThrow(
      "names nowhere/p03.png, which is neither in",
    );
    await expect(listImages(join(folder, "blank.txt"))).rejects.toThrow("names no pictures");
  });
});
