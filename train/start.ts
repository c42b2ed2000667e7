// The model that a run begins with: a checkpoint's weights or a new model, and the perceptual network from wherever its
// weights are.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type VQModelConfig, type VQModelOverrides, withOverrides } from "../data/formats/config.ts";
import { openCheckpoint } from "../data/index.ts";
import { type LoadOptions, loadPerceptual, loadVQGAN, type LPIPS, VQGAN } from "../nn/index.ts";
import { fillModule } from "../nn/fill.ts";
import { Random } from "../src/index.ts";
import { MissingPerceptualError } from "./errors.ts";

/** The prefix of the perceptual network's keys in a checkpoint. */
const inCheckpoint = "loss.perceptual_loss.";

/**
 * Where the weights of LPIPS come from: from files (the two published ones, their folder, or a checkpoint), from
 * `inside` the checkpoint that the run starts from, or from nowhere: with `none` only the L1 and GAN losses are left.
 */
export type PerceptualChoice = readonly string[] | "inside" | "none";

/** A model to train, and what the user should know about it. */
export interface StartedModel {
  readonly model: VQGAN;
  /** What was found and what was not, a line each. */
  readonly notes: readonly string[];
}

/**
 * Loads a checkpoint to fine-tune: the autoencoder, and the discriminator and the perceptual network if the file has
 * them. Without a discriminator in the file, a new one is made.
 * @throws if the file lacks the autoencoder, or if a perceptual network is wanted and not found.
 */
export async function startFrom(
  path: string,
  perceptual: PerceptualChoice,
  overrides: VQModelOverrides,
  seed: number,
  loading: Pick<LoadOptions, "onProgress" | "signal">,
): Promise<StartedModel> {
  if (perceptual === "inside" && !await hasPerceptual(path)) {
    throw new MissingPerceptualError(`${path} has no perceptual network inside`);
  }
  const source = await sourceOf(perceptual === "inside" ? [path] : perceptual);
  const loaded = await loadVQGAN(path, {
    ...loading,
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

/** Makes a model with new weights. @throws if the perceptual network is expected inside a checkpoint. */
export async function startNew(
  config: VQModelConfig,
  perceptual: PerceptualChoice,
  seed: number,
): Promise<StartedModel> {
  if (perceptual === "inside") {
    throw new MissingPerceptualError("a new model has no perceptual network inside");
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
    return file.tensors.has(`${inCheckpoint}lin0.model.1.weight`);
  } finally {
    await file.close();
  }
}

async function sourceOf(perceptual: "none" | readonly string[]): Promise<PerceptualSource | null> {
  return perceptual === "none" ? null : await findPerceptual(perceptual);
}

/** The kind of network that was found, with the weight that was asked for; without a network the weight is 0. */
function perceptualOverrides(source: PerceptualSource | null, weight = 1): VQModelOverrides {
  return {
    lossconfig: source
      ? { perceptualNet: source.net, perceptualWeight: weight === 0 ? 1 : weight }
      : { perceptualWeight: 0 },
  };
}

/** Joins overrides field by field; those of `b` win. */
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

/** Files that together hold a perceptual network. */
export interface PerceptualSource {
  /** The classifier. */
  readonly net: "vgg" | "squeeze";
  /** One file that holds everything, or the two published ones. */
  readonly files: { readonly whole: string } | { readonly backbone: string; readonly heads: string };
}

/**
 * Finds out from their keys which network the files hold.
 * @param paths a checkpoint, the two published files in any order, or a folder with one or the other
 * @throws if they hold no network, or only half of one.
 */
export async function findPerceptual(paths: readonly string[]): Promise<PerceptualSource> {
  let backbone: string | null = null, heads: string | null = null, count = 0;
  for (const path of await expandFolders(paths)) {
    const file = await openCheckpoint(path);
    try {
      const keys = [...file.tensors.keys()];
      const headsWithin = (prefix: string) =>
        keys.filter((key) => key.startsWith(`${prefix}lin`) && key.endsWith(".weight")).length;
      if (headsWithin(inCheckpoint) > 0) {
        return { net: netWith(headsWithin(inCheckpoint), path), files: { whole: path } };
      }
      if (headsWithin("") > 0) {
        heads = path;
        count = headsWithin("");
      } else if (keys.some((key) => /^(features\.)?\d+\./.test(key))) backbone = path;
    } finally {
      await file.close();
    }
  }
  if (backbone !== null && heads !== null) return { net: netWith(count, heads), files: { backbone, heads } };
  const lack = heads !== null
    ? "the classifier (keys features.N.weight)"
    : "the heads (keys linN.model.1.weight)";
  throw new Error(
    `perceptual network: found no file with ${lack} in ${
      paths.join(", ")
    }; classifier and heads are both needed`,
  );
}

async function expandFolders(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch(() => null);
    if (info === null) throw new Error(`perceptual network: there is no file or folder ${path}`);
    if (!info.isDirectory()) found.push(path);
    else {
      const names = (await readdir(path)).filter((name) => /\.(pth?|ckpt|bin|safetensors)$/.test(name))
        .sort();
      found.push(...names.map((name) => join(path, name)));
    }
  }
  return found;
}

function netWith(heads: number, path: string): "vgg" | "squeeze" {
  if (heads === 5) return "vgg";
  if (heads === 7) return "squeeze";
  throw new Error(`${path}: ${heads} LPIPS heads; VGG has 5 and SqueezeNet 7`);
}

/** Fills the network with the weights that `findPerceptual` found. */
export async function fillPerceptual(lpips: LPIPS, { files }: PerceptualSource): Promise<void> {
  if (!("whole" in files)) return await loadPerceptual(lpips, files);
  const file = await openCheckpoint(files.whole);
  try {
    await fillModule(lpips, file, { whose: "the perceptual network's", prefix: "loss.perceptual_loss" });
    lpips.ready = true;
  } finally {
    await file.close();
  }
}
