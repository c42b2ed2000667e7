// Makes the model that a run begins with: the weights of a checkpoint or a new model, with a perceptual network from
// any of several sources.
import { type VQModelConfig, type VQModelOverrides, withOverrides } from "../data/formats/config.ts";
import { resolutionField } from "../data/formats/guess.ts";
import { configOf, openCheckpoint } from "../data/index.ts";
import { type LoadOptions, loadVQGAN, type LPIPS, VQGAN } from "../nn/index.ts";
import { perceptualNames } from "../nn/perceptual_files.ts";
import { Random } from "../src/index.ts";
import { MissingPerceptualError } from "./errors.ts";
import { fillPerceptual, findPerceptual, type PerceptualSource } from "./perceptual.ts";

/** The prefix of the perceptual network's keys in a checkpoint. */
const inCheckpoint = "loss.perceptual_loss.";

/**
 * The source of LPIPS's weights: a list of files (the two published ones, their folder, or a checkpoint), or `inside`
 * for the checkpoint that the run starts from. With `none` there is no LPIPS, and only the L1 and GAN losses are used. `auto`
 * is `inside` if the checkpoint has a network, and else `none`.
 */
export type PerceptualChoice = readonly string[] | "inside" | "none" | "auto";

/**
 * The weight of the GAN loss without LPIPS. taming's 0.75 balances the GAN against L1 and LPIPS together; against L1 alone it
 * made 30 portraits worse in 150 steps (22.76 -> 22.67 dB), where this weight made them better (22.88 dB).
 */
export const discWeightWithoutLpips = 0.2;

/** A model to train, and what the user should know about it. */
export interface StartedModel {
  readonly model: VQGAN;
  /** What was found and what is missing, one line each. */
  readonly notes: readonly string[];
}

/**
 * Loads a checkpoint for fine-tuning: the autoencoder and, if the file has them, the discriminator and the perceptual
 * network. If the file has no discriminator, a new one is made.
 * @throws if the file lacks the autoencoder, or if a perceptual network is required but not found.
 */
export async function startFrom(
  path: string,
  perceptual: PerceptualChoice,
  overrides: VQModelOverrides,
  seed: number,
  loading: Pick<LoadOptions, "onProgress" | "signal">,
): Promise<StartedModel> {
  const isInside = perceptual === "inside" || perceptual === "auto";
  const inside = await lookInto(path, loading);
  const isFound = isInside && inside.hasPerceptual;
  if (perceptual === "inside" && !isFound) {
    throw new MissingPerceptualError(`${path} has no perceptual network inside`);
  }
  const source = isInside ? isFound ? await sourceOf([path]) : null : await sourceOf(perceptual);
  const losesLpips = !source && inside.perceptualWeight > 0;
  const lossconfig = { ...losesLpips ? { discWeight: discWeightWithoutLpips } : {}, ...overrides.lossconfig };
  const loaded = await loadVQGAN(path, {
    ...loading,
    withLoss: true,
    seed,
    config: joined(
      { ...overrides, lossconfig },
      perceptualOverrides(source, overrides.lossconfig?.perceptualWeight),
    ),
  });
  const { model } = loaded;
  const lpips = model.loss?.perceptual_loss;
  if (lpips && source && !(isFound && loaded.perceptual)) {
    await fillOrFree(model, lpips, source);
  }
  return {
    model,
    notes: [
      `autoencoder: ${describeConfig(model.config)}, from ${path}${loaded.note ? ` (${loaded.note})` : ""}`,
      ...loaded.isAverage ? ["weights: their average over the training (EMA)"] : [],
      // a caller that knows the resolution has the settings from elsewhere
      ...loaded.beside === null || overrides.ddconfig?.resolution ? [] : [loaded.beside],
      ...model.assumed.includes(resolutionField)
        ? [
          `nothing says the model's resolution: without a size, pictures become ${model.config.ddconfig.resolution} pixels wide`,
        ]
        : [],
      loaded.discriminator === "file"
        ? "discriminator: from the file"
        : "warning: the file has no discriminator that fits; a new one is trained, and the first hundred steps may look worse",
      ...perceptual === "auto" && !source
        ? [
          "warning: the file has no perceptual network (LPIPS), and without one pictures get a little blurrier",
        ]
        : [describePerceptual(source, perceptual)],
    ],
  };
}

/** Makes a model with new weights. @throws if the perceptual network is expected inside a checkpoint */
export async function startNew(
  config: VQModelConfig,
  perceptual: PerceptualChoice,
  seed: number,
): Promise<StartedModel> {
  if (perceptual === "inside" || perceptual === "auto") {
    throw new MissingPerceptualError("a new model contains no perceptual network");
  }
  const source = await sourceOf(perceptual);
  const changed = withOverrides(config, perceptualOverrides(source, config.lossconfig.perceptualWeight));
  const model = new VQGAN(changed, new Random(seed).fork("weights"), { withLoss: true });
  const lpips = model.loss?.perceptual_loss;
  if (lpips && source) await fillOrFree(model, lpips, source);
  return {
    model,
    notes: [`autoencoder: ${describeConfig(changed)}, new`, describePerceptual(source, perceptual)],
  };
}

/** Fills the perceptual network of a new model. If that fails the model is freed, because the caller does not get it. */
async function fillOrFree(model: VQGAN, lpips: LPIPS, source: PerceptualSource): Promise<void> {
  try {
    await fillPerceptual(lpips, source);
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Whether a checkpoint has a perceptual network, and how much LPIPS counted in its losses. */
async function lookInto(
  path: string,
  loading: Pick<LoadOptions, "onProgress" | "signal">,
): Promise<{ hasPerceptual: boolean; perceptualWeight: number }> {
  const file = await openCheckpoint(path, loading);
  try {
    const { perceptualWeight } = configOf(file).config.lossconfig;
    return { hasPerceptual: file.tensors.has(`${inCheckpoint}lin0.model.1.weight`), perceptualWeight };
  } finally {
    await file.close();
  }
}

/** Finds the network of a choice; null for none. */
export async function sourceOf(perceptual: "none" | readonly string[]): Promise<PerceptualSource | null> {
  return perceptual === "none" ? null : await findPerceptual(perceptual);
}

/**
 * Returns the kind of network that was found, with the requested weight. Without a network the weight is 0.
 * @throws if the network is not one to train with
 */
export function perceptualOverrides(source: PerceptualSource | null, weight = 1): VQModelOverrides {
  if (!source) return { lossconfig: { perceptualWeight: 0 } };
  if (source.net === "alex") {
    throw new MissingPerceptualError(
      `${
        Object.values(source.files).join(" and ")
      } is LPIPS on AlexNet, which is for measuring only; models train with ` +
        "VGG16, as taming's do, or with SqueezeNet 1.1",
    );
  }
  return { lossconfig: { perceptualNet: source.net, perceptualWeight: weight === 0 ? 1 : weight } };
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

function describeConfig({ ddconfig, nEmbed, embedDim }: VQModelConfig): string {
  const { ch, chMult } = ddconfig;
  return `f${2 ** (chMult.length - 1)}, ${nEmbed} codes of ${embedDim}, ${ch} channels x ${chMult.join(",")}`;
}

/** Says in one line which network is used. */
export function describePerceptual(source: PerceptualSource | null, choice: PerceptualChoice): string {
  if (!source) return "perceptual network: none (only L1 and GAN losses)";
  const from = choice === "inside" || choice === "auto"
    ? "the file"
    : Object.values(source.files).join(" and ");
  return `perceptual network: LPIPS on ${perceptualNames[source.net]}, from ${from}`;
}
