// Opens checkpoints on the disk. Functions that take a checkpoint accept paths only after this file has been imported.
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CheckpointFile } from "../formats/file.ts";
import { flaxConfig, flaxWeights, parseFlaxConfig } from "../formats/flax/read.ts";
import { registerOpener } from "../formats/opener.ts";
import { readCheckpoint } from "../formats/read.ts";
import { openFile } from "./source.ts";

registerOpener(openCheckpoint);

/**
 * Opens a checkpoint. Only its structure is read; each tensor is read when it is requested.
 *
 * @param path a file, or a folder with a Flax model
 * @example The codebook of a model
 * ```ts
 * import { openCheckpoint } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("last.ckpt");
 * const codes = await file.tensors.get("quantize.embedding.weight")?.read();
 * await file.close();
 * ```
 * @throws FormatError with a one-line message if the file is missing, cut off, damaged, or not a checkpoint.
 */
export async function openCheckpoint(path: string): Promise<CheckpointFile> {
  const within = join(path, flaxWeights);
  const isFolder = await stat(within).then(() => true, () => false);
  const file = await readCheckpoint(await openFile(isFolder ? within : path));
  const config = file.format === "flax" ? await readFlaxConfig(file.path) : null;
  return config ? { ...file, root: new Map([["config", config]]) } : file;
}

/** Reads the config.json next to Flax weights. Returns null if there is none, or if it belongs to something else. */
export async function readFlaxConfig(weights: string): Promise<Map<string, unknown> | null> {
  const text = await readFile(join(dirname(weights), flaxConfig), "utf8").catch(() => undefined);
  return parseFlaxConfig(text);
}
