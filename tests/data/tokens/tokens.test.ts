// Token files: each format gives back what was written, a journal survives kills, files from elsewhere are understood, and
// broken ones get one clear error.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteWriter, parquetWrite } from "hyparquet-writer";
import {
  FormatError,
  openTokens,
  type OpenTokensOptions,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
} from "../../../data/index.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-tokens-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const header: TokenHeader = {
  format: "tessera-tokens",
  version: 1,
  factor: 16,
  grid: [2, 3],
  vocabulary: 16384,
  range: "signed",
  attentionOrder: "taming",
  preprocessing: "none",
  model: "last.ckpt",
  weights: "ab12",
  source: ["faces"],
  shard: null,
};
const captions = [
  null,
  "",
  'a "quoted" face',
  '"',
  "tab\tand\nline\n\nends",
  "ünï 😀",
  "[1,2]",
  "# {",
  '"a"\t""b',
];
const records: TokenRecord[] = captions.map((caption, i) => {
  return { file: `faces/${i}.jpg`, caption, encoding: [i, 16383, 0, 7, i * i, 300], grid: [2, 3] };
});

async function readAll(path: string, options?: OpenTokensOptions): Promise<TokenRecord[]> {
  const found: TokenRecord[] = [];
  for await (const record of (await openTokens(path, options)).records()) found.push(record);
  return found;
}

async function write(path: string, head: TokenHeader, rows: readonly TokenRecord[]): Promise<void> {
  const writer = await TokenWriter.open(path, head);
  await writer.add(rows.slice(0, 2));
  await writer.add(rows.slice(2));
  await writer.finish();
}

for (const format of ["parquet", "jsonl", "tsv"]) {
  describe(format, () => {
    test("gives back what was written, and how it was made", async () => {
      const path = join(folder, `all.${format}`);
      await write(path, header, records);
      expect(await readAll(path)).toEqual(records);
      expect((await openTokens(path)).header).toEqual(header);
      expect((await readdir(folder)).filter((name) => name.includes("partial"))).toEqual([]);
    });

    test("keeps the grids of pictures of different shapes", async () => {
      const path = join(folder, `shapes.${format}`), free = { ...header, grid: null };
      const shapes = records.map((record, i) => ({
        ...record,
        grid: i % 2 ? [6, 1] as const : [3, 2] as const,
      }));
      await write(path, free, shapes);
      expect(await readAll(path)).toEqual(shapes);
    });

    test("may be empty", async () => {
      const path = join(folder, `empty.${format}`);
      await write(path, header, []);
      expect(await readAll(path)).toEqual([]);
    });

    test("goes on after a kill at any byte, with nothing twice and nothing missing", async () => {
      const whole = join(folder, `whole.${format}`);
      await write(whole, header, records);
      const lines = [header, ...records.map(({ file, caption, encoding }) => ({ file, caption, encoding }))];
      const journal = lines.map((line) => JSON.stringify(line) + "\n").join("");
      const size = new TextEncoder().encode(journal).length;
      for (let cut = 0; cut <= size; cut += 41) {
        const path = join(folder, `cut.${format}`);
        await writeFile(`${path}.partial`, journal);
        await truncate(`${path}.partial`, cut);
        const kept: string[] = [];
        const writer = await TokenWriter.open(path, header, ({ file }) => kept.push(file));
        expect(kept).toEqual(records.slice(0, writer.length).map(({ file }) => file));
        await writer.add(records.filter(({ file }) => !writer.has(file)));
        await writer.finish();
        expect(await readFile(path)).toEqual(await readFile(whole));
      }
    });
  });
}

describe("TokenWriter", () => {
  test("drops what a power cut left behind the last whole line", async () => {
    const path = join(folder, "power.jsonl");
    const writer = await TokenWriter.open(path, header);
    await writer.add(records);
    await writer.close();
    await appendFile(`${path}.partial`, "\0".repeat(100) + "\n" + JSON.stringify(records[0]) + "\n");
    const again = await TokenWriter.open(path, header);
    expect(again.length).toBe(records.length);
    await again.finish();
    expect(await readAll(path)).toEqual(records);
  });

  test("refuses a file that was begun with other settings, and leaves it", async () => {
    const path = join(folder, "settings.parquet");
    await (await TokenWriter.open(path, header)).close();
    await expect(TokenWriter.open(path, { ...header, range: "unit" })).rejects.toThrow(
      "begun with other settings (range signed, now unit); begin it with the same settings, delete it",
    );
    expect((await stat(`${path}.partial`)).size).toBeGreaterThan(0);
  });

  test("notices another process that writes the same file", async () => {
    const path = join(folder, "two.tsv");
    const one = await TokenWriter.open(path, header), two = await TokenWriter.open(path, header);
    await one.add(records.slice(0, 1));
    await expect(two.add(records.slice(0, 1))).rejects.toThrow("another process writes to it");
    await one.close();
    await two.close();
  });

  test("knows three endings", async () => {
    await expect(TokenWriter.open(join(folder, "x.csv"), header)).rejects.toThrow(
      "token files end in .parquet, .jsonl or .tsv",
    );
  });

  test("writes Parquet in groups of rows that memory can hold", async () => {
    const path = join(folder, "groups.parquet"), tokens = 4096;
    const head: TokenHeader = { ...header, grid: [64, 64] };
    const rows = Array.from({ length: 1100 }, (_, i): TokenRecord => {
      const encoding = Array.from({ length: tokens }, (_, k) => (k * 31 + i) % 16384);
      return { file: `${i}`, caption: null, encoding, grid: [64, 64] };
    });
    await write(path, head, rows);
    let i = 0;
    for await (const record of (await openTokens(path)).records()) {
      const wanted = rows[i++];
      if (record.file !== wanted.file || record.encoding.some((token, k) => token !== wanted.encoding[k])) {
        throw new Error(`row ${i} differs`);
      }
    }
    expect(i).toBe(rows.length);
    // 14 bits a token and little else
    expect((await stat(path)).size).toBeLessThan(1100 * tokens * 14 / 8 * 1.03);
  });
});

