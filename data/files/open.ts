// Opens checkpoints on the disk. Functions that take a checkpoint accept paths only after this file has been imported.
import { dirname, join } from "node:path";
import { checkOptions } from "../../src/check.ts";
import { configName } from "../formats/config.ts";
import type { CheckpointFile, FileContents } from "../formats/file.ts";
import { problemInConfig } from "../formats/families/diffusers.ts";
import { parseFlaxConfig } from "../formats/flax/read.ts";
import { jsonRecord } from "../formats/json.ts";
import { localPath, type OpenOptions, openRules, registerOpener } from "../formats/opener.ts";
import { readContents, withModel } from "../formats/read.ts";
import { withSettingsBeside } from "./beside.ts";
import { weightsIn } from "./model_folder.ts";
import { isIndex, readShards } from "./shards.ts";
import { openFile, readText } from "./source.ts";

/** Settings have one or two thousand bytes. */
const maxConfig = 2 ** 20;

registerOpener(openCheckpoint);

/**
 * Opens a checkpoint. Only its structure is read; each tensor is read when it is requested.
 *
 * @param pathOrName a file, the index of a model in several files (.index.json), a folder with a Flax or a diffusers model, a
 * name on the Hugging Face hub (`hf:owner/name`), or a web address
 * @example The codebook of a model
 * ```ts
 * import { openCheckpoint } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("last.ckpt");
 * const codes = await file.tensors.get("quantize.embedding.weight")?.read();
 * await file.close();
 * ```
 * @example The averaged weights in a file that also holds others
 * ```ts
 * import { openCheckpoint, VQGAN } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("net.pth", { inside: "params_ema" });
 * const model = await VQGAN.load(file);
 * await file.close();
 * ```
 * @throws FormatError with a one-line message if the file is missing, cut off, damaged, or not a checkpoint; an Error if it
 * cannot be downloaded.
 */
export async function openCheckpoint(pathOrName: string, options: OpenOptions = {}): Promise<CheckpointFile> {
  checkOptions("openCheckpoint", options, openRules);
  const weights = await weightsIn(await localPath(pathOrName, options));
  const contents = isIndex(weights) ? await readShards(weights) : await readContents(await openFile(weights));
  try {
    return await withSettingsBeside(await withConfig(contents, options));
  } catch (error) {
    await contents.close();
    throw error;
  }
}

/** Finds the model in a file, with the help of the config.json beside it. */
async function withConfig(contents: FileContents, options: OpenOptions): Promise<CheckpointFile> {
  const settings = await readConfig(contents.path);
  if (contents.format === "flax") {
    const config = settings && parseFlaxConfig(settings);
    return withModel(config ? { ...contents, root: new Map([["config", config]]) } : contents, options);
  }
  const file = withModel(contents, options);
  if ("problem" in file.model || settings?._class_name === undefined) return file;
  const problem = problemInConfig(settings);
  return problem === null ? file : { ...file, model: { problem, choices: [] } };
}

/** Reads the settings in the config.json beside weights; null if there are none. */
export async function readConfig(weights: string): Promise<Record<string, unknown> | null> {
  const path = join(dirname(weights), configName);
  return jsonRecord(await readText(path, maxConfig).catch(() => undefined));
}
