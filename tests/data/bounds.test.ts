// What a file can cost: the largest that each reader's limits let through, and the smallest that ask for the most, each in a
// process of its own. The promise is 1.5 GB and 10 seconds of one core (docs/reliability.md). The seconds are those of the
// processor, so that they hardly depend on what else runs, and twice as many are allowed, for machines that are slower.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { deflateSync } from "fflate";
import { parquetFile, run, withLength } from "../support/parquet_file.ts";
import { floatBytes, pickle, tensorCall, zip } from "../support/torchfile.ts";

setDefaultTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-bounds-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const child = fileURLToPath(new URL("../support/reader_child.ts", import.meta.url));
const runner = [process.execPath, ...(process.versions.bun ? [] : ["run", "-A", "--no-check"]), child];

interface Cost {
  readonly error: string | null;
  readonly kind: string;
  readonly seconds: number;
  readonly megabytes: number;
}

/** Repeats bytes until there are about 60 MB of them. */
function filled(before: number[], unit: number[], after: number[], length = 60e6): Uint8Array {
  const bytes = new Uint8Array(before.length + Math.floor(length / unit.length) * unit.length + after.length);
  bytes.set(before);
  for (let at = before.length; at < bytes.length - after.length; at += unit.length) bytes.set(unit, at);
  bytes.set(after, bytes.length - after.length);
  return bytes;
}

const inZip = (bytes: Uint8Array) =>
  zip([{ name: "a/data.pkl", bytes }, { name: "a/data/0", bytes: floatBytes(1, 2, 3, 4) }]);

/** A pickle of protocol 4 with one opcode again and again. */
const pickled = (unit: number[], before: number[] = [0x28], after: number[] = [0x74]) =>
  inZip(filled([0x80, 4, ...before], unit, [...after, 0x2e]));

/** A pickle that calls the same function with the same tensor again and again. */
function tensors(): Uint8Array {
  const call = [...pickle(tensorCall("0", 4, [2, 2], [2, 1]))].slice(2, -2),
    name = call.indexOf(10, call.indexOf(10) + 1) + 1;
  const before = [0x80, 2, 0x28, ...call.slice(0, name), 0x71, 0, ...call.slice(name), 0x71, 1];
  return inZip(filled(before, [0x68, 0, 0x68, 1, 0x52], [0x74, 0x2e]));
}

function safetensors(header: string): Uint8Array {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([prefix, Buffer.from(header, "latin1")]);
}

/** Lists with as many tokens in a page as are read, of a dictionary with one value. */
function manyTokens(): Uint8Array {
  const side = 4096, length = side * side;
  const levels = [...withLength([...run(1, 0), ...run(length - 1, 1)]), ...withLength(run(length, 1))];
  const page = { bytes: Uint8Array.from([...levels, 0]), count: length, encoding: 8 };
  return parquetFile([{ bytes: new Uint8Array(4), count: 1, isDictionary: true }, page, page, page], {
    rows: 3,
  });
}

const files: [name: string, how: string, bytes: () => Uint8Array, message: RegExp | null][] = [
  ["dicts.ckpt", "checkpoint", () => pickled([0x7d]), /makes more values than a checkpoint has/],
  ["remembered.ckpt", "checkpoint", () => pickled([0x94], [0x4e], []), /makes more values/],
  ["tensors.ckpt", "checkpoint", tensors, /makes more values/],
  ["strings.ckpt", "checkpoint", () => pickled([0x8c, 1, 0x61]), /more names or tensors/],
  ["legacy.ckpt", "checkpoint", () => {
    const magic = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
    return filled([...magic, 0x80, 2, 0x5d], [0x4b, 1, 0x61], [0x2e]);
  }, /makes more values/],
  ["inflated.ckpt", "checkpoint", () => {
    const bytes = deflateSync(new Uint8Array(5e8));
    return zip([{ name: "a/data.pkl", bytes, method: 8, claim: { length: 1000 } }]);
  }, /does not unpack to 1000 bytes/],
  ["keys.safetensors", "checkpoint", () => {
    return safetensors(`{${Array.from({ length: 3e6 - 10 }, (_, i) => `"k${i}":0`).join(",")}}`);
  }, /tensor "k0" has no description/],
  [
    "lists.safetensors",
    "checkpoint",
    () => safetensors(`{"a":[${"[],".repeat(2e7)}0]}`),
    /more than 3000000 values/,
  ],
  [
    "values.msgpack",
    "checkpoint",
    () => filled([0x81, 0xa1, 0x61, 0xdd, 0xff, 0, 0, 0], [0xc0], []),
    /more than 4194304/,
  ],
  ["tokens.parquet", "tokens", manyTokens, /claims more than 33554432 tokens in \d+ bytes/],
  [
    "lists.jsonl",
    "tokens",
    () => Buffer.from(`{"encoding":[${"[],".repeat(2e7)}0]}`),
    /more than 3000000 values/,
  ],
  ["quotes.tsv", "tokens", () => Buffer.from(`file\tencoding\n"${"a\n".repeat(8e6)}"\t[1]\n`), null],
  [
    "open.tsv",
    "tokens",
    () => Buffer.from(`file\tencoding\n"${"a\n".repeat(2e7)}`),
    /a quoted cell never ends/,
  ],
  ["deep.yaml", "config", () => Buffer.from(`a: ${"[".repeat(60_000)}`), /deep\.yaml: /],
];

describe("a file costs at most 1.5 GB and 10 seconds", () => {
  for (const [name, how, make, message] of files) {
    test(name, async () => {
      if (!existsSync("/proc/self/status")) return; // only Linux tells the largest memory of a process
      const path = join(folder, name);
      await writeFile(path, make());
      check(path, how, message);
      await rm(path);
    });
  }

  test("a sparse file of 1 TB, and a tensor that claims all of it", async () => {
    if (!existsSync("/proc/self/status")) return;
    const path = join(folder, "sparse.safetensors"), file = await open(path, "w");
    const length = 2 ** 40, header = `{"a":{"dtype":"U8","shape":[${length}],"data_offsets":[0,${length}]}}`;
    try {
      await file.write(safetensors(header));
      await file.truncate(8 + header.length + length);
    } catch {
      return; // this disk has no files of that size
    } finally {
      await file.close();
    }
    check(path, "checkpoint", null);
  });
});

function check(path: string, how: string, message: RegExp | null): void {
  const { stdout, stderr } = spawnSync(runner[0], [...runner.slice(1), how, path], { encoding: "utf8" });
  if (!stdout.startsWith("{")) throw new Error(`${path} ended the reader: ${stderr.slice(-500)}`);
  const { error, kind, seconds, megabytes } = JSON.parse(stdout) as Cost;
  console.log(`${path.split("/").at(-1)}: ${seconds.toFixed(1)} s, ${Math.round(megabytes)} MB`);
  if (message === null) expect(error).toBe(null);
  else {
    expect(error).toMatch(message);
    expect(error).toMatch(/^[^\p{Cc}]*$/u);
    expect(error).toContain(path);
    expect(["FormatError", "Error"]).toContain(kind);
  }
  expect(megabytes).toBeLessThan(1500);
  expect(seconds).toBeLessThan(20);
}
