// Reports what a checkpoint holds without reading its tensors. This is `tessera inspect FILE`.
import { checkOptions, shown } from "../../src/check.ts";
import { sizeOf } from "../../src/shape.ts";
import { factorOf, type VQModelConfig } from "./config.ts";
import type { CheckpointFile, SettingsBeside } from "./file.ts";
import { describeModel } from "./find_model.ts";
import {
  type ConfigGuess,
  describeBeside,
  type FoundLoss,
  guessConfig,
  guessLoss,
  hasAlexNet,
  hyperParametersOf,
} from "./guess.ts";
import { jsonRecord, record } from "./json.ts";
import { type CheckpointSource, type OpenOptions, openRules, withCheckpoint } from "./opener.ts";
import { onlyHalf } from "./shapes.ts";
import { isTrainingState } from "./state_dict_keys.ts";
import type { StoredDType } from "./stored_tensor.ts";
import { formatBytes, formatCount, formatTable, printable, shortened } from "./text.ts";
import { flattenTensors, isStoredTensor, unwrapOmegaconf } from "./torch/unwrap.ts";
import { stepOf, trainingState } from "./training.ts";

/** A part of the model, in a report. */
export interface PartReport {
  /** Top-level module, such as "encoder" or "loss.discriminator". */
  readonly name: string;
  /** The number of tensors. */
  readonly tensors: number;
  /** The number of values in all of them. */
  readonly values: number;
  /** The number of bytes of all of them. */
  readonly bytes: number;
}

/** A tensor, in a report. */
export interface TensorReport {
  /** Its key in the state_dict. */
  readonly name: string;
  /** The size of each axis. */
  readonly shape: readonly number[];
  /** The type in which its numbers are stored. */
  readonly dtype: StoredDType;
  /** The number of bytes in the file. */
  readonly bytes: number;
}

/** An optimizer, in a report. */
export interface OptimizerReport {
  /** The number of parameters that have moments. */
  readonly parameters: number;
  /** The number of bytes of the moments. */
  readonly bytes: number;
  /** The learning rate. */
  readonly lr: number | null;
  /** The decay rates of the two moments. */
  readonly betas: readonly number[] | null;
  /** How many gradients the first parameter has received. */
  readonly step: number | null;
}

/** The result of `inspect`. Byte counts are sizes in the file. Null means that the file does not state the value. */
export interface InspectReport {
  /** The path of the file, or a description of the bytes. */
  readonly path: string;
  /** The format of the file. */
  readonly format: CheckpointFile["format"];
  /** The size of the file. */
  readonly bytes: number;
  /** The modules that its tensors belong to, in the file's order. */
  readonly parts: readonly PartReport[];
  /** Every tensor, in the file's order. */
  readonly list: readonly TensorReport[];
  /** The number of tensors. */
  readonly tensors: number;
  /** The number of values in all of them. */
  readonly values: number;
  /** The number of tensors of each type. */
  readonly dtypes: Readonly<Partial<Record<StoredDType, number>>>;
  /** How often all pictures were seen. */
  readonly epoch: number | null;
  /** Lightning's count, or Tessera's steps. */
  readonly globalStep: number | null;
  /** The arguments that the model was built with. */
  readonly hyperParameters: Readonly<Record<string, unknown>> | null;
  /** The metadata that the writer added to the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The optimizers in the file. */
  readonly optimizers: readonly OptimizerReport[];
  /** Whether it holds averages of the weights (EMA), which are used in place of those of the last step. */
  readonly isAverage: boolean;
  /** What model of another library it is, and where in the file it lies; null for an ordinary VQGAN, or none. */
  readonly kind: string | null;
  /** The config and the number of pixels per token along each side; null if this is not a VQGAN. */
  readonly architecture: (VQModelConfig & { readonly factor: number }) | null;
  /** The fields of `architecture` that nothing states, such as "lossconfig.discStart". */
  readonly assumed: readonly string[];
  /** The settings that were found beside the file, because it does not say all itself; null if there are none. */
  readonly beside: SettingsBeside | null;
  /** Why `architecture` is null. */
  readonly notVQGAN: string | null;
  /** The networks of the loss in the file. */
  readonly loss: FoundLoss;
  /** Possible problems in using the file, one per line. */
  readonly warnings: readonly string[];
}

/**
 * Reports what a checkpoint holds. It reads only the structure and a few numbers, so that a file of 1 GB takes
 * milliseconds.
 *
 * @example A report for a terminal
 * ```ts
 * import { formatInspectReport, inspect } from "@tessera/vqgan";
 *
 * console.log(formatInspectReport(await inspect("last.ckpt")));
 * ```
 * @throws FormatError if the file is missing, cut off, damaged, or not a checkpoint.
 */
