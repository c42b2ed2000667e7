// Loading a VQGAN: from the config of a checkpoint to a model with its weights. How a model is made is an argument, because
// vqgan.ts imports this file.
import type { LossConfig, VQModelConfig, VQModelOverrides } from "../data/formats/config.ts";
import type { CheckpointFile } from "../data/formats/file.ts";
import { describeModel } from "../data/formats/find_model.ts";
import { changed, configOf, describeBeside } from "../data/formats/guess.ts";
import {
  type CheckpointSource,
  type OpenOptions,
  openRules,
  withCheckpoint,
} from "../data/formats/opener.ts";
import { type Half, onlyHalf } from "../data/formats/shapes.ts";
import { FormatError } from "../data/formats/source.ts";
import { isAutoencoder } from "../data/formats/state_dict_keys.ts";
import type { PixelRange } from "../data/pictures/picture.ts";
import { CountingBackend } from "../src/backends/counting.ts";
import { checkOptions, object, oneOf, type Rules, whole } from "../src/check.ts";
import { withBackend } from "../src/device.ts";
import { Random, type Shape } from "../src/index.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import { checkFit, fillModule, type FillOptions, unfilled } from "./fill.ts";
import type { Precision } from "./layers.ts";
import type { LoadReport, Module } from "./module.ts";
import { type Autoencoder, setPrecision } from "./precision.ts";
import type { Quantizer } from "./quantizers/quantizer.ts";
import { quantizerKind, quantizerNames } from "./quantizers/registry.ts";
import type { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";
import { modelRules, type VQGANOptions } from "./vqgan_options.ts";

/** How a checkpoint is loaded. */
export interface LoadOptions extends OpenOptions {
  /** Also load the discriminator and the perceptual network, for training. Default false. */
  readonly withLoss?: boolean;
  /** What the model expects of pixels; see `VQGANOptions`. Default `signed`. */
  readonly range?: PixelRange;
  /** Load only this half, with the codebook; see `VQGANOptions`. */
  readonly only?: Half;
  /** Settings that the file does not have, or that should be different: loss settings, attention order, beta. */
  readonly config?: VQModelOverrides;
  /** How activations are stored; see `setPrecision`. Default f32. */
  readonly precision?: Precision;
  /** The seed of a new discriminator, if the file has none. Default 0. */
  readonly seed?: number;
}

const otherHalf = (half: Half): Half => half === "encoder" ? "decoder" : "encoder";

/** What a file can do that holds only one half of a model. */
function heldOnly(half: Half): string {
  const use = half === "encoder"
    ? "turns pictures into tokens, but not back"
    : "turns tokens into pictures, but cannot encode";
  return `holds only the ${half} of a model, which ${use}`;
}

/** @throws FormatError if the file's model cannot do what it is loaded for. */
function checkUse(
  { path }: CheckpointFile,
  { quantizer }: VQModelConfig,
  held: Half | null,
  { only, withLoss }: LoadOptions,
): void {
  if (held && (withLoss || only === otherHalf(held))) {
    throw new FormatError(path, heldOnly(held), "use a file with the whole model");
  }
  const trains = trainable(path, quantizer);
  if (withLoss && !trains) {
    throw new FormatError(
      path,
      `its quantizer is "${quantizer}", which cannot be trained here`,
      "encode and decode work",
    );
  }
}

/** Whether a model with a quantizer can be trained. @throws FormatError if there is no such quantizer */
function trainable(path: string, quantizer: string): boolean {
  if (quantizerNames().includes(quantizer)) return quantizerKind(quantizer).trains;
  const problem = `its quantizer is "${quantizer}", but there are ${quantizerNames().join(", ")} here`;
  throw new FormatError(path, problem, "registerQuantizer() adds one");
}

/** The tensors that a file must have. A file with one half needs nothing for the other one. */
function autoencoderOf(held: Half | null): FillOptions {
  const beside = held === null ? null : held === "encoder" ? "post_quant_conv." : "quant_conv.";
  const isNeeded = (key: string) => isAutoencoder(key) && (beside === null || !key.startsWith(beside));
  return { whose: "the autoencoder's", isNeeded };
}

/** The parts of a VQGAN that loading needs. */
interface Loadable extends Autoencoder {
  readonly quantize: Quantizer;
  readonly loss: VQLPIPSWithDiscriminator | null;
  readonly config: VQModelConfig;
}

/** What was found in a file. */
export interface Filled {
  /** Which tensors of the file and the model fit each other; `formatLoadReport` turns it into text. */
  readonly report: LoadReport;
  /** Where the discriminator's weights came from; null without `withLoss`. */
  readonly discriminator: "file" | "new" | null;
  /** Whether the file had weights for LPIPS; if not, `loadPerceptual` loads them. */
  readonly perceptual: boolean;
}

/** A model, and what was found in its file. */
export interface Loaded<Model> extends Filled {
  /** The model. Free it with `dispose()`. */
  readonly model: Model;
  /** The fields of the config that the file does not say, such as "lossconfig.discStart". */
  readonly assumed: readonly string[];
  /** What model of another library it is, and where in the file it lies; null for an ordinary checkpoint. */
  readonly note: string | null;
  /** Whether the weights are averages over a training (EMA), and not those of its last step. */
  readonly isAverage: boolean;
  /** What lies beside the file and whether its settings are used; null if the file says all, or nothing was found. */
  readonly beside: string | null;
}

const loadRules: Rules<LoadOptions> = {
  ...modelRules,
  config: object,
  precision: oneOf("f32", "f16"),
  seed: whole(0),
  ...openRules,
};

/** Makes a model whose weights are zeros. */
type Build<Model> = (config: VQModelConfig, options: VQGANOptions) => Model;

/** Reads a checkpoint into a model that `build` makes. @throws as `VQGAN.load` does */
export async function loadModel<Model extends Loadable>(
  source: CheckpointSource,
  options: LoadOptions,
  build: Build<Model>,
): Promise<Loaded<Model>> {
  checkOptions("VQGAN.load", options, loadRules);
  options.signal?.throwIfAborted();
  return await withCheckpoint("VQGAN.load", source, async (file) => {
    const { config, assumed } = changed(configOf(file), options.config ?? {});
    const held = onlyHalf(file.tensors);
    checkUse(file, config, held, options);
    const made = { withLoss: options.withLoss, range: options.range, only: held ?? options.only, assumed };
    const shapes = inFile(file.path, () => shapesOf(config, made, build));
    checkFit(shapes, file.tensors, file.path, autoencoderOf(held));
    const model = build(config, made);
    if (held) lacks(model, otherHalf(held), `${file.path} ${heldOnly(held)}`);
    try {
      setPrecision(model, options.precision ?? "f32");
      const note = describeModel(file.model), beside = describeBeside(file.beside);
      return {
        model,
        assumed,
        note,
        isAverage: file.isAverage,
        beside,
        ...await fillModel(model, file, held, options),
      };
    } catch (error) {
      model.dispose();
      throw error;
    }
  }, options);
}

/** Names the file in what a config makes the model refuse, such as the options of a quantizer. */
function inFile<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new FormatError(path, error.message, "its config does not describe a model that can be built");
  }
}

