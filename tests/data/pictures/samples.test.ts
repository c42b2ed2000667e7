// Pictures and captions from folders and tar archives; archives that are damaged or mean harm give one clear error.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  eachSample,
  FormatError,
  memorySource,
  readAhead,
  type Sample,
  writeCartoonFaces,
} from "../../../data/index.ts";
import { tarMembers } from "../../../data/files/tar.ts";
import { pax, tar, type TarEntry } from "../../support/tarfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-samples-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const faces = join(folder, "faces");
await writeCartoonFaces(faces, 3, 24, 1);
const [png0, png1] = await Promise.all(
  [0, 1].map((i) => readFile(join(faces, `face_0000${i}.png`))),
);
await writeFile(join(faces, "face_00001.txt"), " a face\n");

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function members(bytes: Uint8Array): Promise<{ name: string; data: string }[]> {
  return (await all(tarMembers(memorySource("x.tar", bytes)))).map(({ name, offset, size }) => {
    return { name, data: new TextDecoder().decode(bytes.subarray(offset, offset + size)) };
  });
}

describe("tarMembers", () => {
  test("reads plain, long and pax names, and sizes of every kind", async () => {
    const long = `deep/${"x".repeat(120)}.txt`;
    const bytes = tar([
      { name: "folder/", type: "5" },
      { name: "a.txt", data: "one" },
      { name: "././@LongLink", type: "L", data: `${long}\0` },
      { name: "cut", data: "two" },
      pax({ path: "ünï.txt", size: "5", mtime: "1.5" }),
      { name: "other", data: "three", size: "00000000000\0" },
      { name: "g", type: "g", data: "10 a=1234\n" },
      { name: "big-endian.txt", data: "four", size: Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4) },
      { name: "old.txt", data: "", type: "\0" },
    ]);
    expect(await members(bytes)).toEqual([
      { name: "a.txt", data: "one" },
      { name: long, data: "two" },
      { name: "ünï.txt", data: "three" },
      { name: "big-endian.txt", data: "four" },
      { name: "old.txt", data: "" },
    ]);
  });

  const good: TarEntry = { name: "a.txt", data: "x".repeat(600) };
  const huge = new Uint8Array(12).fill(0xff);
  const cases: [what: string, bytes: Uint8Array, message: string][] = [
    ["an empty file", new Uint8Array(0), "the archive is cut short: it ends at byte 0 without its end mark"],
    ["something else", new Uint8Array(2048).fill(80), "this is not a tar archive; unpack it first"],
    ["no end mark", tar([good], false), "it ends at byte 1536 without its end mark"],
    ["a cut header", tar([good, good]).subarray(0, 1600), "it ends at byte 1600 without its end mark"],
    ["cut data", tar([good]).subarray(0, 900), `"a.txt" claims 600 bytes at byte 512, the file has 900`],
    ["an absurd size", tar([{ ...good, size: "77777777777\0" }]), "claims 8589934591 bytes"],
    ["an absurd binary size", tar([{ ...good, size: huge }]), "cut short"],
    ["an absurd pax size", tar([pax({ size: "9".repeat(40) }), good]), "claims 1e+40 bytes"],
    ["a negative pax size", tar([pax({ size: "-1" }), good]), "claims Infinity bytes"],
    ["a size that is none", tar([{ ...good, size: "12x" }]), `has the size "12x"`],
    [
      "a long name without end",
      tar([{ name: "l", type: "L", data: "x".repeat(2 ** 20 + 1) }]),
      "a header of",
    ],
    ["a broken pax header", tar([{ name: "p", type: "x", data: "99 path=x\n" }]), "a broken pax header"],
    ["a pax record of no length", tar([{ name: "p", type: "x", data: "0 path=x\n" }]), "a broken pax header"],
    ["a wrong checksum", tar([good, { ...good, badChecksum: true }]), "byte 1536 has another checksum"],
    ["a climbing name", tar([{ name: "../../etc/passwd" }]), `the name "../../etc/passwd" leads out`],
    ["a climbing pax name", tar([pax({ path: "a/../../b" }), good]), `the name "a/../../b" leads out`],
    ["an absolute name", tar([{ name: "/etc/passwd" }]), `the name "/etc/passwd" leads out`],
    ["a name that writes to the terminal", tar([{ name: "a\x1b[2J.jpg" }]), `"a\\u001b[2J.jpg"`],
    ["no name", tar([{ name: "" }]), `the name "" leads out of the archive or is none`],
    ["a link", tar([{ name: "a.jpg", type: "2" }]), `"a.jpg" is no regular file (type "2")`],
    ["a device", tar([{ name: "a.jpg", type: "3" }]), `is no regular file (type "3")`],
  ];
  for (const [what, bytes, message] of cases) {
    test(`refuses ${what}`, async () => {
      const error = await members(bytes).then(() => null, (error) => error);
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toContain(message);
      expect(error.message.startsWith("x.tar: ")).toBe(true);
      expect(error.message.includes("\n")).toBe(false);
    });
  }

  test("answers every mutation with members inside the archive or one clear error", async () => {
    const bytes = tar([good, pax({ path: "b" }), { name: "c", data: png0 }]);
    let refused = 0;
    for (let i = 0; i < 2000; i++) {
      const changed = bytes.slice(0, i % 7 === 0 ? bytes.length * i / 2000 : bytes.length);
      for (let k = 0; k <= i % 3; k++) {
        changed[(i * 7919 + k * 104729) % Math.max(1, changed.length)] = i * 31 + k;
      }
      try {
        for (const { offset, size } of await all(tarMembers(memorySource("x.tar", changed)))) {
          expect(offset + size).toBeLessThanOrEqual(changed.length);
        }
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});

describe("eachSample", () => {
  const told = async (samples: readonly Sample[]) =>
    await Promise.all(samples.map(async (sample) => [sample.name, await sample.caption()]));

  test("pairs files with the text beside them", async () => {
    expect(await told(await all(eachSample([faces])))).toEqual([
      [join(faces, "face_00000.png"), null],
      [join(faces, "face_00001.png"), "a face"],
      [join(faces, "face_00002.png"), null],
    ]);
  });

  test("reads archives as they are, the caption before or after its picture", async () => {
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
    const samples = await all(eachSample([path, faces]));
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

  test("refuses what it cannot read by one line", async () => {
    const empty = join(folder, "empty.tar"), packed = join(folder, "x.tar.gz");
    await writeFile(empty, tar([{ name: "1.txt", data: "no picture" }]));
    await writeFile(packed, "gz");
    await expect(all(eachSample([empty]))).rejects.toThrow(`no pictures in the archive ${empty}`);
    await expect(all(eachSample([packed]))).rejects.toThrow("unpack it to a plain .tar first");
    await writeFile(join(faces, "face_00002.txt"), "x".repeat(70_000));
    const samples = await all(eachSample([faces]));
    await expect(samples[2].caption()).rejects.toThrow("its caption has 70000 bytes, at most 65536");
    await rm(join(faces, "face_00002.txt"));
  });
});

test("readAhead keeps the order, reads no further ahead than told, and throws in its turn", async () => {
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
  expect(ended).toBe(begun); // nothing goes on behind the caller's back
});
