// f16 on a GPU: half the memory of activations, and of the bytes that move. Weights stay f32, and so does what would
// overflow beyond 65504 or lose what it adds up.
import { check, oneOf } from "../src/check.ts";
import { requireF16 } from "../src/index.ts";
import type { Decoder } from "./decoder.ts";
import type { Encoder } from "./encoder.ts";
import { Conv2d, GroupNorm, type Precision } from "./layers.ts";
import type { Module } from "./module.ts";

/** What of a model stores activations; a VQGAN has these parts. */
export interface Autoencoder extends Module {
  /** Throws if the model has none. */
  readonly encoder: Encoder;
  /** Throws if the model has none. */
  readonly decoder: Decoder;
  /** Tells the device. */
  readonly quant_conv: Conv2d;
  /** The perceptual network, if there is one. */
  readonly loss: { readonly perceptual_loss: { readonly net: Module } | null } | null;
  /** Whether the model was made without this half. */
  isWithout(half: "encoder" | "decoder"): boolean;
}

/** Levels of the decoder, from full resolution down, whose activations overflow in the published weights. */
const WIDE_LEVELS = 2;

/**
 * Chooses how encoder, decoder and perceptual network store activations. With `f16` these stay f32 nevertheless: the
 * decoder's two highest levels, but for what their norms give, which is bounded; latents, codes and pictures; the
 * discriminator, a hundredth of the work. Training needs a loss scale (`StepOptions`), which the trainer sees to.
 *
 * @example Half the memory where the GPU can
 * ```ts
 * import { device, VQGAN } from "@tessera/vqgan";
 *
 * const { hasF16 } = await device("auto");
 * const model = await VQGAN.load("last.ckpt", { precision: hasF16 ? "f16" : "f32" });
 * ```
 * @throws if the model lives on a device that has no f16
 */
export function setPrecision(model: Autoencoder, precision: Precision): void {
  check("setPrecision", "the precision", precision, oneOf("f32", "f16"));
  if (precision === "f16") requireF16(model.quant_conv.weight.backend);
  const encoder = model.isWithout("encoder") ? null : model.encoder;
  const decoder = model.isWithout("decoder") ? null : model.decoder;
  for (const part of [encoder, decoder, model.loss?.perceptual_loss?.net]) {
    for (const layer of part?.namedModules().values() ?? []) {
      if (layer instanceof Conv2d || layer instanceof GroupNorm) layer.dtype = precision;
    }
  }
  if (encoder) encoder.conv_out.dtype = "f32";
  if (!decoder) return;
  decoder.conv_out.dtype = "f32";
  const above = decoder.up[WIDE_LEVELS]?.upsample; // what enters the highest levels
  for (const part of [above, ...decoder.up.slice(0, WIDE_LEVELS)]) {
    for (const layer of part?.namedModules().values() ?? []) {
      if (layer instanceof Conv2d) layer.dtype = "f32";
    }
  }
}
