// Converts a checkpoint to another format, with one tensor in memory at a time.
import {
  aSignal,
  callback,
  checkOptions,
  flag,
  needed,
  object,
  oneOf,
  orNull,
  type Rules,
  texts,
} from "../../src/check.ts";
import { sizeOf } from "../../src/shape.ts";
import type { VQModelConfig, VQModelOverrides } from "./config.ts";
import { inDiffusers } from "./families/diffusers.ts";
import type { CheckpointFile } from "./file.ts";
import { writeFlaxTo } from "./flax/write.ts";
import { hyperParametersOf, stated } from "./guess.ts";
import type { OnnxHalf } from "./onnx/write.ts";
import { writeSafetensorsTo } from "./safetensors.ts";
import { onlyHalf } from "./shapes.ts";
import type { Sink } from "./sink.ts";
import { isAutoencoder, isTrainingState, momentName, tamingOrder } from "./state_dict_keys.ts";
import { itemSize, type StoredTensor } from "./stored_tensor.ts";
import { formatBytes } from "./text.ts";
import { lightningRoot, vqModelArguments } from "./torch/lightning.ts";
import { writeTorchTo } from "./torch/write.ts";
import { describeTraining, type TrainingState, trainingState } from "./training.ts";
import { type TensorToWrite, toWrite } from "./values.ts";

/** The formats that checkpoints can be written in. */
export type WrittenFormat = "torch" | "safetensors" | "flax" | "diffusers" | "onnx";

/** Which parts of a checkpoint are written, and how. */
export interface ConvertOptions {
  /** Selects the model's tensors to keep. Default: all that the format has a place for. */
  readonly keep?: (key: string) => boolean;
  /** Keeps the optimizers, so that training can continue. Default true. */
  readonly optimizers?: boolean;
  /**
   * The type of tensors with two or more dimensions; smaller tensors become f32. Default: the types stay as they are.
   */
  readonly dtype?: "f32" | "f16" | "bf16";
  /** The model's config. Null if the file holds something else, which cannot be written as Flax. */
  readonly config: VQModelConfig | null;
  /** The fields of the config that nothing states. They are not written, so that nobody takes them for facts. Default none. */
  readonly assumed?: readonly string[];
  /**
   * Writes also what is more than 300 times as large as the file, as a file of tensors that repeat one number can ask for.
   * Default false.
   */
  readonly force?: boolean;
  /** Called with what rounding does to values, such as numbers too large for f16. One line for each tensor. */
  readonly onNote?: (note: string) => void;
  /** Called after each tensor with the number of bytes written so far, and the total. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Aborting it makes the conversion reject with its reason. A file that it would have replaced stays. */
  readonly signal?: AbortSignal;
}

const rules: Rules<ConvertOptions> = {
  keep: callback,
  optimizers: flag,
  dtype: oneOf("f32", "f16", "bf16"),
  config: needed(orNull(object)),
  assumed: texts,
  force: flag,
  onNote: callback,
  onProgress: callback,
  signal: aSignal,
};

/**
 * Prepares the conversion of a checkpoint to another format. The config.json of Flax and of diffusers is not part of it.
 * @param half the half of the model that becomes an ONNX file; the other formats hold both
 * @returns a function that writes the result
 * @throws if the format has no such model, if the file's optimizers do not fit its weights, or if ONNX is requested in bf16;
 * an ExpansionError if the result would be hundreds of times as large as the file.
 */
