// What loading a VQGAN needs beside the model itself: its options, what a file with one half can do, and how the model is
// filled.
import type { LossConfig, VQModelConfig, VQModelOverrides } from "../data/formats/config.ts";
import type { CheckpointFile } from "../data/formats/file.ts";
import type { OpenOptions } from "../data/formats/opener.ts";
import type { Half } from "../data/formats/shapes.ts";
import { FormatError } from "../data/formats/source.ts";
import { isAutoencoder } from "../data/formats/state_dict_keys.ts";
import type { PixelRange } from "../data/pictures/picture.ts";
import { Random } from "../src/index.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import { fillModule, type FillOptions, unfilled } from "./fill.ts";
import type { Precision } from "./layers.ts";
import type { LoadReport, Module } from "./module.ts";
import type { Quantizer } from "./quantizers/quantizer.ts";
import { quantizerKind, quantizerNames } from "./quantizers/registry.ts";
import type { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";

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

export const otherHalf = (half: Half): Half => half === "encoder" ? "decoder" : "encoder";

/** What a file can do that holds only one half of a model. */
export function heldOnly(half: Half): string {
  const use = half === "encoder"
    ? "turns pictures into tokens, but not back"
    : "turns tokens into pictures, but cannot encode";
  return `holds only the ${half} of a model, which ${use}`;
}

/** @throws FormatError if the file's model cannot do what it is loaded for. */
export function checkUse(
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
export function autoencoderOf(held: Half | null): FillOptions {
  const beside = held === null ? null : held === "encoder" ? "post_quant_conv." : "quant_conv.";
  const isNeeded = (key: string) => isAutoencoder(key) && (beside === null || !key.startsWith(beside));
  return { whose: "the autoencoder's", isNeeded };
}

/** The parts of a VQGAN that are filled. */
interface Loadable extends Module {
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

/** Loads the weights of the autoencoder, which must be in the file, and of the networks of the loss, if it has them. */
export async function fillModel(
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
