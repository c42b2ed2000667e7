// Files that were made to do harm or went wrong, in tests/fixtures/hostile: each is read, or ends in one line with its name.
// The files that end in .gz are unpacked first.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import {
  convertCheckpoint,
  FormatError,
  formatInspectReport,
  inspect,
  openCheckpoint,
} from "../../data/index.ts";
import { readAll } from "../support/token_files.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-hostile-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixtures = fileURLToPath(new URL("../fixtures/hostile/", import.meta.url));
const names = readdirSync(fixtures).map((name) => name.replace(/\.gz$/, ""));

/** The path of a copy in the test's own folder. */
async function unpacked(name: string): Promise<string> {
  const packed = readdirSync(fixtures).includes(`${name}.gz`);
  const bytes = readFileSync(join(fixtures, packed ? `${name}.gz` : name));
  const path = join(folder, name);
  await writeFile(path, packed ? gunzipSync(bytes) : bytes);
  return path;
}

/** What the error of a reader says about a file, without the file's name. */
async function refusal(path: string, read: (path: string) => Promise<unknown>): Promise<string | null> {
  try {
    await read(path);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(/^[^\p{Cc}]*$/u);
    expect((error as Error).message.startsWith(`${path}: `)).toBe(true);
    return (error as Error).message.slice(path.length + 2);
  }
}

/** Null stands for a file that is read. */
const checkpoints: Readonly<Record<string, string | null>> = {
  "bom_length.ckpt": null, // a class whose name begins with a byte order mark is no class of torch
  "deep_key.ckpt": null, // a key of 200,000 nested tuples
  "deep_shape.safetensors":
    "corrupt safetensors file: its header cannot be read: it has more than 100 levels",
  "dtype_obj.safetensors": 'tensor "a" has the type { toString, valueOf }; convert it to one of F32',
  "expanded_1000.ckpt": null,
  "legacy_version_bomb.ckpt": "corrupt: its torch file version is missing, not 1001",
  "path_bomb.ckpt": "it has more names or tensors than a checkpoint needs",
  "tuple_key_bomb.ckpt": null, // a key of tuples that share their parts, 2^40 in all
};

const tokenFiles: Readonly<Record<string, string | null>> = {
  "coerce.jsonl":
    "line 1: its encoding has null at place 0, expected whole numbers >= 0; each row needs encoding",
  "escape_name.jsonl": null,
  "long255.jsonl": null,
  "neg_grid.jsonl": "line 1: its grid has -2 at place 0, expected whole numbers >= 0",
  "nested_lists.parquet": "this is not a readable Parquet file: ",
  "null.parquet": "row 1: its encoding has null at place 0",
  "null_tokens.parquet": "row 1: its encoding has null at place 1",
  "quotes.tsv": null, // a caption of 200,000 lines
  "zero.parquet": "the file is empty",
};

describe("hostile files", () => {
  test("each has an expectation", () => {
    expect([...Object.keys(checkpoints), ...Object.keys(tokenFiles)].sort()).toEqual([...names].sort());
  });

  for (const [name, message] of Object.entries(checkpoints)) {
    test(`${name}: ${message ?? "is read"}`, async () => {
      const found = await refusal(
        await unpacked(name),
        async (path) => formatInspectReport(await inspect(path)),
      );
      expect(found?.slice(0, message?.length) ?? null).toBe(message);
    });
  }

  for (const [name, message] of Object.entries(tokenFiles)) {
    test(`${name}: ${message ?? "is read"}`, async () => {
      const found = await refusal(await unpacked(name), readAll);
      expect(found?.slice(0, message?.length) ?? null).toBe(message);
    });
  }

  test("expanded_1000.ckpt: a conversion that would write 268 GB asks first", async () => {
    const file = await openCheckpoint(await unpacked("expanded_1000.ckpt"));
    const out = convertCheckpoint(file, join(folder, "expanded.safetensors"), { config: null });
    await expect(out).rejects.toThrow(
      `${file.path}: its 38.3 kB would become 268.4 GB, because its tensors repeat their numbers; pass force: true`,
    );
    await file.close();
    expect(readdirSync(folder).filter((name) => name.startsWith("expanded."))).toEqual([]);
  });
});
