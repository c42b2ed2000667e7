// Pictures and captions from folders and tar archives.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  eachSample,
  listImages,
  readAhead,
  readImage,
  type Sample,
  writeCartoonFaces,
} from "../../../data/index.ts";
import { tar } from "../../support/tarfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-samples-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const faces = join(folder, "faces");
await writeCartoonFaces(faces, 3, 24, 1);
const [png0, png1] = await Promise.all(
  [0, 1].map((i) => readFile(join(faces, `face_0000${i}.png`))),
);
await writeFile(join(faces, "face_00001.txt"), " a face\n");

describe("eachSample", () => {
  const told = async (samples: readonly Sample[]) =>
    await Promise.all(samples.map(async (sample) => [sample.name, await sample.caption()]));

  test("pairs files with the text files next to them", async () => {
    expect(await told(await Array.fromAsync(eachSample([faces])))).toEqual([
      [join(faces, "face_00000.png"), null],
      [join(faces, "face_00001.png"), "a face"],
      [join(faces, "face_00002.png"), null],
    ]);
  });

  test("reads archives in their own order, with captions before or after the pictures", async () => {
    const path = join(folder, "shard.tar");
    await writeFile(
      path,
      tar([
        { name: "./1.txt", data: "first\n" },
        { name: "./1.png", data: png0 },
        { name: "./1.json", data: "{}" },
        { name: "deep/2.png", data: png1 },
        { name: "deep/2.txt", data: "zweites" },
        { name: "2.txt", data: "another" },
        { name: "3.png", data: "not a picture" },
      ]),
    );
    const samples = await Array.fromAsync(eachSample([path, faces]));
    expect((await told(samples)).slice(0, 3)).toEqual([
      [`${path}/./1.png`, "first"],
      [`${path}/deep/2.png`, "zweites"],
      [`${path}/3.png`, null],
    ]);
    expect(samples.length).toBe(6);
    const [one, , broken, same] = samples;
    const read = await one.picture({ size: 16 });
    expect(read.width).toBe(16);
    expect(read.pixels).toEqual((await same.picture({ size: 16 })).pixels);
    await expect(broken.picture()).rejects.toThrow(`cannot read the picture ${path}/3.png: this is text`);
  });

  test("captions: capital letters, WebDataset's keys, UTF-16, and what is no text", async () => {
    const inside = join(folder, "captions");
    await mkdir(inside);
    const write = (name: string, bytes: string | Uint8Array) => writeFile(join(inside, name), bytes);
    for (const name of ["A.JPG", "b.left.png", "b.right.png", "c.png", "d.png", "e.png", "f.v1.png"]) {
      await write(name, png0);
    }
    await write("A.TXT", "capital");
    await write("b.txt", "of both");
    await write("b.right.txt", "of the right one");
    await write("c.txt", Uint8Array.of(0xff, 0xfe, 0xe9, 0, 0x21, 0)); // UTF-16, small end first
    await write("d.txt", Uint8Array.of(0xfe, 0xff, 0, 0xe9, 0, 0x21)); // big end first
    await write("e.txt", Uint8Array.of(0x63, 0xe9)); // Latin-1
    const captions = async (samples: readonly Sample[]) =>
      await Promise.all(samples.map((sample) => sample.caption().catch((error) => error.message)));
    const wrong = "e.txt: this text is not in UTF-8 (nor in UTF-16 with a byte order mark); save it as UTF-8";
    const right = ["capital", "of both", "of the right one", "é!", "é!"];
    expect(await captions(await Array.fromAsync(eachSample([inside])))).toEqual([
      ...[...right, join(inside, wrong), null],
    ]);

    const path = join(folder, "captions.tar"), names = (await readdir(inside)).sort();
    const members = names.map(async (name) => ({ name, data: await readFile(join(inside, name)) }));
    await writeFile(path, tar(await Promise.all(members)));
    expect(await captions(await Array.fromAsync(eachSample([path])))).toEqual([
      ...right,
      `${path}/${wrong}`,
      null,
    ]);
    const first = (await listImages(path))[0];
    expect([first, ...await captions(await Array.fromAsync(eachSample([first])))]).toEqual([
      `${path}/A.JPG`,
      "capital",
    ]);
  });

  test("says what it leaves out, and reads the last of several members with one name", async () => {
    const mixed = join(folder, "mixed"), path = join(folder, "twice.tar");
    await mkdir(mixed);
    for (const name of ["a.png", "b.jfif", "c.jpe"]) await writeFile(join(mixed, name), png0);
    for (const name of ["d.bmp", "e.bmp", "f.json", "readme"]) await writeFile(join(mixed, name), "");
    await writeFile(
      path,
      tar([
        ...[{ name: "0.png", data: png0 }, { name: "0.txt", data: "old" }],
        ...[{ name: "0.png", data: png1 }, { name: "0.txt", data: "new" }, { name: "0.cls", data: "7" }],
      ]),
    );
    const said: string[] = [];
    const onLeftOut = (source: string, what: string) => void said.push(`${basename(source)}: ${what}`);
    const samples = await Array.fromAsync(eachSample([mixed, path], { onLeftOut }));
    expect(samples.map(({ name }) => basename(name))).toEqual(["a.png", "b.jfif", "c.jpe", "0.png"]);
    expect(said).toEqual([
      "mixed: 4 files: 2 .bmp, 1 .json, 1 without an extension",
      "twice.tar: 2 files: 1 with the name of a later one, 1 .cls",
    ]);
    expect(await samples[3].caption()).toBe("new");
    expect(await samples[3].picture()).toEqual(await readImage(png1));
  });

  test("refuses unreadable input with a one-line error", async () => {
    const empty = join(folder, "empty.tar"), packed = join(folder, "x.tar.gz");
    await writeFile(empty, tar([{ name: "1.txt", data: "no picture" }]));
    await writeFile(packed, "gz");
    await expect(Array.fromAsync(eachSample([empty]))).rejects.toThrow(`no pictures in the archive ${empty}`);
    await expect(Array.fromAsync(eachSample([packed]))).rejects.toThrow("unpack it to a plain .tar first");
    await writeFile(join(faces, "face_00002.txt"), "x".repeat(70_000));
    const samples = await Array.fromAsync(eachSample([faces]));
    await expect(samples[2].caption()).rejects.toThrow(
      "face_00002.txt: a caption of 70000 bytes is too long, at most 65536 are read",
    );
    await rm(join(faces, "face_00002.txt"));
  });
});

test("readAhead keeps the order, reads ahead only as far as allowed, and throws an error when its item is due", async () => {
  let begun = 0, ended = 0;
  const numbers = (async function* () {
    for (let i = 0; i < 10; i++) yield await Promise.resolve(i);
  })();
  const slow = async (i: number) => {
    begun++;
    await new Promise((resolve) => setTimeout(resolve, 10 - i));
    ended++;
    if (i === 7) throw new Error("seven");
    return i;
  };
  const seen: number[] = [];
  const run = async () => {
    for await (const i of readAhead(numbers, slow, 3)) {
      seen.push(i);
      expect(begun).toBeLessThanOrEqual(i + 4);
    }
  };
  await expect(run()).rejects.toThrow("seven");
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(ended).toBe(begun); // no work is left running in the background
});
