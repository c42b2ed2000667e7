// Token files of other programs are accepted, and broken ones give one clear error.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteWriter, parquetWrite } from "hyparquet-writer";
import { FormatError } from "../../../data/index.ts";
import { header, readAll, records, write } from "../../support/token_files.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-tokens-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("files of other programs", () => {
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

  test("Parquet without names, with 64-bit integers, and with a start token to remove", async () => {
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
    ["image.jsonl", "\x89PNG\r\n", "line 1: it is not JSON"],
    ["array.jsonl", "[1, 2]\n", "line 1: this is not a JSON object"],
    ["half.jsonl", `{"encoding":[1]}\n{"encoding":[1`, "line 2: it is not JSON"],
    ["floats.jsonl", `{"encoding":[1.5]}`, "line 1: its encoding has 1.5 at place 0, expected whole"],
    ["text.jsonl", `{"encoding":"one"}`, 'line 1: its encoding is "one", expected a list of whole numbers'],
    ["none.jsonl", `{"encoding":[]}`, "line 1: it has 0 tokens"],
    [
      "grid.jsonl",
      `{"encoding":[1,2,3],"grid":[2,2]}`,
      "it has 3 tokens (the first is 1), which do not fill a grid of 2x2",
    ],
    ["square.jsonl", `{"encoding":[1,2,3]}`, "do not fill a square"],
    [
      "version.jsonl",
      `{"format":"tessera-tokens","version":9}`,
      "its header cannot be used: version is 9, expected 1",
    ],
    [
      "header.jsonl",
      `{"format":"tessera-tokens","version":1,"factor":16,"vocabulary":9,"grid":5}`,
      "its header cannot be used: grid is 5, expected [rows, columns], both above 0, or null",
    ],
    ["other.jsonl", `{"format":"else"}`, "its header is not that of a token file"],
    ["column.tsv", "file\tcaption\na\tb\n", "it has no column encoding"],
    ["open.tsv", `file\tencoding\n"a\t[1]\n`, "line 2: a quoted cell never ends"],
    ["cell.tsv", "file\tencoding\na\t\n", "line 2: its encoding is missing"],
    ["text.parquet", "hello, I am text", "this is not a readable Parquet file"],
    ["short.parquet", "PAR1", "this is not a readable Parquet file"],
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

  test("every mutation that makes a Parquet file unreadable", async () => {
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
