// Finds the config of a VQGAN from its checkpoint: either Tessera wrote it with the weights, or it follows from the
// shapes of the tensors and from the hyper-parameters in the file or beside it. What none of them states is assumed and
// listed.
import { check, object } from "../../src/check.ts";
import {
  checkConfig,
  type DDConfig,
  type LossConfig,
  preset,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "./config.ts";
import type { CheckpointFile } from "./file.ts";
import { SeveralModelsError } from "./find_model.ts";
import { jsonRecord, parseJson, record } from "./json.ts";
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
  /** What was found beside the file. */
  readonly beside?: CheckpointFile["beside"];
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

/** The config that Tessera wrote. What it leaves out, because nothing told it, follows from shapes or is assumed. */
function told(file: CheckpointFile, written: string): ConfigGuess {
  const config = record(parseJson(written)) as VQModelOverrides | null;
  if (!config) throw new Error("it is not an object");
  for (const part of ["ddconfig", "lossconfig"] as const) {
    if (config[part] !== undefined) check("config", part, config[part], object);
  }
  return completed(joined(knownOf(file), config));
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
export function guessConfig(file: Guessable): ConfigGuess {
  return completed(knownOf(file));
}

/** What a file and the settings beside it state. */
function knownOf({ tensors, root, metadata, model, beside }: Guessable): VQModelOverrides {
  if (model && "problem" in model) throw new Error(model.problem);
  const written = jsonRecord(metadata?.config), own = hyperParameters(root);
  const around = beside?.misfit === null ? beside.settings : null;
  const resolution = resolutionIn(own) ?? resolutionIn(written) ?? resolutionIn(around);
  // shapes show which levels have attention; the config names these levels by their resolution
  const { ddconfig, ...shown } = architectureOf(tensors, resolution ?? published.ddconfig.resolution);
  const { beta, legacyBeta, attentionOrder } = published;
  return {
    ...shown,
    ...model?.family.config,
    // tensors show a gumbel quantizer and no other one
    ...(shown.quantizer === "nearest" ? sameKind(written, { quantizer: "", quantizerOptions: {} }) : {}),
    ...quantizerSettings(around),
    ...sameKind(written, { beta, legacyBeta, attentionOrder }),
    ...quantizerSettings(own),
    ddconfig: { ...ddconfig, ...(resolution === null ? {} : { resolution }) },
    lossconfig: {
      ...lossSettings(around, true),
      ...sameKind(record(written?.lossconfig), published.lossconfig),
      // Tessera's own config says what nobody knew, so that the class's defaults prove nothing
      ...lossSettings(own, written === null),
      ...guessLoss(tensors),
    },
  };
}

/** Says in one line what lies beside a file and whether it is used; null if there is nothing. */
export function describeBeside(beside: CheckpointFile["beside"]): string | null {
  if (!beside) return null;
  const { path, misfit } = beside;
  return misfit === null
    ? `settings: from ${path}, for what the file does not say`
    : `warning: ${path} lies beside it but describes another model (${misfit}), so it is not used`;
}

/** Merges overrides field by field. Those of `b` take precedence. */
function joined(a: VQModelOverrides, b: VQModelOverrides): VQModelOverrides {
  return {
    ...a,
    ...b,
    ddconfig: { ...a.ddconfig, ...b.ddconfig },
    lossconfig: { ...a.lossconfig, ...b.lossconfig },
  };
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

/** The field that is most often assumed, and matters most. */
export const resolutionField = "ddconfig.resolution";

/** Returns the config without the fields that are only assumed, and without what follows from them. */
export function stated({ config, assumed }: ConfigGuess): VQModelOverrides {
  // which levels have attention is known, but not the resolutions that name them
  const left = assumed.includes(resolutionField) ? [...assumed, "ddconfig.attnResolutions"] : assumed;
  const without = (fields: object, path: string): object =>
    Object.fromEntries(
      Object.entries(fields).filter(([name]) => !left.includes(path + name)).map(([name, value]) => {
        const inner = record(value);
        return [name, inner ? without(inner, `${path}${name}.`) : value];
      }),
    );
  return without(config, "");
}

/**
 * Changes a guess. What is changed is no longer assumed, and another resolution leaves the attention on its levels.
 * @throws if a name is misspelt, or the changed config is invalid
 */
export function changed({ config, assumed }: ConfigGuess, changes: VQModelOverrides): ConfigGuess {
  const { ddconfig } = config, resolution = changes.ddconfig?.resolution;
  const scaled = resolution !== undefined && assumed.includes(resolutionField)
    ? { attnResolutions: ddconfig.attnResolutions.map((n) => n * resolution / ddconfig.resolution) }
    : {};
  const all = { ...changes, ddconfig: { ...scaled, ...changes.ddconfig } };
  const left = missing(all, published).filter((field) => assumed.includes(field));
  return { config: withOverrides(config, all), assumed: left };
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
    ...(net.length > 0 && !hasAlexNet(tensors)
      // VGG has no fire modules
      ? { perceptualNet: net.some((key) => key.endsWith(".squeeze.weight")) ? "squeeze" : "vgg" }
      : {}),
  };
}

/** Whether the perceptual network in the file is AlexNet, which is for measuring and not for training. */
export function hasAlexNet(tensors: Shapes): boolean {
  return tensors.get("loss.perceptual_loss.net.slice1.0.weight")?.shape[2] === 11;
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

/** taming's class of the loss, which latent-diffusion's VQGANs use too. */
const lossClass = "VQLPIPSWithDiscriminator";

/**
 * The settings of the loss in taming's hyper-parameters.
 * @param withDefaults whether what they leave out has the default of the class that they name
 */
function lossSettings(settings: Settings | null, withDefaults: boolean): Partial<LossConfig> {
  const loss = record(settings?.lossconfig);
  const params = record(loss?.params) ?? loss;
  if (!params) return {};
  const isTamings = withDefaults && String(loss?.target).split(".").at(-1) === lossClass;
  const numbers = {
    discStart: params.disc_start,
    discWeight: params.disc_weight,
    discFactor: params.disc_factor,
    codebookWeight: params.codebook_weight,
    perceptualWeight: params.perceptual_weight,
    discNumLayers: params.disc_num_layers,
    discNdf: params.disc_ndf,
  };
  const { disc_loss: discLoss } = params;
  return {
    ...(isTamings ? lossDefaults : {}),
    ...Object.fromEntries(Object.entries(numbers).filter(([, n]) => typeof n === "number")),
    ...(discLoss === "hinge" || discLoss === "vanilla" ? { discLoss } : {}),
  };
}

/** The defaults of taming's VQLPIPSWithDiscriminator, which always has VGG16. It has none for `disc_start`. */
const lossDefaults: Omit<LossConfig, "discStart"> = {
  discWeight: 1,
  discFactor: 1,
  discNumLayers: 3,
  discNdf: 64,
  codebookWeight: 1,
  perceptualWeight: 1,
  discLoss: "hinge",
  perceptualNet: "vgg",
};

/** What the settings say about the quantizer's loss: taming's VQModel knows one way, and other code may name another. */
function quantizerSettings(settings: Settings | null): VQModelOverrides {
  const { target, beta, legacy } = settings ?? {};
  const { beta: standard, legacyBeta, attentionOrder } = published;
  return {
    ...(target === "taming.models.vqgan.VQModel" ? { beta: standard, legacyBeta, attentionOrder } : {}),
    ...(typeof beta === "number" ? { beta } : {}),
    ...(typeof legacy === "boolean" ? { legacyBeta: legacy } : {}),
  };
}
