// Listing the members of tar archives. Damaged and malicious archives give one clear error.
import { describe, expect, test } from "bun:test";
import { FormatError, memorySource } from "../../../data/index.ts";
import { tarMembers } from "../../../data/files/tar.ts";
import { pax, tar, type TarEntry } from "../../support/tarfile.ts";

async function members(bytes: Uint8Array): Promise<{ name: string; data: string }[]> {
  return (await Array.fromAsync(tarMembers(memorySource("x.tar", bytes)))).map(({ name, offset, size }) => {
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
    ["an empty file", new Uint8Array(0), "the archive is cut short: it ends at byte 0 without an end mark"],
    ["something else", new Uint8Array(2048).fill(80), "this is not a tar archive; unpack it first"],
    ["no end mark", tar([good], false), "it ends at byte 1536 without an end mark"],
    ["a cut header", tar([good, good]).subarray(0, 1600), "it ends at byte 1600 without an end mark"],
    ["cut data", tar([good]).subarray(0, 900), `"a.txt" claims 600 bytes at byte 512, the file has 900`],
    ["an absurd size", tar([{ ...good, size: "77777777777\0" }]), "claims 8589934591 bytes"],
    ["an absurd binary size", tar([{ ...good, size: huge }]), "cut short"],
    ["an absurd pax size", tar([pax({ size: "9".repeat(40) }), good]), "claims 1e+40 bytes"],
    ["a negative pax size", tar([pax({ size: "-1" }), good]), "claims Infinity bytes"],
    ["a size that is not a number", tar([{ ...good, size: "12x" }]), `has the size "12x"`],
    [
      "a long name without end",
      tar([{ name: "l", type: "L", data: "x".repeat(2 ** 20 + 1) }]),
      "a header of",
    ],
    ["a broken pax header", tar([{ name: "p", type: "x", data: "99 path=x\n" }]), "a broken pax header"],
    ["a pax record of length 0", tar([{ name: "p", type: "x", data: "0 path=x\n" }]), "a broken pax header"],
    [
      "a wrong checksum",
      tar([good, { ...good, badChecksum: true }]),
      "byte 1536 does not match its checksum",
    ],
    ["a name with ..", tar([{ name: "../../etc/passwd" }]), `the name "../../etc/passwd" leads out`],
    ["a pax name with ..", tar([pax({ path: "a/../../b" }), good]), `the name "a/../../b" leads out`],
    ["an absolute name", tar([{ name: "/etc/passwd" }]), `the name "/etc/passwd" leads out`],
    ["a name with terminal control characters", tar([{ name: "a\x1b[2J.jpg" }]), `"a\\u001b[2J.jpg"`],
    [
      "no name",
      tar([{ name: "" }]),
      `the name "" leads out of the archive, is empty or has control characters`,
    ],
    ["a link", tar([{ name: "a.jpg", type: "2" }]), `"a.jpg" is not a regular file (type "2")`],
    ["a device", tar([{ name: "a.jpg", type: "3" }]), `is not a regular file (type "3")`],
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

  test("gives, for every mutation, members inside the archive or one clear error", async () => {
    const bytes = tar([good, pax({ path: "b" }), {
      name: "c",
      data: Uint8Array.from({ length: 1500 }, (_, i) => i * 7),
    }]);
    let refused = 0;
    for (let i = 0; i < 2000; i++) {
      const changed = bytes.slice(0, i % 7 === 0 ? bytes.length * i / 2000 : bytes.length);
      for (let k = 0; k <= i % 3; k++) {
        changed[(i * 7919 + k * 104729) % Math.max(1, changed.length)] = i * 31 + k;
      }
      try {
        for (const { offset, size } of await Array.fromAsync(tarMembers(memorySource("x.tar", changed)))) {
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