export async function conversion(
  file: CheckpointFile,
  format: WrittenFormat,
  options: ConvertOptions,
  half: OnnxHalf = "encoder",
): Promise<(sink: Sink) => Promise<void>> {
  checkOptions("convertCheckpoint", options, rules);
  const { keep = () => true, config, dtype } = options;
  const holdsTraining = format === "torch" || format === "safetensors";
  if (!holdsTraining) checkFor(format, file, config);
  if (format === "onnx" && dtype === "bf16") {
    throw new Error("convertCheckpoint: ONNX runtimes compute with bf16 only in part: use f16 or f32");
  }
  const hasPlace = placeIn(format, half);
  const isKept = (key: string) => !isTrainingState(key) && keep(key) && hasPlace(key);
  const found = holdsTraining && options.optimizers !== false ? await trainingState(file) : null;
  // a run goes on from the weights of its last step; everything else gets their average, if there is one
  const goesOn = found !== null && file.metadata.state !== undefined;
  const source = goesOn ? new Map([...file.tensors, ...file.stored]) : file.tensors;
  const chosen = tamingOrder(source.keys()).filter(isKept).map((key) => [key, source.get(key)!] as const);
  const beside = goesOn ? [...source].filter(([key]) => key.startsWith("training.")) : [];
  const watch = watcher([...chosen, ...beside].map(([, tensor]) => tensor).concat(momentsOf(found)), options);
  const tensors = chosen.map(([key, tensor]) => asWritten(key, watch(tensor), options));
  const more = beside.map(([key, tensor]) => toWrite(key, watch(tensor)));
  checkGrowth(file, [...tensors, ...more, ...momentEntries(found)], options.force ?? false);
  const training = found && watched(found, watch);
  if (format === "flax") return (sink) => writeFlaxTo(sink, tensors);
  if (format === "onnx") {
    const { writeOnnxTo } = await import("./onnx/write.ts"); // it needs a library for protobuf
    return (sink) => writeOnnxTo(sink, half, tensors, config!, statedIn(options)!);
  }
  if (format === "diffusers") {
    const levels = config!.ddconfig.chMult.length;
    const renamed = tensors.map((tensor) => ({
      ...tensor,
      ...inDiffusers(tensor.name, tensor.shape, levels),
    }));
    return (sink) =>
      writeSafetensorsTo(sink, renamed, { format: "pt", ...told("config", statedIn(options)) });
  }
  const metadata = kept(file, options, training !== null);
  if (format === "safetensors") {
    return (sink) =>
      writeSafetensorsTo(sink, [...tensors, ...momentEntries(training), ...more], {
        format: "tessera",
        version: "1",
        ...metadata,
        ...(training && metadata.state === undefined ? { training: describeTraining(training) } : {}),
        ...told("hyper_parameters", builtWith(file)),
      });
  }
  const known = statedIn(options);
  const hyperParameters = { ...(known ? vqModelArguments(known) : {}), ...builtWith(file) };
  return (sink) =>
    writeTorchTo(sink, lightningRoot({ tensors, training, hyperParameters, metadata, kept: more }));
}

/** Returns which keys a format has a place for. */
function placeIn(format: WrittenFormat, half: OnnxHalf): (key: string) => boolean {
  switch (format) {
    case "flax":
    case "diffusers":
      return isAutoencoder;
    case "onnx": {
      const other = half === "encoder" ? /^(decoder|post_quant_conv)\./ : /^(encoder|quant_conv)\./;
      return (key) => isAutoencoder(key) && !other.test(key);
    }
    default:
      return () => true;
  }
}

/** What messages call the formats that hold only an autoencoder. */
const readers = { flax: "vqgan-jax (Flax)", diffusers: "diffusers", onnx: "ONNX" } as const;

/** @throws if a model has no place in a format, naming what the format lacks */
function checkFor(format: keyof typeof readers, file: CheckpointFile, config: VQModelConfig | null): void {
  const refused = (reason: string) =>
    new Error(`${file.path} cannot be written for ${readers[format]}: ${reason}`);
  if (!config) throw refused("it is not a VQGAN");
  if (config.remap !== null) {
    throw refused(`only ${config.remap} of its codes have a token (remap), and there is no such list there`);
  }
  if (format === "onnx") {
    const isKnown = ["nearest", "normalized", "gumbel"].includes(config.quantizer);
    if (!isKnown) throw refused(`how the quantizer "${config.quantizer}" chooses codes is not known there`);
    return;
  }
  const { quantizer, attentionOrder, ddconfig: { midAttention } } = config;
  if (quantizer !== "nearest") throw refused(`there is no ${quantizer} quantizer there`);
  if (format === "flax") {
    if (!midAttention) throw refused("there is always attention in the middle there");
    return;
  }
  const half = onlyHalf(file.tensors);
  if (half) throw refused(`it holds only the ${half} of a model`);
  if (attentionOrder !== "taming") throw refused(`there is no attention order ${attentionOrder} there`);
}

