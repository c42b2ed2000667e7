// tessera export: a model's weights from any checkpoint into a small safetensors file.
import { stat } from "node:fs/promises";
import { Command, Option } from "commander";
import { loadVQGAN } from "../nn/index.ts";
import { saveWeights } from "../train/index.ts";
import { formatBytes } from "./options.ts";

interface Flags {
  readonly out: string;
  readonly dtype: "f32" | "f16";
  readonly discriminator?: boolean;
  readonly lpips?: boolean;
}

const examples = `
Examples:
  $ tessera export last.ckpt --out model.safetensors
  $ tessera export last.ckpt --dtype f16 --discriminator --out small.safetensors

The autoencoder alone serves to encode and decode. Discriminator and perceptual network help whoever fine-tunes the
model later. f16 rounds weights to half precision, which can change a few tokens.`;

export function exportCommand(): Command {
  return new Command("export").description("weights alone, from any checkpoint, as safetensors")
    .argument("<file>", "a checkpoint")
    .requiredOption("-o, --out <file>", "the file to write")
    .addOption(
      new Option("--dtype <type>", "precision of the weights").choices(["f32", "f16"]).default("f32"),
    )
    .option("--discriminator", "with the discriminator")
    .option("--lpips", "with the perceptual network")
    .addHelpText("after", examples)
    .action(run);
}

async function run(path: string, { out, dtype, discriminator, lpips }: Flags): Promise<void> {
  const loaded = await loadVQGAN(path, {
    withLoss: discriminator || lpips,
  });
  if (discriminator && loaded.discriminator !== "file") {
    throw new Error(`${path} has no discriminator inside`);
  }
  if (lpips && !loaded.perceptual) throw new Error(`${path} has no perceptual network inside`);
  await saveWeights(out, loaded.model, {
    dtype,
    filter: (key) =>
      !key.startsWith("loss.") ||
      (key.startsWith("loss.discriminator.") ? discriminator === true : lpips === true),
  });
  console.log(`${out}: ${formatBytes((await stat(out)).size)}`);
}
