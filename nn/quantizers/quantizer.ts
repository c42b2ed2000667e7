// What a quantizer is to the rest of the model: vectors in, indices of codes and the codes themselves out.
import type { Tensor } from "../../src/index.ts";
import { Module } from "../module.ts";

/** What a quantizer gives in training. */
export interface Quantized {
  /** The chosen codes, through which gradients pass to z as if they were z itself, [B, H, W, C]. */
  readonly quantized: Tensor;
  /** One number. */
  readonly loss: Tensor;
  /** i32 [B, H, W]. */
  readonly indices: Tensor;
}

/** Replaces vectors by codes. Which kind a model has is decided in make_quantizer.ts alone. */
export abstract class Quantizer extends Module {
  /** The table of codes, [nEmbed, embedDim]: the live parameter, wherever the quantizer keeps it. */
  abstract readonly codebook: Tensor;

  /** The training pass for z [B, H, W, C], with gradients. */
  abstract call(z: Tensor): Quantized;

  /** The index of the code that each vector of z [..., C] becomes, i32 [...]. Nothing is recorded. */
  abstract encode(z: Tensor): Tensor;

  /** The codes of indices [...], as [..., C]. */
  abstract lookup(indices: Tensor): Tensor;
}
