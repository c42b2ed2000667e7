// Writes checkpoints to the disk. Each file appears whole or not at all.
import { mkdir, stat } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { check, text } from "../../src/check.ts";
import { conversion, type ConvertOptions, type WrittenFormat } from "../formats/convert.ts";
import type { CheckpointFile } from "../formats/file.ts";
import { diffusersConfigJson, diffusersWeights } from "../formats/families/diffusers.ts";
import { configName } from "../formats/config.ts";
import { flaxWeights, parseFlaxConfig } from "../formats/flax/read.ts";
import { type FlaxConfig, flaxConfigJson, writeFlaxTo } from "../formats/flax/write.ts";
import { writeSafetensorsTo } from "../formats/safetensors.ts";
import { type Half, onlyHalf } from "../formats/shapes.ts";
import type { Sink } from "../formats/sink.ts";
import type { Pickleable } from "../formats/torch/pickle_write.ts";
import { writeTorchTo } from "../formats/torch/write.ts";
import type { TensorToWrite } from "../formats/values.ts";
import { writeAtomic } from "./atomic.ts";
import { readConfig } from "./open.ts";

/** Writes what `write` puts into the sink. If `write` throws, the file stays as it was. */
async function save(path: string, write: (sink: Sink) => Promise<void>): Promise<void> {
  await writeAtomic(path, (file) => write({ write: (bytes) => file.writeFile(bytes) }));
}

/** @throws if the path has none of the endings, because programs and people recognise the format by the ending */
export function checkEnding(who: string, path: string, endings: readonly string[]): void {
  check(who, "the path", path, text);
  if (endings.includes(extname(path).toLowerCase())) return;
  throw new Error(
    `${who}: ${path} does not end in ${endings.join(" or ")}; ` +
      "convertCheckpoint() writes the format that the ending names",
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
 * @throws if a name occurs twice, or values do not match their shape and type; the file then stays as it was.
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
 * Writes what torch.save would write, whole or not at all. Tensors are read one at a time.
 *
 * @example A state_dict for torch.load
 * ```ts
 * import { writeTorch } from "@tessera/vqgan";
 *
 * const w = { name: "w", shape: [2], dtype: "f32", data: () => new Float32Array([1, 2]) } as const;
 * await writeTorch("a.pt", new Map([["state_dict", new Map([["w", w]])]]));
 * ```
 * @throws if values do not match their shape and type; the file then stays as it was.
 */
export async function writeTorch(path: string, root: Pickleable): Promise<void> {
  checkEnding("writeTorch", path, [".ckpt", ".pt", ".pth", ".bin"]);
  await save(path, (sink) => writeTorchTo(sink, root));
}

/**
 * Writes an autoencoder's weights in Flax's format, whole or not at all, with a config.json next to them.
 *
 * @param path the .msgpack file; transformers expects the name flax_model.msgpack
 * @param tensors the tensors under taming's keys; Flax has no place for those of the loss
 * @param maxChunk the size in bytes above which an array is cut into pieces, as Flax does
 * @throws if the folder holds the config.json of something else, or values do not match their shape and type.
 */
export async function writeFlax(
  path: string,
  tensors: Iterable<TensorToWrite>,
  config: FlaxConfig,
  maxChunk?: number,
): Promise<void> {
  checkEnding("writeFlax", path, [".msgpack"]);
  await saveWithConfig(path, flaxConfigJson(config), isFlax, (sink) => writeFlaxTo(sink, tensors, maxChunk));
}

/** Writes weights, then the config.json beside them. It replaces only a config.json that belongs to such a model. */
async function saveWithConfig(
  path: string,
  config: string,
  isOurs: (settings: Readonly<Record<string, unknown>>) => boolean,
  write: (sink: Sink) => Promise<void>,
): Promise<void> {
  const beside = join(dirname(path), configName);
  const isFree = await stat(beside).then(() => false, () => true);
  const found = isFree ? null : await readConfig(path);
  if (!isFree && !(found && isOurs(found))) {
    throw new Error(`${beside} belongs to something else: write the model into a folder of its own`);
  }
  await save(path, write);
  await writeAtomic(beside, (file) => file.writeFile(config));
}

const isFlax = (settings: Readonly<Record<string, unknown>>) => parseFlaxConfig(settings) !== null;
const isDiffusers = (settings: Readonly<Record<string, unknown>>) => settings._class_name === "VQModel";

/**
 * Returns the format that the ending of a path stands for; a path without an ending is a folder for Flax.
 * @throws if the ending is not that of a format that can be written.
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
    case ".onnx":
      return "onnx";
    default:
      throw new Error(
        `${path}: the ending must name the format: .ckpt, .pt, .pth, .safetensors, .onnx, .msgpack, or none for a folder`,
      );
  }
}

/** Returns the paths of the files that `convertCheckpoint` may write. */
export function convertTargets(out: string, format: WrittenFormat): string[] {
  if (format === "onnx") return (["encoder", "decoder"] as const).map((half) => onnxPath(out, half));
  if (format === "diffusers") return [join(out, diffusersWeights)];
  return [format === "flax" && extname(out) === "" ? join(out, flaxWeights) : out];
}

/** last.onnx stands for last.encoder.onnx and last.decoder.onnx. */
const onnxPath = (out: string, half: Half) => `${out.slice(0, -extname(out).length)}.${half}.onnx`;

/**
 * Writes a checkpoint in the format that `out`'s ending names, whole or not at all.
 *
 * @param format "diffusers" makes `out` a folder for diffusers; a path without an ending is otherwise one for Flax
 * @example From torch to safetensors
 * ```ts
 * import { convertCheckpoint, guessConfig, openCheckpoint } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("last.ckpt");
 * await convertCheckpoint(file, "last.safetensors", guessConfig(file)); // what is only assumed is not written
 * await file.close();
 * ```
 * @returns the files that were written. For last.onnx these are last.encoder.onnx and last.decoder.onnx
 * @throws if the format has no such model, or if the file's optimizers do not fit its weights.
 */
export async function convertCheckpoint(
  file: CheckpointFile,
  out: string,
  options: ConvertOptions,
  format: WrittenFormat = formatByName(out),
): Promise<readonly string[]> {
  if (format === "onnx") return await saveOnnx(file, out, options);
  const write = await conversion(file, format, options);
  if (format === "torch" || format === "safetensors") {
    await save(out, write);
    return [out];
  }
  const [path] = convertTargets(out, format);
  await mkdir(dirname(path), { recursive: true });
  const { config, assumed } = options;
  if (format === "flax") await saveWithConfig(path, flaxConfigJson(config!, assumed), isFlax, write);
  else await saveWithConfig(path, diffusersConfigJson(config!, assumed), isDiffusers, write);
  return [path];
}

/**
 * Writes each half of the model that is there into a file of its own, because an ONNX graph computes all that its file holds.
 */
async function saveOnnx(file: CheckpointFile, out: string, options: ConvertOptions): Promise<string[]> {
  const written: string[] = [];
  const held = onlyHalf(file.tensors);
  for (const half of held ? [held] : ["encoder", "decoder"] as const) {
    const path = onnxPath(out, half);
    await save(path, await conversion(file, "onnx", options, half));
    written.push(path);
  }
  return written;
}