export async function inspect(source: CheckpointSource, options: OpenOptions = {}): Promise<InspectReport> {
  checkOptions("inspect", options, openRules);
  return await withCheckpoint("inspect", source, report, options);
}

async function report(file: CheckpointFile): Promise<InspectReport> {
  const root = file.root instanceof Map ? file.root : new Map<unknown, unknown>();
  const dtypes: Partial<Record<StoredDType, number>> = {};
  for (const { dtype } of file.stored.values()) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
  const parts = groupParts(file);
  const { guess, reason } = tryGuess(file);
  const optimizers = await optimizerReports(root, file);
  const epoch = numberIn(root, "epoch") ?? told(file, "epoch");
  const globalStep = numberIn(root, "global_step") ?? told(file, "step");
  // a file of weights alone says step 0 if it was converted from one that says nothing
  const isTrained = optimizers.length > 0 || Boolean(epoch) || Boolean(globalStep);
  return {
    path: file.path,
    format: file.format,
    bytes: file.byteLength,
    parts,
    list: [...file.stored].map(([name, { shape, dtype, byteLength }]) => {
      return { name, shape, dtype, bytes: byteLength };
    }),
    tensors: file.stored.size,
    values: parts.reduce((sum, part) => sum + part.values, 0),
    dtypes,
    epoch: isTrained ? epoch : null,
    globalStep: isTrained ? globalStep : null,
    hyperParameters: hyperParametersOf(file),
    metadata: file.metadata,
    optimizers,
    isAverage: file.isAverage,
    kind: describeModel(file.model),
    architecture: guess && { ...guess.config, factor: factorOf(guess.config) },
    assumed: guess?.assumed ?? [],
    beside: file.beside ?? null,
    notVQGAN: reason,
    loss: guessLoss(file.tensors),
    warnings: warningsFor(file, guess?.config ?? null),
  };
}

function groupParts(file: CheckpointFile): PartReport[] {
  const parts = new Map<string, { name: string; tensors: number; values: number; bytes: number }>();
  const prefix = "prefix" in file.model ? file.model.prefix : "";
  for (const [key, { shape, byteLength }] of file.stored) {
    const within = prefix !== "" && key.startsWith(prefix) ? prefix : "";
    const [first = "", second = ""] = key.slice(within.length).split(".");
    const name = within + (["loss", "optimizer", "training"].includes(first) ? `${first}.${second}` : first);
    const part = parts.get(name) ?? { name, tensors: 0, values: 0, bytes: 0 };
    part.tensors++;
    part.values += sizeOf(shape);
    part.bytes += byteLength;
    parts.set(name, part);
  }
  return [...parts.values()];
}

function tryGuess(file: CheckpointFile): { guess: ConfigGuess | null; reason: string | null } {
  try {
    return { guess: guessConfig(file), reason: null };
  } catch (error) {
    return { guess: null, reason: error instanceof Error ? error.message : String(error) };
  }
}

function numberIn(map: ReadonlyMap<unknown, unknown>, key: string): number | null {
  const value = map.get(key);
  return typeof value === "number" ? value : null;
}

/** Reads a number from the state of training, which files by Tessera keep as JSON in their metadata. */
function told({ metadata }: CheckpointFile, key: string): number | null {
  const value = jsonRecord(metadata.training ?? metadata.state)?.[key];
  return typeof value === "number" ? value : null;
}

async function optimizerReports(
  root: ReadonlyMap<unknown, unknown>,
  file: CheckpointFile,
): Promise<OptimizerReport[]> {
  const listed = root.get("optimizer_states");
  const candidates = Array.isArray(listed)
    ? listed
    : [root.get("optimizer_state_dict"), root.get("optimizer"), root.has("param_groups") ? root : null];
  const reports: OptimizerReport[] = [];
  for (const candidate of candidates) {
    if (candidate instanceof Map) reports.push(await optimizerReport(candidate));
  }
  return reports.length > 0 ? reports : await namedOptimizers(file);
}

async function optimizerReport(optimizer: ReadonlyMap<unknown, unknown>): Promise<OptimizerReport> {
  const state = optimizer.get("state");
  const entries = state instanceof Map ? [...state.values()].filter((entry) => entry instanceof Map) : [];
  const groups = optimizer.get("param_groups");
  const group = record(unwrapOmegaconf(Array.isArray(groups) ? groups[0] : null));
  const { lr, betas } = group ?? {};
  return {
    parameters: entries.filter((entry) => [...entry.values()].some(isStoredTensor)).length,
    bytes: [...flattenTensors(entries).values()].reduce((sum, t) => sum + t.byteLength, 0),
    lr: typeof lr === "number" ? lr : null,
    betas: Array.isArray(betas) && betas.every((n) => typeof n === "number") ? betas : null,
    step: entries[0] ? await stepOf(entries[0].get("step")) : null,
  };
}

