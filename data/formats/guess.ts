// Finds the config of a VQGAN from its checkpoint: either Tessera wrote it with the weights, or it follows from the
// shapes of the tensors and from the hyper-parameters in the file. What neither of them states is assumed and listed.
import { check, object } from "../../src/check.ts";
import {
  checkConfig,
  type DDConfig,
  type LossConfig,
  preset,
  type VQModelConfig,
  type VQModelOverrides,
} from "./config.ts";
import type { CheckpointFile } from "./file.ts";
import { SeveralModelsError } from "./find_model.ts";
import { jsonRecord, record } from "./json.ts";
import { architectureOf, type Shapes } from "./shapes.ts";
import { FormatError } from "./source.ts";
import { unwrapOmegaconf } from "./torch/unwrap.ts";

/** A config, and the list of its fields that are only assumed. */
export interface ConfigGuess {
  /** The config of the model. */
  readonly config: VQModelConfig;
  /**
   * The fields that the file does not state, such as "lossconfig.discStart". They have the values of the published
   * f16-16384.
   */
  readonly assumed: readonly string[];
}

type Settings = Readonly<Record<string, unknown>>;

/** The part of a checkpoint that a guess is made from. */
export interface Guessable {
  /** The tensors' shapes by state_dict key. */
  readonly tensors: Shapes;
  /** Everything the file holds, which may include hyper-parameters. */
  readonly root?: unknown;
  /** The metadata that the writer added to the tensors. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The VQGAN that was found in the file. */
  readonly model?: CheckpointFile["model"];
}

/** The networks of the loss that a checkpoint holds. A field is missing if its network is not in the file. */
export type FoundLoss = Partial<Pick<LossConfig, "discNumLayers" | "discNdf" | "perceptualNet">>;

/**
 * Returns the config that Tessera wrote with the weights, or else a guess.
 * @throws if no model can be built from it, or tensors of a VQGAN are missing.
 */
export function configOf(file: CheckpointFile): ConfigGuess {
  const { model, path, metadata: { config: written } } = file;
  if ("problem" in model) {
    if (model.choices.length > 0) throw new SeveralModelsError(path, model);
    throw new FormatError(path, model.problem, "inspect lists what is in it");
  }
  try {
    const guess = written === undefined ? guessConfig(file) : told(file, written);
    checkConfig(guess.config);
    return guess;
  } catch (error) {
    const reason = (error as Error).message;
    throw new Error(
      `${path}: ${written === undefined ? "" : "the config in its metadata cannot be used: "}${reason}`,
    );
  }
}

/** The config that Tessera wrote. What older files do not state follows from shapes. */
function told({ tensors }: CheckpointFile, written: string): ConfigGuess {
  const config = record(JSON.parse(written)) as VQModelOverrides | null;
  if (!config) throw new Error("it is not an object");
  for (const part of ["ddconfig", "lossconfig"] as const) {
    if (config[part] !== undefined) check("config", part, config[part], object);
  }
  const { quantizer, ddconfig: { midAttention } } = architectureOf(tensors, published.ddconfig.resolution);
  return completed({ quantizer, ...config, ddconfig: { midAttention, ...config.ddconfig } });
}

/**
 * Guesses the config of a VQGAN from the shapes of its tensors, its hyper-parameters and its metadata. It may be one
 * that cannot be built here, such as that of a KL autoencoder.
 *
 * @example What a file states and what is assumed
 * ```ts
 * import { guessConfig, openCheckpoint } from "@tessera/vqgan";
 *
 * const file = await openCheckpoint("last.ckpt");
 * const { config, assumed } = guessConfig(file);
 * console.log(config.ddconfig.chMult); // [1, 1, 2, 2, 4] of the published model
 * console.log(assumed); // ["lossconfig.discStart", ...]
 * await file.close();
 * ```
 * @throws Error naming the missing tensor if tensors of a VQGAN are missing.
 */
