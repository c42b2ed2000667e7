// The model that a run begins with: from a checkpoint's weights, or new.
import { openCheckpoint } from "../data/index.ts";
import { loadVQGAN, VQGAN, type VQModelConfig, type VQModelOverrides, withOverrides } from "../nn/index.ts";
import { Random } from "../src/index.ts";
import { fillPerceptual, findPerceptual, type PerceptualSource } from "./perceptual.ts";

/** Where LPIPS comes from: files, `inside` the checkpoint, or `none` (L1 and GAN losses alone). */
export type PerceptualChoice = readonly string[] | "inside" | "none";

export interface StartedModel {
  readonly model: VQGAN;
  /** What was found and what was not, a line each. */
  readonly notes: readonly string[];
}

/**
 * Reads weights to fine-tune: the autoencoder, and discriminator and perceptual network where the file has them. A
 * discriminator that it lacks begins anew.
 * @throws if the file lacks the autoencoder, or no perceptual network is found and none is not what was asked for.
 */
export async function startFrom(
  path: string,
  perceptual: PerceptualChoice,
  overrides: VQModelOverrides,
  seed: number,
): Promise<StartedModel> {
  if (perceptual === "inside" && !await hasPerceptual(path)) {
    throw new Error(
      `${path} has no perceptual network inside: give its weights with --lpips FILES, or train without it ` +
        "(blurrier) with --no-lpips",
    );
  }
  const source = await sourceOf(perceptual === "inside" ? [path] : perceptual);
  const loaded = await loadVQGAN(path, {
    withLoss: true,
    seed,
    config: joined(overrides, perceptualOverrides(source, overrides.lossconfig?.perceptualWeight)),
  });
  const { model } = loaded;
  const lpips = model.loss?.perceptual_loss;
  if (lpips && source && !(perceptual === "inside" && loaded.perceptual)) await fillPerceptual(lpips, source);
  return {
    model,
    notes: [
      `autoencoder: ${describeConfig(model.config)}, from ${path}`,
      loaded.discriminator === "file"
        ? "discriminator: from the file"
        : "warning: no discriminator that fits in the file; it begins anew, and the first hundred steps may look worse",
      describePerceptual(source, perceptual),
    ],
  };
}

/** A model with new weights. @throws if the perceptual network is wanted and not given. */
export async function startNew(
  config: VQModelConfig,
  perceptual: PerceptualChoice,
  seed: number,
): Promise<StartedModel> {
  if (perceptual === "inside") {
    throw new Error(
      "a new model has no perceptual network inside: give its weights with --lpips FILES, or train " +
        "without it (blurrier) with --no-lpips",
    );
  }
  const source = await sourceOf(perceptual);
  const changed = withOverrides(config, perceptualOverrides(source, config.lossconfig.perceptualWeight));
  const model = new VQGAN(changed, new Random(seed).fork("weights"), { withLoss: true });
  const lpips = model.loss?.perceptual_loss;
  if (lpips && source) await fillPerceptual(lpips, source);
  return {
    model,
    notes: [`autoencoder: ${describeConfig(changed)}, new`, describePerceptual(source, perceptual)],
  };
}

async function hasPerceptual(path: string): Promise<boolean> {
  const file = await openCheckpoint(path);
  try {
    return file.tensors.has("loss.perceptual_loss.lin0.model.1.weight");
  } finally {
    await file.close();
  }
}

async function sourceOf(perceptual: "none" | readonly string[]): Promise<PerceptualSource | null> {
  return perceptual === "none" ? null : await findPerceptual(perceptual);
}

/** The network that was found, with the weight that was asked for; where none was found, none. */
function perceptualOverrides(source: PerceptualSource | null, weight = 1): VQModelOverrides {
  return {
    lossconfig: source
      ? { perceptualNet: source.net, perceptualWeight: weight === 0 ? 1 : weight }
      : { perceptualWeight: 0 },
  };
}

/** Overrides over overrides, field by field. */
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

function describePerceptual(source: PerceptualSource | null, choice: PerceptualChoice): string {
  if (!source) return "perceptual network: none (L1 and GAN losses alone)";
  const net = source.net === "vgg" ? "VGG16" : "SqueezeNet";
  const from = choice === "inside" ? "the file" : Object.values(source.files).join(" and ");
  return `perceptual network: LPIPS on ${net}, from ${from}`;
}
