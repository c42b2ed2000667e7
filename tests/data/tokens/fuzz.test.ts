// The readers of token files and archives against seeded mutations. The result must be a FormatError of one line, or what an
// oracle reads from the same changed bytes (tests/support/oracle). TESSERA_FUZZ=10000 sets the number of mutations per file
// (default 150).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Buffer } from "node:buffer";
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
import { jsonLines, parquet, type Row, tar as tarOracle, tsv } from "../../support/oracle/tokens.ts";
import { Verdicts } from "../../support/oracle/verdict.ts";
import { pax, tar } from "../../support/tarfile.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 100 * mutations);

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
const fixtures = [
  "none",
  "zstd",
  "gzip_v2",
  "brotli",
  "lz4",
  "delta",
  "split_bytes",
  "split_pages",
  "row_groups",
  "text",
]
  .map((name) => `arrow_${name}.parquet`);
const tokenFiles: [name: string, sound: Uint8Array][] = await Promise.all(
  [...fixtures, "polars_zstd.parquet", "duckdb_zstd_V2.parquet"].map(async (
    name,
  ): Promise<[string, Uint8Array]> => [
    name,
    new Uint8Array(await readFile(new URL(`../../fixtures/tokens/${name}`, import.meta.url))),
  ]),
);
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

/** Reads everything as Tessera does. @returns null if the file was refused. Errors other than FormatError are thrown on */
async function unlessRefused<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (/\p{Cc}/u.test(error.message)) throw new Error(`no clear line: ${JSON.stringify(error.message)}`);
    return null;
  }
}

async function readTokens(path: string): Promise<TokenRecord[]> {
  const file = await openTokens(path), rows: TokenRecord[] = [];
  let tokens = 0;
  for await (const row of file.records()) {
    const { file: name, encoding, grid: [rows_, columns] } = row;
    tokens += encoding.length;
    const isSound = name !== "" && rows_ * columns === encoding.length &&
      encoding.every(Number.isSafeInteger);
    if (!isSound || tokens > maxTokens) {
      throw new Error(`${name}: ${tokens} tokens, grid ${rows_}x${columns}`);
    }
    rows.push(row);
  }
  return rows;
}

type Oracle<T> = (bytes: Uint8Array) => T | Promise<T>;

/** Compares what the reader found with what the oracle finds in the same bytes. */
async function judge<T>(
  found: T | null,
  oracle: Oracle<T>,
  bytes: Uint8Array,
): Promise<string[] | "unjudged" | null> {
  if (found === null) return null;
  let expected: T;
  try {
    expected = await oracle(bytes);
  } catch {
    return "unjudged"; // the oracle cannot read it, so it cannot say what is right
  }
  const [own, right] = [found, expected].map((value) => JSON.stringify(value));
  if (own === right) return [];
  const at = Array.from(own).findIndex((c, i) => c !== right[i]);
  return [
    `${own.slice(Math.max(0, at - 40), at + 40)} where the oracle has ${
      right.slice(Math.max(0, at - 40), at + 40)
    }`,
  ];
}

async function fuzz<T>(
  name: string,
  sound: Uint8Array,
  other: Uint8Array,
  salt: number,
  read: (bytes: Uint8Array) => Promise<T>,
  oracle: Oracle<T>,
): Promise<void> {
  expect(await judge(await unlessRefused(() => read(sound)), oracle, sound)).toEqual([]);
  const verdicts = new Verdicts();
  for (let seed = 0; seed < mutations; seed++) {
    const bytes = mutate(sound, other, mutationRandom(seed * 64 + salt));
    try {
      verdicts.add(await judge(await unlessRefused(() => read(bytes)), oracle, bytes));
    } catch (error) {
      throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}`);
    }
  }
  verdicts.check(name, mutations);
}

/** A record as an oracle gives it. @param isNamed whether the row itself has a name */
const asRow = ({ file, caption, encoding, grid }: TokenRecord): Row => ({
  file: /^(line|row)-\d+$/.test(file) ? null : file,
  caption,
  encoding,
  grid,
});

const oracles: Readonly<Record<string, Oracle<Row[]>>> = { parquet, jsonl: jsonLines, tsv };

describe(`${mutations} mutations of`, () => {
  for (const [i, [name, sound]] of tokenFiles.entries()) {
    const path = join(folder, `mutated-${name}`), other = tokenFiles[(i + 2) % tokenFiles.length][1];
    test(name, async () => {
      const read = async (bytes: Uint8Array) => {
        await writeFile(path, bytes);
        return (await readTokens(path)).map(asRow);
      };
      await fuzz(name, sound, other, i, read, oracles[name.split(".").at(-1)!]);
    });
  }

  test("an archive", async () => {
    const read = async (bytes: Uint8Array) => {
      const found: Record<string, string> = {};
      for await (const { name, offset, size } of tarMembers(memorySource("x.tar", bytes))) {
        if (offset + size > bytes.length) throw new Error(`${size} bytes at ${offset} of ${bytes.length}`);
        found[name] = hex(bytes.subarray(offset, offset + size));
      }
      return found;
    };
    const oracle = (bytes: Uint8Array) =>
      Object.fromEntries([...tarOracle(bytes)].map(([name, data]) => [name, hex(data)]));
    await fuzz("an archive", archive, tokenFiles[0][1], 40, read, oracle);
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
