// The hash of a file, by which published checkpoints are recognised.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { hashFile } from "../../../data/index.ts";

const file = fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url));

test("the SHA-256, with progress", async () => {
  const seen: number[] = [];
  const { sha256, published } = await hashFile(file, {
    onProgress: (bytes, total) => seen.push(bytes, total),
  });
  const bytes = await readFile(file);
  expect([sha256, published]).toEqual([createHash("sha256").update(bytes).digest("hex"), null]);
  expect(seen.slice(-2)).toEqual([bytes.length, bytes.length]);
});
