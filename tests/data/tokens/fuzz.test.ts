// The readers of token files and archives against seeded mutations. The result must be valid records or a one-line
// FormatError. TESSERA_FUZZ=10000 sets the number of mutations per file (default 300).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { tarMembers } from "../../../data/files/tar.ts";
import {
  FormatError,
  memorySource,
  openTokens,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
} from "../../../data/index.ts";
import { mutate, mutationRandom } from "../../support/mutations.ts";
import { pax, tar } from "../../support/tarfile.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 300);
setDefaultTimeout(60_000 + 60 * mutations);

/** The largest number of tokens that a file of a few kilobytes may make the reader return. */
const maxTokens = 2 ** 22;

const folder = await mkdtemp(join(tmpdir(), "tessera-tokens-fuzz-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const header: TokenHeader = {
  format: "tessera-tokens",
  version: 1,
  factor: 16,
  grid: null,
  vocabulary: 16384,
  range: "signed",
  attentionOrder: "taming",
  preprocessing: "none",
  model: "m.ckpt",
  weights: "ab12",
  source: ["s"],
  shard: null,
};
const records = Array.from({ length: 12 }, (_, i): TokenRecord => ({
  file: `picture ${i}.png`,
  caption: i % 3 === 0 ? null : `"quoted",\tand\n${"long ".repeat(i)}`,
  encoding: Array.from({ length: 4 + 4 * i }, (_, k) => (k * 7919 + i) % 16384),
  grid: [2, 2 + 2 * i],
}));

async function written(name: string, head: TokenHeader, rows: readonly TokenRecord[]): Promise<Uint8Array> {
  const path = join(folder, name);
  const writer = await TokenWriter.open(path, head);
  await writer.add(rows);
  await writer.finish();
  return new Uint8Array(await readFile(path));
}

const square = records.slice(0, 1);
const tokenFiles: [name: string, sound: Uint8Array][] = [];
for (const ending of ["parquet", "jsonl", "tsv"]) {
  tokenFiles.push([`grids.${ending}`, await written(`grids.${ending}`, header, records)]);
  tokenFiles.push([`one.${ending}`, await written(`one.${ending}`, { ...header, grid: [2, 2] }, square)]);
}
const archive = tar([
  { name: "a.txt", data: "a caption" },
  pax({ path: "long/b.png" }),
  { name: "b", data: "x".repeat(700) },
  { name: "c.png", data: "y".repeat(20) },
]);

/**
 * Reads everything as Tessera does. @returns whether the file was refused. Errors other than FormatError are thrown on
 */
async function isRefused(read: () => Promise<void>): Promise<boolean> {
  try {
    await read();
    return false;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (/\p{Cc}/u.test(error.message)) throw new Error(`no clear line: ${JSON.stringify(error.message)}`);
    return true;
  }
}

async function readTokens(path: string): Promise<void> {
  const file = await openTokens(path);
  let tokens = 0;
  for await (const { file: name, encoding, grid: [rows, columns] } of file.records()) {
    tokens += encoding.length;
    const isSound = name !== "" && rows * columns === encoding.length && encoding.every(Number.isSafeInteger);
    if (!isSound || tokens > maxTokens) throw new Error(`${name}: ${tokens} tokens, grid ${rows}x${columns}`);
  }
}

async function readArchive(bytes: Uint8Array): Promise<void> {
  for await (const { offset, size } of tarMembers(memorySource("x.tar", bytes))) {
    if (offset + size > bytes.length) throw new Error(`${size} bytes at ${offset} of ${bytes.length}`);
  }
}

async function fuzz(
  [name, sound]: [string, Uint8Array],
  other: Uint8Array,
  salt: number,
  read: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  expect(await isRefused(() => read(sound))).toBe(false);
  let refused = 0;
  for (let seed = 0; seed < mutations; seed++) {
    const bytes = mutate(sound, other, mutationRandom(seed * 64 + salt));
    try {
      if (await isRefused(() => read(bytes))) refused++;
    } catch (error) {
      throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}`);
    }
  }
  expect(refused).toBeGreaterThan(mutations / 20);
}

describe(`${mutations} mutations of`, () => {
  for (const [i, file] of tokenFiles.entries()) {
    const path = join(folder, `mutated-${file[0]}`);
    test(file[0], async () => {
      await fuzz(file, tokenFiles[(i + 2) % tokenFiles.length][1], i, async (bytes) => {
        await writeFile(path, bytes);
        await readTokens(path);
      });
    });
  }

  test("an archive", () => fuzz(["an archive", archive], tokenFiles[0][1], 40, readArchive));
});
