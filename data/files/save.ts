// Checkpoints onto the disk: each file appears whole or not at all.
import { mkdir, readFile } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { check, text } from "../../src/check.ts";
import { conversion, type ConvertOptions, type WrittenFormat } from "../formats/convert.ts";
import type { CheckpointFile } from "../formats/file.ts";
import { flaxConfig, flaxWeights } from "../formats/flax/read.ts";
import { type FlaxConfig, flaxConfigJson, writeFlaxTo } from "../formats/flax/write.ts";
import { writeSafetensorsTo } from "../formats/safetensors.ts";
import type { Sink } from "../formats/sink.ts";
import type { Pickleable } from "../formats/torch/pickle_write.ts";
import { writeTorchTo } from "../formats/torch/write.ts";
import type { TensorToWrite } from "../formats/values.ts";
import { writeAtomic } from "./atomic.ts";
import { readFlaxConfig } from "./open.ts";

/** Writes the file with what `write` puts into the sink; if it throws, the file is left as it was. */
async function save(path: string, write: (sink: Sink) => Promise<void>): Promise<void> {
  await writeAtomic(path, (file) => write({ write: (bytes) => file.writeFile(bytes) }));
}

/** @throws if the path has none of the endings, since readers go by it and people do too */
export function checkEnding(who: string, path: string, endings: readonly string[]): void {
  check(who, "the path", path, text);
  if (endings.includes(extname(path).toLowerCase())) return;
  throw new Error(
    `${who}: ${path} does not end in ${endings.join(" or ")}, which is what is written; ` +
      "convertCheckpoint() writes what the ending of its path says",
  );
}

/**
 * Writes a safetensors file, whole or not at all.
 *
 * @example One tensor in half precision
 * ```ts
 * import { writeSafetensors } from "@tessera/vqgan";
 *
 * const data = () => new Float32Array([1, 2]);
 * await writeSafetensors("a.safetensors", [{ name: "w", shape: [2], dtype: "f16", data }]);
 * ```
 * @throws if a name comes twice, or values do not match their shape and type; the file is then left as it
 * was.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  checkEnding("writeSafetensors", path, [".safetensors"]);
  await save(path, (sink) => writeSafetensorsTo(sink, tensors, metadata));
}

/**
 * Writes what torch.save would, whole or not at all. Tensors are asked for one at a time.
 *
 * @example A state_dict for torch.load
 * ```ts
 * import { writeTorch } from "@tessera/vqgan";
 *
 * const w = { name: "w", shape: [2], dtype: "f32", data: () => new Float32Array([1, 2]) } as const;
 * await writeTorch("a.pt", new Map([["state_dict", new Map([["w", w]])]]));
 * ```
 * @throws if values do not match their shape and type; the file is then left as it was.
 */
export async function writeTorch(path: string, root: Pickleable): Promise<void> {
  checkEnding("writeTorch", path, [".ckpt", ".pt", ".pth", ".bin"]);
  await save(path, (sink) => writeTorchTo(sink, root));
}

/**
 * Writes an autoencoder's weights as Flax has them, whole or not at all, and its config.json beside them.
 *
 * @param path the .msgpack file; transformers asks for the name flax_model.msgpack
 * @param tensors under taming's keys; those of the loss have no place in Flax
 * @param maxChunk bytes above which an array is cut into pieces, as Flax does
 * @throws if another config.json is in the folder, or values do not match shape and type.
 */
export async function writeFlax(
  path: string,
  tensors: Iterable<TensorToWrite>,
  config: FlaxConfig,
  maxChunk?: number,
): Promise<void> {
  checkEnding("writeFlax", path, [".msgpack"]);
  await saveFlax(path, config, (sink) => writeFlaxTo(sink, tensors, maxChunk));
}

/** The weights, then the config.json, which must be free or a Flax model's already. */
async function saveFlax(
  path: string,
  config: FlaxConfig,
  write: (sink: Sink) => Promise<void>,
): Promise<void> {
  const beside = join(dirname(path), flaxConfig);
  const isFree = await readFile(beside).then(() => false, () => true);
  if (!isFree && await readFlaxConfig(path) === null) {
    throw new Error(`${beside} belongs to something else: write the Flax model into a folder of its own`);
  }
  await save(path, write);
  await writeAtomic(beside, (file) => file.writeFile(flaxConfigJson(config)));
}

/**
 * What the ending of a path asks for; a path without one is a folder for Flax.
 * @throws if it is none of those that can be written.
 */
export function formatByName(path: string): WrittenFormat {
  switch (extname(path).toLowerCase()) {
    case ".ckpt":
    case ".pt":
    case ".pth":
      return "torch";
    case ".safetensors":
      return "safetensors";
    case ".msgpack":
    case "":
      return "flax";
    default:
      throw new Error(
        `${path}: the ending says what to write: .ckpt, .pt, .pth, .safetensors, .msgpack, or none for a Flax folder`,
      );
  }
}

/**
 * Writes a checkpoint in the format that `out`'s ending names, whole or not at all.
 *
 * @example From torch to safetensors
 * ```ts
 * import { convertCheckpoint, guessConfig, openCheckpoint } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("last.ckpt");
 * await convertCheckpoint(file, "last.safetensors", { config: guessConfig(file).config });
 * await file.close();
 * ```
 * @returns where it was written
 * @throws if the file has no VQGAN and Flax is asked for, or optimizers that do not fit its weights.
 */
export async function convertCheckpoint(
  file: CheckpointFile,
  out: string,
  options: ConvertOptions,
): Promise<string> {
  const format = formatByName(out);
  const write = await conversion(file, format, options);
  if (format !== "flax") {
    await save(out, write);
    return out;
  }
  const path = extname(out) === "" ? join(out, flaxWeights) : out;
  await mkdir(dirname(path), { recursive: true });
  await saveFlax(path, options.config!, write);
  return path;
}
