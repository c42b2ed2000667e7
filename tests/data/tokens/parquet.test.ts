// Parquet files of other writers, in every compression and layout, and hostile ones. tests/fixtures/tokens/make.py wrote the
// fixtures.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { FormatError, type TokenRecord } from "../../../data/index.ts";
import {
  int,
  list,
  magic,
  parquetFile,
  run,
  struct,
  text,
  type Thrift,
  varint,
  withFooter,
  withLength,
} from "../../support/parquet_file.ts";
import { readAll } from "../../support/token_files.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-parquet-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const fixtures = fileURLToPath(new URL("../../fixtures/tokens/", import.meta.url));
const names = readdirSync(fixtures).filter((name) => name.endsWith(".parquet"));

async function refusal(path: string): Promise<string> {
  try {
    await readAll(path);
    return "read";
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return (error as Error).message.slice(path.length + 2);
  }
}

describe("Parquet by arrow, polars, duckdb, pandas and fastparquet", () => {
  const captions = ["a face", null, 'ünï "quoted"'];
  const expected = captions.map((caption, row): TokenRecord => ({
    file: `faces/${row}.jpg`,
    caption,
    encoding: Array.from({ length: 16 }, (_, i) => (i * 4099 + row * 7) % 16384),
    grid: [4, 4],
  }));
  for (const name of names.filter((name) => !name.startsWith("refused"))) {
    test(name, async () => expect(await readAll(join(fixtures, name))).toEqual(expected));
  }

  const refused: Readonly<Record<string, string>> = {
    all_null: "row 1: its encoding is missing",
    bools: "row 1: its encoding has true at place 0, expected whole numbers >= 0",
    bytes: 'row 1: its encoding is "\\u0001\\u0002", expected a list of whole numbers',
    caption_of_numbers: "row 1: its caption is 5, expected a text",
    dates: "row 1: its encoding has a date at place 0",
    empty_list: "row 2: it has 0 tokens, which do not fill a square",
    fractions: "row 2: its encoding has 1.5 at place 0",
    latin1_caption: "a text in its column caption is not UTF-8; save it as UTF-8",
    list_of_structures: "its column encoding has structures inside",
    map: "its column encoding is a structure of several",
    negative: "row 2: its encoding has -1 at place 0",
    negative_grid: "row 1: its grid has -2 at place 0",
    nested: "its column encoding has lists in lists; store a text or a list of whole numbers in it",
    null_in_grid: "row 1: its grid has null at place 1",
    null_list: "row 2: its encoding is missing",
    null_token: "row 2: its encoding has null at place 1",
    structure: "its column encoding is a structure of several",
    texts: 'row 1: its encoding has "1" at place 0',
    times: "row 1: its encoding has a date at place 0",
    whole_number: "row 1: its encoding is 1, expected a list of whole numbers",
  };
  test("each refused fixture has its message", () => {
    const there = names.filter((name) => name.startsWith("refused")).map((name) => name.slice(8, -8));
    expect(there.sort()).toEqual(Object.keys(refused).sort());
  });
  for (const [name, message] of Object.entries(refused)) {
    test(`${name}: ${message}`, async () => {
      const found = await refusal(join(fixtures, `refused_${name}.parquet`));
      expect(found.slice(0, message.length)).toBe(message);
    });
  }
});

