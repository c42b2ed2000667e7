// tessera convert: writes a checkpoint in another format, whole or in part.
import { stat } from "node:fs/promises";
import { Command, Option } from "commander";
import type { VQModelConfig } from "../data/formats/config.ts";
import {
  type CheckpointFile,
  configOf,
  convertCheckpoint,
  formatByName,
  formatBytes,
  guessLoss,
  isAutoencoder,
  openCheckpoint,
  trainingState,
} from "../data/index.ts";
import { bytesProgress } from "./progress.ts";
import { UsageError } from "./options.ts";

interface Flags {
  readonly strip?: boolean;
  readonly discriminator?: boolean;
  readonly lpips?: boolean;
  readonly dtype?: "f32" | "f16" | "bf16";
}

const examples = `
Examples:
  $ tessera convert last.ckpt last.safetensors
  $ tessera convert last.ckpt model.safetensors --strip --dtype f16
  $ tessera convert runs/2026-05-01T12-30-00_faces/checkpoints/last.safetensors last.ckpt
  $ tessera convert last.ckpt flax_model/
  $ tessera convert flax_model/ model.ckpt

The ending of OUT says what is written: .ckpt, .pt or .pth for torch and Lightning, .safetensors, and a folder
without ending (or a .msgpack file) for Flax. Everything is kept that the format has a place for: torch and
safetensors keep both optimizers, so that training goes on in taming or here (finetune --resume OUT); Flax holds
the autoencoder alone. --strip keeps the autoencoder only, which serves to encode and decode: 31 % of the
published file. --dtype rounds tensors of two dimensions and more; it can change a few tokens.`;

export function convertCommand(): Command {
  return new Command("convert").description(
    "a checkpoint into another format, or the part of it that is needed",
  )
    .argument("<in>", "a checkpoint, or a folder with a Flax model")
    .argument("<out>", "the file or Flax folder to write")
    .option("--strip", "the autoencoder only")
    .option("--discriminator", "with --strip: the discriminator too")
    .option("--lpips", "with --strip: the perceptual network too")
    .addOption(
      new Option("--dtype <type>", "precision of the weights (default: as they are)").choices([
        "f32",
        "f16",
        "bf16",
      ]),
    )
    .addHelpText("after", examples)
    .action(run);
}

async function run(path: string, out: string, flags: Flags): Promise<void> {
  const { strip = false, dtype } = flags;
  const extra = (["discriminator", "lpips"] as const).find((part) => flags[part]);
  if (extra && !strip) {
    throw new UsageError(`--${extra} says what --strip leaves: without it everything is kept`);
  }
  const file = await openCheckpoint(path);
  try {
    const keep = strip ? keptBy(file, flags) : undefined;
    const progress = bytesProgress("convert");
    const config = configOrNull(file), optimizers = config !== null && !strip;
    if (!config) {
      console.log("this is no VQGAN: its tensors are converted, and nothing else that is in the file");
    }
    const options = { keep, optimizers, dtype, config, onProgress: progress.report };
    const written = await convertCheckpoint(file, out, options).finally(() => progress.finish());
    console.log(`${written}: ${formatBytes((await stat(written)).size)}`);
    if (optimizers && formatByName(out) === "torch" && await trainingState(file)) warnOfTaming(file);
  } finally {
    await file.close();
  }
}

function keptBy(file: CheckpointFile, flags: Flags): (key: string) => boolean {
  const kept: [string, (key: string) => boolean][] = [["autoencoder", isAutoencoder]];
  const under = (prefix: string) => (key: string) => key.startsWith(prefix);
  if (flags.discriminator) kept.push(["discriminator", under("loss.discriminator.")]);
  if (flags.lpips) kept.push(["perceptual network", under("loss.perceptual_loss.")]);
  for (const [name, isPart] of kept) {
    if (![...file.tensors.keys()].some(isPart)) throw new Error(`${file.path} has no ${name} inside`);
  }
  return (key) => kept.some(([, isPart]) => isPart(key));
}

/** Warns of files that taming cannot resume: its LPIPS is on VGG16, and its --resume needs every tensor to fit. */
function warnOfTaming(file: CheckpointFile): void {
  const { perceptualNet } = guessLoss(file.tensors);
  if (perceptualNet === "vgg") return;
  const found = perceptualNet === "squeeze"
    ? "the perceptual network inside is SqueezeNet"
    : "no perceptual network inside";
  console.log(
    `warning: ${found}, and taming's is VGG16: it can start from the weights (ckpt_path) of a file converted with ` +
      "--strip --discriminator, but not resume this one",
  );
}

/** The model's config, or null if the file holds another kind of model, whose tensors can be converted all the same. */
function configOrNull(file: CheckpointFile): VQModelConfig | null {
  try {
    return configOf(file).config;
  } catch {
    return null;
  }
}
