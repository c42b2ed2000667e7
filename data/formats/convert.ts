// From any checkpoint into any other format, one tensor in memory at a time.
import { mkdir } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { flaxWeights } from "./flax/read.ts";
import { writeFlax } from "./flax/write.ts";
import { type ArchitectureGuess, hyperParametersOf } from "./guess.ts";
import { lightningRoot, vqModelArguments } from "./torch/lightning.ts";
import type { CheckpointFile } from "../files/open.ts";
import { isAutoencoder, tamingOrder } from "./state_dict_keys.ts";
import { writeSafetensors } from "./safetensors.ts";
import type { StoredTensor } from "./stored_tensor.ts";
import { writeTorch } from "./torch/write.ts";
import { describeTraining, isMoment, momentName, type TrainingState, trainingState } from "./training.ts";
import { type TensorToWrite, toWrite } from "./values.ts";

export type WrittenFormat = "torch" | "safetensors" | "flax";

export interface ConvertOptions {
  /** Which of the model's tensors to keep; default all that the format has a place for. */
  readonly keep?: (key: string) => boolean;
  /** Keep the optimizers, so that training can go on. Default true. */
  readonly optimizers?: boolean;
  /** Of tensors with two dimensions and more; smaller ones become f32. Default: as they are. */
  readonly dtype?: "f32" | "f16" | "bf16";
  /** What the model is; null if the file holds something else, which Flax has no form for. */
  readonly config: ArchitectureGuess | null;
  /** Called after each tensor with the bytes written so far and in all. */
  readonly onProgress?: (bytes: number, total: number) => void;
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
 * @example
 * const file = await openCheckpoint("last.ckpt");
 * await convertCheckpoint(file, "last.safetensors", { config: guessConfig(file) });
 * await file.close();
 * @returns where it was written
 * @throws if the file has no VQGAN and Flax is asked for, or optimizers that do not fit its weights.
 */
export async function convertCheckpoint(
  file: CheckpointFile,
  out: string,
  options: ConvertOptions,
): Promise<string> {
  const { keep = () => true, config } = options;
  const format = formatByName(out);
  if (format === "flax" && !config) {
    throw new Error(`${file.path} is not a VQGAN, and Flax is written of one only`);
  }
  const isKept = (key: string) => !isMoment(key) && keep(key) && (format !== "flax" || isAutoencoder(key));
  const chosen = tamingOrder(file.tensors.keys()).filter(isKept).map((key) =>
    [key, file.tensors.get(key)!] as const
  );
  const found = format === "flax" || options.optimizers === false ? null : await trainingState(file);
  const watch = watcher([...chosen.map(([, tensor]) => tensor), ...momentsOf(found)], options.onProgress);
  const tensors = chosen.map(([key, tensor]) => asWritten(key, watch(tensor), options.dtype));
  const training = found && watched(found, watch);
  if (format === "flax") {
    const path = extname(out) === "" ? join(out, flaxWeights) : out;
    await mkdir(dirname(path), { recursive: true });
    await writeFlax(path, tensors, config!);
    return path;
  }
  const metadata = kept(file, options, training !== null);
  if (format === "safetensors") {
    await writeSafetensors(out, [...tensors, ...momentEntries(training)], {
      format: "tessera",
      version: "1",
      ...metadata,
      ...(training && metadata.state === undefined ? { training: describeTraining(training) } : {}),
      ...told("hyper_parameters", builtWith(file)),
    });
    return out;
  }
  const hyperParameters = { ...(config ? vqModelArguments(config) : {}), ...builtWith(file) };
  await writeTorch(out, lightningRoot({ tensors, training, hyperParameters, metadata }));
  return out;
}

/** The arguments of VQModel that the file tells; those of Flax's model are others. */
function builtWith(file: CheckpointFile): Record<string, unknown> | null {
  return file.format === "flax" ? null : hyperParametersOf(file);
}

/** What Tessera keeps beside weights: the config, and of a run of its own whose optimizers are kept, its state. */
function kept(
  { metadata }: CheckpointFile,
  { config }: ConvertOptions,
  withState: boolean,
): Record<string, string> {
  const { state, version } = metadata;
  return {
    ...told("config", config),
    ...(withState && state !== undefined && version !== undefined ? { state, version } : {}),
  };
}

function told(name: string, value: object | null): Record<string, string> {
  return value ? { [name]: JSON.stringify(value) } : {};
}

function asWritten(name: string, tensor: StoredTensor, wanted: ConvertOptions["dtype"]): TensorToWrite {
  const own = toWrite(name, tensor);
  if (wanted === undefined || !["f32", "f16", "bf16", "f64"].includes(own.dtype)) return own;
  const data = async () => {
    const values = await tensor.read();
    return values instanceof Float64Array ? Float32Array.from(values) : values;
  };
  return { ...own, dtype: own.shape.length < 2 ? "f32" : wanted, data };
}

type Watch = (tensor: StoredTensor) => StoredTensor;

/** Makes tensors that report their bytes once they are read. */
function watcher(all: readonly StoredTensor[], onProgress: ConvertOptions["onProgress"]): Watch {
  const total = all.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytes = 0;
  return (tensor) => {
    const { shape, stride, dtype, byteLength } = tensor;
    const read = async () => {
      const values = await tensor.read();
      onProgress?.(bytes += byteLength, total);
      return values;
    };
    return { shape, stride, dtype, byteLength, read, readFloats: (sink) => tensor.readFloats(sink) };
  };
}

function momentsOf(training: TrainingState | null): StoredTensor[] {
  const all = training?.optimizers.flatMap(({ moments }) => [...moments.values()]) ?? [];
  return all.flatMap(({ expAvg, expAvgSq }) => [expAvg, expAvgSq]);
}

function watched(training: TrainingState, watch: Watch): TrainingState {
  const optimizers = training.optimizers.map(({ moments, ...settings }) => ({
    ...settings,
    moments: new Map(
      [...moments].map(([key, { step, expAvg, expAvgSq }]) => [
        key,
        { step, expAvg: watch(expAvg), expAvgSq: watch(expAvgSq) },
      ]),
    ),
  }));
  return { ...training, optimizers };
}

function momentEntries(training: TrainingState | null): TensorToWrite[] {
  return (training?.optimizers ?? []).flatMap(({ moments }, i) =>
    [...moments].flatMap(([key, { expAvg, expAvgSq }]) => [
      toWrite(momentName(i, "exp_avg", key), expAvg),
      toWrite(momentName(i, "exp_avg_sq", key), expAvgSq),
    ])
  );
}
