// pyarrow, pandas and polars read Tessera's token files and find the same numbers, also by the lines in the documentation.
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type TokenHeader, type TokenRecord, TokenWriter } from "../../data/index.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

interface Found {
  readonly type: string;
  readonly header: TokenHeader;
  readonly rows: readonly Partial<TokenRecord>[];
  readonly pandas: readonly number[][];
  readonly tsv: readonly [string, string, number[]][];
}

const header: TokenHeader = {
  ...{ format: "tessera-tokens", version: 1, factor: 16, grid: [16, 16], vocabulary: 16384 },
  ...{ range: "signed", attentionOrder: "taming", preprocessing: "none" },
  ...{ model: "m", weights: "w", source: ["s"], shard: null },
};
const records = ["a face", null, 'with "quotes",\ttabs\nand ünï', "NA"].map((caption, k): TokenRecord => {
  const encoding = Array.from({ length: 256 }, (_, i) => (i * 4099 + k * 7) % 16384);
  return { file: `000${k}`, caption, encoding, grid: [16, 16] };
});

async function write(path: string, rows: readonly TokenRecord[], shard: string | null = null): Promise<void> {
  const writer = await TokenWriter.open(path, { ...header, shard });
  await writer.add(rows);
  await writer.finish();
}

describePython("packages.py", ["pyarrow", "pandas", "polars"], (job) => {
  test("the documentation's lines read every format", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tessera-interop-"));
    try {
      for (const format of ["parquet", "jsonl", "tsv"]) {
        await write(join(folder, `tokens.${format}`), records);
      }
      await write(join(folder, "tokens-1-of-2.parquet"), records.slice(0, 1), "1/2");
      await write(join(folder, "tokens-2-of-2.parquet"), records.slice(1), "2/2");
      const page = fileURLToPath(new URL("../../docs/tokens.md", import.meta.url));
      const found = job<{ tokens: number[][]; weights: string | null }[]>("page", folder, page);
      expect(found.length).toBe(7);
      for (const { tokens, weights } of found) {
        expect(tokens).toEqual(records.map(({ encoding }) => [...encoding]));
        expect(["w", null]).toContain(weights);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describePython("packages.py", ["pyarrow", "pandas"], (job) => {
  test("Parquet and TSV are read as they were written", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tessera-interop-"));
    try {
      for (const name of ["tokens.parquet", "tokens.tsv"]) await write(join(folder, name), records);
      const found = job<Found>("tokens", folder);
      expect(found.type).toBe("int32");
      expect(found.header).toEqual(header);
      expect(found.rows).toEqual(
        records.map(({ file, caption, encoding }) => ({ file, caption, encoding })),
      );
      expect(found.pandas).toEqual(records.map(({ encoding }) => encoding));
      expect(found.tsv).toEqual(
        records.map(({ file, caption, encoding }) => [file, caption ?? "", encoding]),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
