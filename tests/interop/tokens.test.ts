// pyarrow and pandas read Tessera's token files and find the same numbers.
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

describePython("packages.py", ["pyarrow", "pandas"], (job) => {
  test("Parquet and TSV are read as they were written", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tessera-interop-"));
    const header: TokenHeader = {
      ...{ format: "tessera-tokens", version: 1, factor: 16, grid: [16, 16], vocabulary: 16384 },
      ...{ range: "signed", attentionOrder: "taming", preprocessing: "none" },
      ...{ model: "m", weights: "w", source: ["s"], shard: null },
    };
    const records = ["a face", null, 'with "quotes",\ttabs\nand ünï'].map((caption, k): TokenRecord => {
      const encoding = Array.from({ length: 256 }, (_, i) => (i * 4099 + k * 7) % 16384);
      return { file: `faces/${k}.jpg`, caption, encoding, grid: [16, 16] };
    });
    try {
      for (const name of ["tokens.parquet", "tokens.tsv"]) {
        const writer = await TokenWriter.open(join(folder, name), header);
        await writer.add(records);
        await writer.finish();
      }
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