/**
 * The shapes of the model that a config describes, by key. It is built on a device that has no memory, so that nothing is
 * allocated for a file that does not fit.
 */
function shapesOf(
  config: VQModelConfig,
  options: VQGANOptions,
  build: Build<Loadable>,
): Map<string, { readonly shape: Shape }> {
  return withBackend(new CountingBackend(), () => {
    const model = build(config, options);
    const shapes = model.stateDict();
    model.dispose();
    return shapes;
  });
}

/** Makes reading a missing half throw. The property is not enumerable, so that walks over the module's state skip it. */
export function lacks(model: Module, half: Half, reason: string): void {
  Object.defineProperty(model, half, {
    enumerable: false,
    configurable: true,
    get(): never {
      throw new Error(`VQGAN: ${reason}`);
    },
  });
}

/** Loads the weights of the autoencoder, which must be in the file, and of the networks of the loss, if it has them. */
async function fillModel(
  model: Loadable,
  file: CheckpointFile,
  held: Half | null,
  { seed = 0, onProgress, signal }: LoadOptions,
): Promise<Filled> {
  const report = await fillModule(model, file, { ...autoencoderOf(held), onProgress, signal });
  await checkUsed(model, file);
  if (!model.loss) return { report, discriminator: null, perceptual: false };
  const { perceptual_loss: lpips, discriminator } = model.loss;
  const isWhole = (part: string) => !unfilled(report).some((key) => key.startsWith(`loss.${part}.`));
  const perceptual = lpips !== null && isWhole("perceptual_loss");
  if (lpips) lpips.ready = perceptual;
  const isFound = isWhole("discriminator");
  if (!isFound) renew(discriminator, model.config.lossconfig, new Random(seed));
  return { report, discriminator: isFound ? "file" : "new", perceptual };
}

/** @throws FormatError if a token stands for no code of the codebook */
async function checkUsed(
  { quantize: { used }, config: { nEmbed } }: Loadable,
  { path }: CheckpointFile,
): Promise<void> {
  const codes = await used?.ints() ?? [];
  const place = codes.findIndex((code) => code < 0 || code >= nEmbed);
  if (place < 0) return;
  const problem = `quantize.used says that token ${place} is code ${codes[place]}, but codes are 0 to ${
    nEmbed - 1
  }`;
  throw new FormatError(path, problem);
}

/** Gives a discriminator new initial weights, in place. */
function renew(
  discriminator: NLayerDiscriminator,
  { discNdf, discNumLayers }: LossConfig,
  random: Random,
): void {
  const fresh = new NLayerDiscriminator({ ndf: discNdf, numLayers: discNumLayers }, random);
  discriminator.loadStateDict(fresh.stateDict());
  fresh.dispose();
}