describe("files from elsewhere", () => {
  const square = Array.from({ length: 256 }, (_, i) => i);

  test("DALL-E mini's TSV and JSON lines, tokens as text", async () => {
    const path = join(folder, "mini.tsv");
    await writeFile(path, `image_file\tcaption\tencoding\r\na.jpg\tA 5" disc\t[${square.join(", ")}]\r\n`);
    const [row] = await readAll(path);
    expect(row).toEqual({ file: "a.jpg", caption: 'A 5" disc', encoding: square, grid: [16, 16] });
    const lines = join(folder, "mini.jsonl");
    await writeFile(lines, JSON.stringify({ key: "k", caption: "c", encoding: JSON.stringify(square) }));
    expect(await readAll(lines)).toEqual([{ file: "k", caption: "c", encoding: square, grid: [16, 16] }]);
  });

  test("Parquet without names, with 64-bit integers, and a first token to take away", async () => {
    const path = join(folder, "mini.parquet"), writer = new ByteWriter();
    await parquetWrite({
      writer,
      schema: [
        { name: "root", num_children: 2 },
        { name: "caption", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
        { name: "encoding", repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "INT64", repetition_type: "OPTIONAL" },
      ],
      columnData: [
        { name: "caption", data: ["one", null] },
        { name: "encoding", data: [square.map(BigInt), [16384, ...square].map(BigInt)] },
      ],
    });
    await writeFile(path, writer.getBytes());
    const rows = await readAll(path, { bos: 16384 });
    expect(rows.map(({ file, caption, encoding }) => [file, caption, encoding])).toEqual([
      ["row-1", "one", square],
      ["row-2", null, square],
    ]);
    await expect(readAll(path)).rejects.toThrow(
      "row 2: it has 257 tokens (the first is 16384), which do not fill a square",
    );
  });
});

describe("one clear error for", () => {
  const cases: [name: string, content: string, message: string][] = [
    ["missing.jsonl", "", "missing.jsonl: there is no such file"],
    ["image.jsonl", "\x89PNG\r\n", "line 1: this is not a JSON object"],
    ["array.jsonl", "[1, 2]\n", "line 1: its encoding is missing"],
    ["half.jsonl", `{"encoding":[1]}\n{"encoding":[1`, "line 2: this is not a JSON object"],
    ["floats.jsonl", `{"encoding":[1.5]}`, "line 1: its encoding is no list of whole numbers"],
    ["text.jsonl", `{"encoding":"one"}`, "line 1: its encoding is no list of whole numbers"],
    ["none.jsonl", `{"encoding":[]}`, "line 1: it has 0 tokens"],
    [
      "grid.jsonl",
      `{"encoding":[1,2,3],"grid":[2,2]}`,
      "it has 3 tokens (the first is 1), which do not fill a grid of 2x2",
    ],
    ["square.jsonl", `{"encoding":[1,2,3]}`, "do not fill a square"],
    ["version.jsonl", `{"format":"tessera-tokens","version":9}`, "its header cannot be used: version 9"],
    [
      "header.jsonl",
      `{"format":"tessera-tokens","version":1,"factor":16,"vocabulary":9,"grid":5}`,
      "its header cannot be used: version 1, f 16, vocabulary 9, grid 5",
    ],
    ["other.jsonl", `{"format":"else"}`, "its first line is no header of tokens"],
    ["column.tsv", "file\tcaption\na\tb\n", "it has no column encoding"],
    ["open.tsv", `file\tencoding\n"a\t[1]\n`, "line 2: a quoted cell never ends"],
    ["cell.tsv", "file\tencoding\na\t\n", "line 2: its encoding is missing"],
    ["text.parquet", "hello, I am text", "not a Parquet file that can be read"],
    ["short.parquet", "PAR1", "not a Parquet file that can be read"],
  ];
  for (const [name, content, message] of cases) {
    test(name, async () => {
      const path = join(folder, name);
      if (content !== "") await writeFile(path, content);
      const error = await readAll(path).then(() => null, (error) => error);
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toContain(message);
      expect(error.message.includes("\n")).toBe(false);
    });
  }

  test("every mutation of a Parquet file that does not leave it readable", async () => {
    const path = join(folder, "mutated.parquet");
    await write(path, header, records);
    const bytes = new Uint8Array(await readFile(path));
    let refused = 0;
    for (let i = 0; i < 600; i++) {
      const changed = bytes.slice(0, i % 5 === 0 ? 12 + bytes.length * i / 600 : bytes.length);
      for (let k = 0; k <= i % 3; k++) changed[(i * 7919 + k * 104729) % changed.length] = i * 31 + k;
      await writeFile(path, changed);
      try {
        await readAll(path);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});