describe("Parquet field by field", () => {
  const levels = (count: number) => [
    ...withLength([...run(1, 0), ...run(count - 1, 1)]), // one list
    ...withLength(run(count, 1)), // without nulls
  ];
  const plain = (...values: number[]) =>
    Uint8Array.from([...levels(values.length), ...new Uint8Array(Int32Array.from(values).buffer)]);
  const read = async (name: string, bytes: Uint8Array) => {
    const path = join(folder, name);
    await writeFile(path, bytes);
    return await refusal(path);
  };

  test("is read, packed or not", async () => {
    const path = join(folder, "sound.parquet"), bytes = plain(1, 2, 3, 4);
    const packed = { bytes: new Uint8Array(gzipSync(bytes)), count: 4, full: bytes.length };
    for (const file of [parquetFile([{ bytes, count: 4 }]), parquetFile([packed], { codec: 2 })]) {
      await writeFile(path, file);
      expect((await readAll(path))[0].encoding).toEqual([1, 2, 3, 4]);
    }
  });

  const sound = plain(1, 2, 3, 4), page = { bytes: sound, count: 4 };
  const after = (...bytes: number[]) => Uint8Array.from([...levels(4), ...bytes]);
  const differences = (block: number, parts: number, count: number) =>
    after(
      ...varint(block),
      ...varint(parts),
      ...varint(count),
      2,
      0,
      ...Array(parts > 64 ? 0 : parts).fill(0),
    );
  const cases: [name: string, file: Uint8Array, message: string][] = [
    ["levels that are too few", parquetFile([{ ...page, count: 5 }]), "only 4 of 5 values"],
    [
      "a run that is too long",
      parquetFile([{ bytes: Uint8Array.from(withLength(run(2 ** 30, 0))), count: 4 }]),
      "a run of 1073741824 values of 4",
    ],
    [
      "values that are too few",
      parquetFile([{ bytes: sound.subarray(0, -1), count: 4 }]),
      "4 values in 15 bytes",
    ],
    ["a page of 2^30 values", parquetFile([{ ...page, count: 2 ** 30 }]), "claims 1073741824 values"],
    [
      "a page of 2^30 bytes",
      parquetFile([{ ...page, full: 2 ** 30 }], { codec: 2 }),
      "claims 30 and 1073741824",
    ],
    ["other numbers of values", parquetFile([page], { count: 5 }), "claims 5 values, but its pages have 4"],
    ["fewer rows", parquetFile([page], { rows: 2 }), "the column encoding has 1 of 2 rows"],
    ["more rows", parquetFile([page, page], { rows: 1 }), "has more than 1 rows"],
    [
      "a list that nobody began",
      parquetFile([{
        bytes: Uint8Array.from([...withLength(run(4, 1)), ...withLength(run(4, 1)), ...Array(16)]),
        count: 4,
      }]),
      "begins within a list",
    ],
    [
      "an unknown compression",
      parquetFile([page], { codec: 3 }),
      "its compression LZO is unknown; write it with",
    ],
    [
      "an index without a dictionary",
      parquetFile([{ bytes: after(1, ...run(4, 0)), count: 4, encoding: 8 }]),
      "has no dictionary",
    ],
    ["an unknown encoding", parquetFile([{ ...page, encoding: 4 }]), "its encoding BIT_PACKED is unknown"],
    [
      "differences in no parts",
      parquetFile([{ bytes: differences(128, 0, 4), count: 4, encoding: 5 }]),
      "4 differences in blocks of 128 / 0, of 4",
    ],
    [
      "differences in 2^31 parts",
      parquetFile([{ bytes: differences(2 ** 31, 2 ** 31, 4), count: 4, encoding: 5 }]),
      "4 differences in blocks of",
    ],
    [
      "a text beyond the page",
      parquetFile([{ bytes: Uint8Array.of(255, 255, 255, 127, 65), count: 1 }], { isText: true }),
      "a text is cut off",
    ],
    [
      "texts with a longer beginning than any",
      parquetFile([{
        bytes: Uint8Array.from([128, 1, 4, 1, 20, 128, 1, 4, 1, 2, 65]),
        count: 1,
        encoding: 7,
      }], { isText: true }),
      "a text begins with more than the one before has",
    ],
    [
      "a page of another length",
      parquetFile([{ bytes: new Uint8Array(gzipSync(sound)), count: 4, full: 29 }], { codec: 2 }),
      "a page does not unpack to 29 bytes",
    ],
    [
      "a bomb of gzip",
      parquetFile([{ bytes: new Uint8Array(gzipSync(new Uint8Array(3e7))), count: 4, full: 30 }], {
        codec: 2,
      }),
      "a page does not unpack to 30 bytes",
    ],
    [
      "a bomb of zstd",
      parquetFile([{ bytes: new Uint8Array(zstdCompressSync(new Uint8Array(3e7))), count: 4, full: 30 }], {
        codec: 6,
      }),
      "a page does not unpack to 30 bytes",
    ],
    [
      "LZ4 that is none",
      parquetFile([{ bytes: Uint8Array.of(0xf0, 255, 255), count: 4, full: 30 }], { codec: 7 }),
      "a page is not LZ4",
    ],
  ];
  for (const [name, file, message] of cases) {
    test(`${name}: ${message}`, async () => expect(await read("case.parquet", file)).toContain(message));
  }

  test("a billion tokens in a kilobyte", async () => {
    const length = 2 ** 22, bytes = Uint8Array.from([...levels(length), 0]);
    const pages = Array.from({ length: 256 }, () => ({ bytes, count: length, encoding: 8 }));
    const dictionary = { bytes: new Uint8Array(4), count: 1, isDictionary: true };
    const message = await read("bomb.parquet", parquetFile([dictionary, ...pages], { rows: 256 }));
    expect(message).toContain("it claims more than 33554432 tokens in");
  });
});

describe("footers", () => {
  const nested = (depth: number): Thrift => depth === 0 ? int(1) : list([nested(depth - 1)]);
  const children = (counts: readonly number[]) =>
    struct(
      [1, int(1)],
      [2, list(counts.map((n, i) => struct([3, int(0)], [4, text(`e${i}`)], [5, int(n)])))],
      [
        3,
        int(0, true),
      ],
      [4, list([])],
    );
  const cases: [name: string, bytes: Uint8Array, message: string][] = [
    ["nothing", new Uint8Array(0), "the file is empty"],
    ["four bytes", new Uint8Array(4), "a file of 4 bytes is too short"],
    ["zeros", new Uint8Array(100), "it does not end with PAR1"],
    ["a list of lists of lists", withFooter([magic], struct([2, nested(40)])), "its structure is too deep"],
    [
      "a list of a billion",
      withFooter([magic], struct([2, list([int(1)], 2 ** 30)])),
      "a list claims 1073741824 values",
    ],
    [
      "lists that claim a billion in all",
      withFooter(
        [magic],
        struct(...Array.from({ length: 8 }, (_, i) => [i + 1, list([int(1)], 2 ** 20)] as const)),
      ),
      "cut off",
    ],
    ["children below zero", withFooter([magic], children([-1])), "e0 claims -1 children"],
    ["too many children", withFooter([magic], children([1, 3])), "e1 claims 3 children"],
    ["missing children", withFooter([magic], children([2, 0])), "its schema is cut off"],
    [
      "a schema of 100 levels",
      withFooter([magic], children([...Array(100).fill(1), 0])),
      "its schema is too deep",
    ],
    ["two roots", withFooter([magic], children([1, 0, 0])), "belongs to nothing"],
    ["no schema", withFooter([magic], struct([1, int(1)])), "its structure is damaged"],
  ];
  for (const [name, bytes, message] of cases) {
    test(`${name}: ${message}`, async () => {
      const path = join(folder, "footer.parquet");
      await writeFile(path, bytes);
      expect(await refusal(path)).toContain(message);
    });
  }
});
