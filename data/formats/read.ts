// Recognises the format of a checkpoint (torch in both layouts, safetensors, Flax) by its first bytes, never by its
// name.
import { checkOptions, flag, type Rules, text } from "../../src/check.ts";
import type { CheckpointFile, FileContents, ModelChoice } from "./file.ts";
import { findModel } from "./find_model.ts";
import { isFlax, readFlax } from "./flax/read.ts";
import { isSafetensors, readSafetensors } from "./safetensors.ts";
import { FormatError, type RandomAccess, readRange } from "./source.ts";
import { averagesIn } from "./state_dict_keys.ts";
import type { StoredTensor } from "./stored_tensor.ts";
import { metadataKey, trainingKey } from "./torch/lightning.ts";
import { isTorchLegacy, readTorchLegacy, readTorchZip } from "./torch/read.ts";
import { isStoredTensor, stateDictOf } from "./torch/unwrap.ts";

const rules: Rules<ModelChoice> = { inside: text, average: flag };

/**
 * Reads a checkpoint's structure from any source of bytes. Each tensor is read when it is requested. If this function
 * throws, it closes the source.
 * @throws FormatError with a one-line message if the bytes are cut off, damaged, or not a checkpoint.
 */
export async function readCheckpoint(
  source: RandomAccess,
  options: ModelChoice = {},
): Promise<CheckpointFile> {
  checkOptions("readCheckpoint", options, rules);
  return withModel(await readContents(source), options);
}

/** Finds the VQGAN in a file that is open. */
export function withModel(file: FileContents, options: ModelChoice = {}): CheckpointFile {
  const { tensors, model } = findModel(file.stored, options.inside);
  const isRun = file.metadata.state !== undefined && "family" in model && model.prefix === "";
  const averages = isRun && options.average !== false
    ? averagesIn(file.stored)
    : new Map<string, StoredTensor>();
  for (const [key, average] of averages) if (tensors.has(key)) tensors.set(key, average);
  return { ...file, tensors, model, isAverage: averages.size > 0 };
}

/** `readCheckpoint` without a search for a model, for files that hold only a part of one. */
export async function readContents(source: RandomAccess): Promise<FileContents> {
  try {
    const format = await formatOf(source);
    const common = { format, path: source.path, byteLength: source.byteLength, close: () => source.close() };
    if (format === "safetensors") {
      const { tensors, metadata } = await readSafetensors(source);
      return { ...common, stored: tensors, root: tensors, metadata };
    }
    if (format === "flax") {
      return { ...common, stored: await readFlax(source), root: new Map(), metadata: {} };
    }
    const root = await (format === "torch-zip" ? readTorchZip(source) : readTorchLegacy(source));
    const stored = new Map([...stateDictOf(root, source.path), ...trainingIn(root)]);
    return { ...common, stored, root, metadata: metadataIn(root) };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** What a training of Tessera keeps beside the weights, in a torch file. */
function trainingIn(root: unknown): [string, StoredTensor][] {
  const kept = root instanceof Map ? root.get(trainingKey) : null;
  if (!(kept instanceof Map)) return [];
  return [...kept].filter((entry): entry is [string, StoredTensor] =>
    typeof entry[0] === "string" && entry[0].startsWith("training.") && isStoredTensor(entry[1])
  );
}

function metadataIn(root: unknown): Record<string, string> {
  const kept = root instanceof Map ? root.get(metadataKey) : null;
  if (!(kept instanceof Map)) return {};
  return Object.fromEntries(
    [...kept].filter(([key, text]) => typeof key === "string" && typeof text === "string"),
  );
}

/** Recognises the format. Only the first 512 bytes are read. @throws FormatError saying what else it is, if that is known */
export async function formatOf(source: RandomAccess): Promise<FileContents["format"]> {
  const { path, byteLength } = source;
  if (byteLength === 0) throw new FormatError(path, "the file is empty");
  const head = await readRange(source, 0, Math.min(byteLength, 512), "the first bytes");
  const text = new TextDecoder().decode(head);
  if (text.startsWith("PK\x03\x04")) return "torch-zip";
  if (isTorchLegacy(head)) return "torch-legacy";
  if (isSafetensors(head, byteLength)) return "safetensors";
  if (isFlax(head)) return "flax";
  if (/^\s*(<!doctype|<html|<\?xml|<head)/i.test(text)) {
    throw new FormatError(
      path,
      "this is a web page (HTML), not a checkpoint: the download returned a login or error page",
      "open the link in a browser and see what it says",
    );
  }
  if (text.startsWith("version https://git-lfs")) {
    throw new FormatError(
      path,
      "this is a git-lfs pointer, the file itself was not fetched",
      "run: git lfs pull",
    );
  }
  if (head[0] === 0x1f && head[1] === 0x8b) {
    throw new FormatError(path, "this is compressed with gzip", "unpack it with gunzip");
  }
  if (new TextDecoder().decode(head.subarray(257, 262)) === "ustar") {
    throw new FormatError(path, "this is a tar archive", "unpack it, and name the checkpoint inside");
  }
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) {
    throw new FormatError(
      path,
      "this is a bare Python pickle, not from torch.save",
      "save it with torch.save",
    );
  }
  throw new FormatError(
    path,
    `this is neither a torch, a safetensors nor a Flax file (it starts with the bytes ${
      [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
    })`,
    "check that it is the right file and was downloaded completely",
  );
}
