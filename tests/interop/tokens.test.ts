// pyarrow and pandas read our token files and find the same numbers. PYTHON names a Python that has both; without
// one the test says so and passes over.
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type TokenHeader, type TokenRecord, TokenWriter } from "../../data/index.ts";

setDefaultTimeout(120_000); // importing pandas takes its time on a busy machine

const python = [process.env.PYTHON ?? "python3"].find((name) =>
  spawnSync(name, ["-c", "import pyarrow, pandas"]).status === 0
);
if (python === undefined) {
  console.log("interop: skipped, no Python with pyarrow and pandas (PYTHON names one)");
}

const script = `
import json, sys
import pandas as pd, pyarrow.parquet as pq
parquet, tsv = sys.argv[1:]
table = pq.read_table(parquet)
frame, text = pd.read_parquet(parquet), pd.read_csv(tsv, sep="\\t", skiprows=1, keep_default_na=False)
print(json.dumps({
    "type": str(table.schema.field("encoding").type.value_type),
    "header": json.loads(table.schema.metadata[b"tessera"]),
    "rows": table.to_pylist(),
    "pandas": [list(map(int, row)) for row in frame.encoding],
    "tsv": [[row.file, row.caption, json.loads(row.encoding)] for row in text.itertuples()],
}))`;

const check = python === undefined ? test.skip : test;

check("pyarrow and pandas read Parquet and TSV", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tessera-interop-"));
  const header: TokenHeader = {
    ...{ format: "tessera-tokens", version: 1, factor: 16, grid: [16, 16], vocabulary: 16384 },
    ...{
      range: "signed",
      attentionOrder: "taming",
      preprocessing: "none",
      model: "m",
      weights: "w",
      source: ["s"],
      shard: null,
    },
  };
  const records = ["a face", null, 'with "quotes",\ttabs\nand ünï'].map((caption, k): TokenRecord => {
    const encoding = Array.from({ length: 256 }, (_, i) => (i * 4099 + k * 7) % 16384);
    return { file: `faces/${k}.jpg`, caption, encoding, grid: [16, 16] };
  });
  try {
    const paths = [join(folder, "t.parquet"), join(folder, "t.tsv")];
    for (const path of paths) {
      const writer = await TokenWriter.open(path, header);
      await writer.add(records);
      await writer.finish();
    }
    const { stdout, stderr } = spawnSync(python!, ["-c", script, ...paths], { encoding: "utf8" });
    expect(stderr).toBe("");
    const found = JSON.parse(stdout);
    expect(found.type).toBe("int32");
    expect(found.header).toEqual(header);
    expect(found.rows).toEqual(records.map(({ file, caption, encoding }) => ({ file, caption, encoding })));
    expect(found.pandas).toEqual(records.map(({ encoding }) => encoding));
    expect(found.tsv).toEqual(records.map(({ file, caption, encoding }) => [file, caption ?? "", encoding]));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
