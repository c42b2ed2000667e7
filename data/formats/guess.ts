// The architecture of a VQGAN from the shapes of its tensors. What shapes do not tell (nominal resolution,
// loss weights) is taken from hyper-parameters where the file has them.
import { unwrapOmegaconf } from "./torch/unwrap.ts";

/** taming's settings in camelCase, as far as a file tells them; fits `withOverrides` of nn/config.ts. */
export interface ArchitectureGuess {
  readonly embedDim: number;
  readonly nEmbed: number;
  readonly ddconfig: {
    readonly zChannels: number;
    /** 256 unless hyper-parameters or Tessera's metadata say otherwise; it only gives `attnResolutions` their unit. */
    readonly resolution: number;
    readonly inChannels: number;
    readonly outCh: number;
    readonly ch: number;
    readonly chMult: readonly number[];
    readonly numResBlocks: number;
    readonly attnResolutions: readonly number[];
    readonly doubleZ: boolean;
  };
  readonly lossconfig: {
    readonly discStart?: number;
    readonly discWeight?: number;
    readonly discFactor?: number;
    readonly codebookWeight?: number;
    readonly perceptualWeight?: number;
    readonly discLoss?: "hinge" | "vanilla";
    readonly discNumLayers?: number;
    readonly discNdf?: number;
    readonly perceptualNet?: "vgg" | "squeeze";
  };
}

export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** Levels are few: 16 halvings make one token of a 32768-pixel picture. */
const maxLevels = 16;

/**
 * The config of a VQGAN from its tensors' shapes, and from the hyper-parameters beside them if `source` is a
 * whole file.
 *
 * @example
 * guessConfig(file).ddconfig.chMult // [1, 1, 2, 2, 4]
 * @throws Error naming the tensor that is missing, if these are not all tensors of a VQGAN.
 */
export function guessConfig(
  source: Shapes | {
    readonly tensors: Shapes;
    readonly root?: unknown;
    readonly metadata?: Readonly<Record<string, string>>;
  },
): ArchitectureGuess {
  const tensors = source instanceof Map ? source : "tensors" in source ? source.tensors : source;
  const settings = "root" in source ? hyperParameters(source.root) : null;
  const written = "metadata" in source ? writtenConfig(source.metadata as Record<string, string>) : null;
  const dimension = (key: string, axis: number): number => {
    const n = tensors.get(key)?.shape[axis];
    if (n === undefined) {
      throw new Error(`not a whole VQGAN: there is no tensor ${key} with ${axis + 1} dimensions`);
    }
    return n;
  };
  const count = (name: (i: number) => string, limit = maxLevels): number => {
    let i = 0;
    while (i < limit && tensors.has(name(i))) i++;
    return i;
  };

  const ch = dimension("encoder.conv_in.weight", 0);
  const levels = count((i) => `encoder.down.${i}.block.0.conv1.weight`);
  const chMult = Array.from({ length: levels }, (_, i) => {
    return dimension(`encoder.down.${i}.block.0.conv1.weight`, 0) / ch;
  });
  const told = settings ?? written;
  // Flax keeps all settings on one level
  const resolution = wholeNumber((record(told?.ddconfig) ?? told)?.resolution) ?? 256;
  const zChannels = dimension("decoder.conv_in.weight", 1);
  return {
    embedDim: dimension("quantize.embedding.weight", 1),
    nEmbed: dimension("quantize.embedding.weight", 0),
    ddconfig: {
      zChannels,
      resolution,
      inChannels: dimension("encoder.conv_in.weight", 1),
      outCh: dimension("decoder.conv_out.weight", 0),
      ch,
      chMult,
      numResBlocks: count((i) => `encoder.down.0.block.${i}.conv1.weight`),
      attnResolutions: chMult
        .map((_, i) => tensors.has(`encoder.down.${i}.attn.0.norm.weight`) ? resolution / 2 ** i : 0)
        .filter((n) => n > 0),
      doubleZ: dimension("encoder.conv_out.weight", 0) === 2 * zChannels,
    },
    lossconfig: { ...lossSettings(settings), ...guessLoss(tensors) },
  };
}

/** Discriminator layers: 2 end in main.8, 3 in main.11. SqueezeNet differs from VGG by its fire modules. */
export function guessLoss(
  tensors: Shapes,
): { discNumLayers?: number; discNdf?: number; perceptualNet?: "vgg" | "squeeze" } {
  const discNdf = tensors.get("loss.discriminator.main.0.weight")?.shape[0];
  let discNumLayers: number | undefined;
  for (let n = 1; n <= maxLevels; n++) {
    if (tensors.get(`loss.discriminator.main.${3 * n + 2}.weight`)?.shape[0] === 1) discNumLayers = n;
  }
  const net = [...tensors.keys()].filter((key) => key.startsWith("loss.perceptual_loss.net."));
  return {
    ...(discNdf !== undefined && discNumLayers !== undefined ? { discNdf, discNumLayers } : {}),
    ...(net.length > 0
      ? { perceptualNet: net.some((key) => key.endsWith(".squeeze.weight")) ? "squeeze" : "vgg" }
      : {}),
  };
}

/** The plain hyper-parameters that Lightning keeps in a checkpoint; null without. */
export function hyperParameters(root: unknown): Record<string, unknown> | null {
  if (!(root instanceof Map)) return null;
  for (const key of ["hyper_parameters", "hparams", "config"]) {
    const plain = record(unwrapOmegaconf(root.get(key)));
    if (plain && Object.keys(plain).length > 0) return plain;
  }
  return null;
}

/** Those of a file, also where converting has put them into its metadata; null without. */
export function hyperParametersOf(
  file: { readonly root: unknown; readonly metadata: Readonly<Record<string, string>> },
): Record<string, unknown> | null {
  return hyperParameters(file.root) ?? jsonRecord(file.metadata.hyper_parameters);
}

/** What Tessera wrote beside weights of its own; null in files by others and where it cannot be read. */
function writtenConfig(metadata: Readonly<Record<string, string>>): Record<string, unknown> | null {
  return jsonRecord(metadata.config);
}

/** null where it cannot be read: loading says what is wrong with it; the shapes are still worth telling. */
function jsonRecord(text: string | undefined): Record<string, unknown> | null {
  try {
    return record(JSON.parse(text ?? "null"));
  } catch {
    return null;
  }
}

function lossSettings(settings: Record<string, unknown> | null): ArchitectureGuess["lossconfig"] {
  const loss = record(settings?.lossconfig);
  const params = record(loss?.params) ?? loss;
  if (!params) return {};
  const numbers = {
    discStart: params.disc_start,
    discWeight: params.disc_weight,
    discFactor: params.disc_factor,
    codebookWeight: params.codebook_weight,
    perceptualWeight: params.perceptual_weight,
  };
  const told = Object.fromEntries(Object.entries(numbers).filter(([, n]) => typeof n === "number"));
  const { disc_loss: discLoss } = params;
  return discLoss === "hinge" || discLoss === "vanilla" ? { ...told, discLoss } : told;
}

export function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : null;
}

function wholeNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : null;
}
