// The model of encode, decode and reconstruct.
import { Option } from "commander";
import type { AttentionOrder } from "../data/formats/config.ts";
import { resolutionField } from "../data/formats/guess.ts";
import type { PixelRange } from "../data/index.ts";
import { type Half, loadVQGAN, type Precision, type VQGAN } from "../nn/index.ts";
import { checkpointPath } from "./checkpoint.ts";
import { namesHelp } from "./fetch.ts";
import { precisionOption } from "./options.ts";
import { printAside } from "./print.ts";
import { bytesProgress } from "./progress.ts";
import { shippedModel } from "./shipped.ts";

export interface ModelFlags {
  readonly model?: string;
  readonly range: PixelRange;
  readonly precision: Precision;
  readonly attentionOrder?: AttentionOrder;
  /** Sets the range to `unit`. */
  readonly dalleMini?: boolean;
}

export function modelOptions(): Option[] {
  return [
    new Option(
      "-m, --model <file>",
      `checkpoint: .ckpt, .pt, .safetensors, a folder of Flax or diffusers, or a run's folder; ${namesHelp} (default: the small faces model)`,
    ),
    new Option(
      "--range <kind>",
      "range of pixel values that the model expects: signed [-1, 1], or unit [0, 1] (DALL-E mini)",
    )
      .choices(["signed", "unit"]).default("signed"),
    new Option(
      "--attention-order <kind>",
      "order of the attention blocks (default: as in the file, else taming); vqgan-jax-legacy for tokens made by vqgan-jax before July 2022",
    ).choices(["taming", "vqgan-jax-legacy"]),
    precisionOption(),
  ];
}

/**
 * Loads the model, or the half of it that a command needs.
 * @throws if the file is missing, or holds no model or not the half that is needed
 */
export async function openModel(
  flags: ModelFlags & { readonly size?: number },
  needed: Half | "both",
): Promise<{ model: VQGAN; path: string }> {
  const { model: chosen, dalleMini, precision, attentionOrder } = flags,
    range = dalleMini ? "unit" : flags.range;
  const path = chosen === undefined ? await shippedModel() : await checkpointPath(chosen);
  if (chosen === undefined) {
    printAside("model: the small one that comes with Tessera (--model FILE for another)");
  }
  const config = attentionOrder === undefined ? {} : { attentionOrder };
  const only = needed === "both" ? undefined : needed;
  const progress = bytesProgress("load");
  const options = { range, precision, only, config, onProgress: progress.report };
  const { model, note, isAverage, beside } = await loadVQGAN(path, options).finally(progress.finish);
  if (note !== null) printAside(`model: ${note}`);
  if (isAverage) printAside("weights: their average over the training (EMA)");
  if (beside !== null) printAside(beside);
  const lacking = (["encoder", "decoder"] as const).find((half) => model.isWithout(half));
  if (needed === "both" && lacking) {
    throw new Error(`${path} holds a model without ${lacking}, but this needs both halves`);
  }
  if (needed !== "decoder" && flags.size === undefined && model.assumed.includes(resolutionField)) {
    const { resolution } = model.config.ddconfig;
    printAside(
      `nothing says at which size this model was trained: --size sets it, else ${resolution} at most`,
    );
  }
  return { model: model.eval(), path };
}