export function guessConfig({ tensors, root, metadata, model }: Guessable): ConfigGuess {
  if (model && "problem" in model) throw new Error(model.problem);
  const written = jsonRecord(metadata?.config), settings = hyperParameters(root);
  const resolution = resolutionIn(settings) ?? resolutionIn(written);
  // shapes show which levels have attention; the config names these levels by their resolution
  const { ddconfig, ...shown } = architectureOf(tensors, resolution ?? published.ddconfig.resolution);
  const { beta, legacyBeta, attentionOrder } = published;
  return completed({
    ...shown,
    ...model?.family.config,
    // no tensor shows this kind
    ...(written?.quantizer === "normalized" ? { quantizer: written.quantizer } : {}),
    ...sameKind(written, { beta, legacyBeta, attentionOrder }),
    ddconfig: { ...ddconfig, ...(resolution === null ? {} : { resolution }) },
    lossconfig: {
      ...sameKind(record(written?.lossconfig), published.lossconfig),
      ...lossSettings(settings),
      ...guessLoss(tensors),
    },
  });
}

/** The values that are assumed for a file that does not state them. */
const published = preset("f16-16384");

/** Completes the config with assumed values, and lists their names. */
function completed(known: VQModelOverrides): ConfigGuess {
  const config = {
    ...published,
    ...known,
    ddconfig: { ...published.ddconfig, ...known.ddconfig },
    lossconfig: { ...published.lossconfig, ...known.lossconfig },
  };
  return { config, assumed: missing(known, published) };
}

function missing(known: object, whole: object, path = ""): string[] {
  const has = known as Settings;
  return Object.entries(whole).flatMap(([name, value]) => {
    const fields = record(value);
    if (fields) return missing(record(has[name]) ?? {}, fields, `${path}${name}.`);
    return has[name] === undefined ? [`${path}${name}`] : [];
  });
}

/** The fields of `settings` that `model` also has, if they are of the same type. */
function sameKind<T extends object>(settings: Settings | null, model: T): Partial<T> {
  const kinds = model as Settings;
  const fits = Object.entries(settings ?? {}).filter(([name, value]) => typeof value === typeof kinds[name]);
  return Object.fromEntries(fits.filter(([name]) => Object.hasOwn(kinds, name))) as Partial<T>;
}

/**
 * Finds the networks of the loss in the file. Discriminators of 2 layers end in main.8, those of 3 in main.11, and so
 * on.
 */
export function guessLoss(tensors: Shapes): FoundLoss {
  const discNdf = tensors.get("loss.discriminator.main.0.weight")?.shape[0];
  let discNumLayers: number | undefined;
  for (let n = 1; n <= 16; n++) {
    if (tensors.get(`loss.discriminator.main.${3 * n + 2}.weight`)?.shape[0] === 1) discNumLayers = n;
  }
  const net = [...tensors.keys()].filter((key) => key.startsWith("loss.perceptual_loss.net."));
  return {
    ...(discNdf !== undefined && discNumLayers !== undefined ? { discNdf, discNumLayers } : {}),
    ...(net.length > 0
      // VGG has no fire modules
      ? { perceptualNet: net.some((key) => key.endsWith(".squeeze.weight")) ? "squeeze" : "vgg" }
      : {}),
  };
}

/** The plain hyper-parameters that Lightning keeps in a checkpoint; null if there are none. */
function hyperParameters(root: unknown): Record<string, unknown> | null {
  if (!(root instanceof Map)) return null;
  for (const key of ["hyper_parameters", "hparams", "config"]) {
    const plain = record(unwrapOmegaconf(root.get(key)));
    if (plain && Object.keys(plain).length > 0) return ofFirstStage(plain) ?? plain;
  }
  return null;
}

/** The settings of the VQGAN in those of a model around it, as in latent-diffusion and in taming's Net2NetTransformer. */
function ofFirstStage(settings: Settings): Record<string, unknown> | null {
  return settings.ddconfig === undefined ? record(record(settings.first_stage_config)?.params) : null;
}

/**
 * The hyper-parameters of a file, including those that a conversion has put into its metadata; null if there are none.
 */
export function hyperParametersOf(
  file: Pick<CheckpointFile, "root" | "metadata">,
): Record<string, unknown> | null {
  return hyperParameters(file.root) ?? jsonRecord(file.metadata.hyper_parameters);
}

/** The nominal resolution; null if it is missing or not a whole number. Flax keeps all settings on one level. */
function resolutionIn(settings: Settings | null): DDConfig["resolution"] | null {
  const { resolution } = record(settings?.ddconfig) ?? settings ?? {};
  const isWhole = typeof resolution === "number" && Number.isInteger(resolution) && resolution > 0;
  return isWhole ? resolution : null;
}

/** The settings of the loss in taming's hyper-parameters. */
function lossSettings(settings: Settings | null): Partial<LossConfig> {
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