/**
 * The arguments of VQModel that the file names. A Flax file is left out, because the arguments of its model are
 * different ones.
 */
function builtWith(file: CheckpointFile): Record<string, unknown> | null {
  return file.format === "flax" ? null : hyperParametersOf(file);
}

/**
 * The metadata that Tessera writes with the weights: the config and, if the optimizers are kept, the state of its own
 * run.
 */
function kept(
  { metadata }: CheckpointFile,
  options: ConvertOptions,
  withState: boolean,
): Record<string, string> {
  const { state, version } = metadata;
  return {
    ...told("config", statedIn(options)),
    ...(withState && state !== undefined && version !== undefined ? { state, version } : {}),
  };
}

/** The part of the config that is known. */
export function statedIn({ config, assumed = [] }: ConvertOptions): VQModelOverrides | null {
  return config && stated({ config, assumed });
}

function told(name: string, value: object | null): Record<string, string> {
  return value ? { [name]: JSON.stringify(value) } : {};
}

/** How many times as large as the file the result may be; files below 100 MB may have any size. */
const maxGrowth = 300, smallResult = 1e8;

/** A conversion that would write far more than it reads. */
export class ExpansionError extends Error {
  /** "ExpansionError" */
  override readonly name = "ExpansionError";
  /** The message without the way out. */
  readonly problem: string;

  constructor(path: string, from: number, to: number) {
    const problem = `${path}: its ${formatBytes(from)} would become ${
      formatBytes(to)
    }, because its tensors repeat their numbers`;
    super(`${problem}; pass force: true if that is what you want`);
    this.problem = problem;
  }
}

function checkGrowth(
  { path, byteLength }: CheckpointFile,
  tensors: readonly TensorToWrite[],
  force: boolean,
): void {
  const size = tensors.reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * itemSize[dtype], 0);
  if (!force && size > smallResult && size > maxGrowth * byteLength) {
    throw new ExpansionError(path, byteLength, size);
  }
}

/** The smallest number that becomes infinite in a type, by rounding to the nearest. */
const tooLarge = {
  f16: (2 - 2 ** -11) * 2 ** 15,
  bf16: (2 - 2 ** -8) * 2 ** 127,
  f32: (2 - 2 ** -24) * 2 ** 127,
};

function asWritten(
  name: string,
  tensor: StoredTensor,
  { dtype: wanted, onNote }: ConvertOptions,
): TensorToWrite {
  const own = toWrite(name, tensor);
  if (wanted === undefined || !["f32", "f16", "bf16", "f64"].includes(own.dtype)) return own;
  const dtype = own.shape.length < 2 ? "f32" : wanted;
  const data = async () => {
    const values = await tensor.read();
    if (values instanceof Float32Array || values instanceof Float64Array) {
      const lost = overflow(values, tooLarge[dtype]);
      if (lost) {
        onNote?.(
          `${name}: ${lost.count} of ${values.length} values are too large for ${dtype} (up to ${
            lost.most.toPrecision(4)
          }) and become infinite`,
        );
      }
    }
    return values instanceof Float64Array ? Float32Array.from(values) : values;
  };
  return { ...own, dtype, data };
}

/** Counts the finite values from `limit` on. @returns null if there are none */
function overflow(
  values: Float32Array | Float64Array,
  limit: number,
): { count: number; most: number } | null {
  let count = 0, most = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (size < limit || size === Infinity || size !== size) continue;
    count++;
    if (size > most) most = size;
  }
  return count > 0 ? { count, most } : null;
}

type Watch = (tensor: StoredTensor) => StoredTensor;

/** Wraps tensors so that reading one reports its bytes, and rejects after an abort. */
function watcher(all: readonly StoredTensor[], { onProgress, signal }: ConvertOptions): Watch {
  const total = all.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytes = 0;
  return (tensor) => {
    const { shape, stride, dtype, byteLength } = tensor;
    const read = async () => {
      signal?.throwIfAborted();
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
