// f16 on a GPU: activations take half the memory, and half as many bytes are moved. Weights stay f32, and so do values that
// would overflow beyond 65504, or that are sums of many small numbers.
import { check, oneOf } from "../src/check.ts";
import { requireF16 } from "../src/index.ts";
import type { Decoder } from "./decoder.ts";
import type { Encoder } from "./encoder.ts";
import { Conv2d, GroupNorm, type Precision } from "./layers.ts";
import type { Module } from "./module.ts";

/** The parts of a model that store activations, as a VQGAN has them. */
export interface Autoencoder extends Module {
  /** The encoder. Reading it throws if the model has none. */
  readonly encoder: Encoder;
  /** The decoder. Reading it throws if the model has none. */
  readonly decoder: Decoder;
  /** Used to find the model's device. */
  readonly quant_conv: Conv2d;
  /** The perceptual network, if there is one. */
  readonly loss: { readonly perceptual_loss: { readonly net: Module } | null } | null;
  /** Whether the model was made without this half. */
  isWithout(half: "encoder" | "decoder"): boolean;
}

/** The number of levels of the decoder, from full resolution down, that are reported to overflow f16 with published weights. */
const WIDE_LEVELS = 2;

/**
 * Chooses how encoder, decoder and perceptual network store activations. With `f16` some values stay f32: those of the
 * decoder's two highest levels, except the outputs of their norms, which are bounded; latents, codes and pictures; and
 * those of the discriminator, which is a hundredth of the work. Training in f16 needs a loss scale (`StepOptions`); a
 * `Trainer` sets it.
 *
 * @example Half the memory on a GPU with f16
 * ```ts
 * import { device, VQGAN } from "@tessera/vqgan";
 *
 * const { hasF16 } = await device("auto");
 * const model = await VQGAN.load("last.ckpt", { precision: hasF16 ? "f16" : "f32" });
 * ```
 * @throws if the model is on a device without f16
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
  const above = decoder.up[WIDE_LEVELS]?.upsample; // its output is the input of the highest levels
  for (const part of [above, ...decoder.up.slice(0, WIDE_LEVELS)]) {
    for (const layer of part?.namedModules().values() ?? []) {
      if (layer instanceof Conv2d) layer.dtype = "f32";
    }
  }
}