/** The optimizers of a file that stores moments by name; none if they do not fit its weights. */
async function namedOptimizers(file: CheckpointFile): Promise<OptimizerReport[]> {
  const training = await trainingState(file).catch(() => null);
  return (training?.optimizers ?? []).filter(({ moments }) => moments.size > 0).map(
    ({ lr, betas, moments }) => {
      const all = [...moments.values()];
      const bytes = all.reduce(
        (sum, { expAvg, expAvgSq }) => sum + expAvg.byteLength + expAvgSq.byteLength,
        0,
      );
      return { parameters: moments.size, bytes, lr, betas, step: all[0]!.step };
    },
  );
}

function warningsFor(file: CheckpointFile, config: VQModelConfig | null): string[] {
  const warnings: string[] = [];
  if (file.stored.size === 0) warnings.push("there are no tensors in this file");
  const misfit = file.beside?.misfit == null ? null : describeBeside(file.beside);
  if (misfit !== null) warnings.push(misfit.replace(/^warning: /, ""));
  const averaged = averagesIn(file);
  if (averaged.length > 0) {
    warnings.push(`averaged copies of weights (EMA) are not used: ${averaged.join(", ")}`);
  }
  const half = config && onlyHalf(file.tensors);
  if (half) {
    warnings.push(
      `only the ${half} is inside: it can ${half === "encoder" ? "encode" : "decode"}, and nothing else`,
    );
  }
  if (config && !half && config.quantizer !== "gumbel") {
    const { discNumLayers, perceptualNet } = guessLoss(file.tensors);
    if (discNumLayers === undefined) {
      warnings.push("no discriminator inside: fine-tuning starts with a new one");
    } else if (discNumLayers !== 3) {
      warnings.push(
        `the discriminator has ${discNumLayers} layers and taming builds 3 by default: set disc_num_layers: ` +
          `${discNumLayers} in its lossconfig, or loading fails because of different sizes`,
      );
    } else {
      warnings.push(
        "the discriminator has 3 layers, taming's default; that of the published f16-16384 has 2",
      );
    }
    if (hasAlexNet(file.tensors)) {
      warnings.push(
        "the perceptual network inside is AlexNet, for measuring only: fine-tuning needs another one",
      );
    } else if (perceptualNet === undefined) {
      warnings.push("no perceptual network inside: fine-tuning needs its weights from elsewhere");
    }
    if (config.ddconfig.doubleZ) warnings.push("double_z: this is a KL autoencoder's encoder");
  }
  return warnings;
}

/** The names of parts that hold averages of weights, except that of the model itself. */
function averagesIn({ stored, root, model }: CheckpointFile): string[] {
  const used = "prefix" in model ? model.prefix : "";
  const beside = root instanceof Map
    ? [...root].flatMap(([key, value]) => typeof key === "string" && value instanceof Map ? [`${key}.`] : [])
    : [];
  const paths = [
    ...[...stored.keys()].filter((key) => !isTrainingState(key) && (used === "" || !key.startsWith(used))),
    ...beside,
  ];
  return [...new Set(paths.flatMap(averageIn))].slice(0, 6);
}

/** The part of a path up to a name such as ema, params_ema or ema_model, which has something below it. */
function averageIn(path: string): string[] {
  const names = path.slice(0, 1000).split(".");
  const at = names.slice(0, -1).findIndex((name) => name.toLowerCase().split("_").includes("ema"));
  return at < 0 ? [] : [names.slice(0, at + 1).join(".")];
}

/**
 * At most this many parts, settings and texts of metadata are shown, because a file may have one for every tensor. Names are
 * shortened, because a file may have any.
 */
const maxRows = 40, maxName = 60, maxText = 240;

function formatSettings(settings: Readonly<Record<string, unknown>>): string[] {
  const entries = Object.entries(settings);
  const lines = entries.slice(0, maxRows).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return `  ${shortened(key, maxName)}: ${shortened(text, maxText)}`;
  });
  return [...lines, ...(entries.length > maxRows ? [`  and ${entries.length - maxRows} more`] : [])];
}

/** Formats all tensors as text for a terminal: name, shape, type and size. */
export function formatTensors({ list }: InspectReport): string {
  const rows = list.map(({ name, shape, dtype, bytes }) => [
    ...[shortened(name, 2 * maxName), `[${shape}]`, dtype, formatBytes(bytes)],
  ]);
  return formatTable(rows).map(printable).join("\n");
}

/** Formats the report as text for a terminal. */
export function formatInspectReport(r: InspectReport): string {
  const types = Object.entries(r.dtypes).map(([dtype, n]) => `${n} ${dtype}`).join(", ");
  const rows = r.parts.slice(0, maxRows).map(({ name, tensors, values, bytes }) => [
    shortened(name, maxName),
    tensors === 1 ? "1 tensor " : `${tensors} tensors`,
    formatCount(values),
    formatBytes(bytes),
  ]);
  if (r.parts.length > maxRows) rows.push([`and ${r.parts.length - maxRows} more`, "", "", ""]);
  const bytes = r.parts.reduce((sum, part) => sum + part.bytes, 0);
  rows.push(["all", `${r.tensors} tensors`, formatCount(r.values), formatBytes(bytes)]);
  const lines = [
    `${r.path}: ${r.format}, ${formatBytes(r.bytes)}`,
    ...formatTable(rows),
    `types: ${types || "none"}`,
  ];
  const progress = [
    ...(r.epoch === null ? [] : [`epoch ${r.epoch}`]),
    ...(r.globalStep === null ? [] : [`step ${r.globalStep}`]),
  ];
  if (progress.length > 0) lines.push(`training: ${progress.join(", ")}`);
  for (const [i, { parameters, bytes, lr, betas, step }] of r.optimizers.entries()) {
    const details = [
      `${parameters} parameters with moments`,
      formatBytes(bytes),
      ...(lr === null ? [] : [`lr ${lr}`]),
      ...(betas === null ? [] : [`betas ${betas.join(", ")}`]),
      ...(step === null ? [] : [`step ${step}`]),
    ];
    lines.push(`optimizer ${i}: ${details.join(", ")}`);
  }
  if (r.isAverage) {
    lines.push(
      "weights: their average over the training (EMA, training.ema) is used in place of those of the last step",
    );
  }
  if (r.kind !== null) lines.push(`model: ${r.kind}`);
  if (r.architecture) lines.push(...formatArchitecture(r.architecture, r));
  else lines.push(`architecture: ${r.notVQGAN}`);
  if (r.hyperParameters) lines.push("hyper-parameters:", ...formatSettings(r.hyperParameters));
  if (r.beside && r.beside.misfit === null) {
    lines.push(`settings beside it, in ${r.beside.path}:`, ...formatSettings(r.beside.settings));
  }
  const { hyper_parameters: _shown, ...metadata } = r.metadata;
  if (Object.keys(metadata).length > 0) lines.push("metadata:", ...formatSettings(metadata));
  lines.push(...r.warnings.map((warning) => `warning: ${warning}`));
  return lines.map(printable).join("\n");
}

/** How codes are chosen, in words, if not by the nearest one. */
function kindOfCodes({ quantizer, quantizerOptions }: VQModelConfig): string {
  if (quantizer === "nearest") return "";
  if (quantizer === "normalized") return ", all of length 1";
  if (quantizer === "gumbel") {
    return ", chosen by logits (taming's GumbelQuantize, which cannot be trained here)";
  }
  return `, chosen by the quantizer "${quantizer}" with the options ${shown(quantizerOptions)}`;
}

function formatArchitecture(
  config: VQModelConfig & { readonly factor: number },
  { loss: { discNumLayers, discNdf, perceptualNet }, assumed }: InspectReport,
): string[] {
  const { factor, embedDim, nEmbed, remap, ddconfig } = config;
  const lines = [
    `architecture: VQGAN f${factor}, ${nEmbed} codes of ${embedDim}${kindOfCodes(config)}` +
    `${remap === null ? "" : `, of which ${remap} have a token (remap)`}`,
    `  ch ${ddconfig.ch}, ch_mult [${ddconfig.chMult}], num_res_blocks ${ddconfig.numResBlocks}, ` +
    `z_channels ${ddconfig.zChannels}`,
    `  attn_resolutions [${ddconfig.attnResolutions}] at resolution ${ddconfig.resolution}` +
    `${ddconfig.midAttention ? "" : ", no attention in the middle"}`,
    `  discriminator: ${discNumLayers === undefined ? "none" : `${discNumLayers} layers, ndf ${discNdf}`}; ` +
    `perceptual network: ${perceptualNet ?? "none"}`,
  ];
  if (assumed.length > 0) {
    const values = assumed.map((path) => `${path} ${valueAt(config, path)}`);
    lines.push(`  assumed, because nothing says it: ${values.join(", ")}`);
  }
  return lines;
}

/** The field of a config under a path such as "ddconfig.resolution". */
function valueAt(config: VQModelConfig, path: string): unknown {
  return path.split(".").reduce<unknown>((fields, name) => record(fields)?.[name], config);
}
