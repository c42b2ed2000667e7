// The interface of a quantizer: it takes vectors, and returns the indices of codes and the codes themselves.
import type { Tensor } from "../../src/index.ts";
import { Module } from "../module.ts";

/** What a quantizer returns in training. */
export interface Quantized {
  /** The chosen codes, [B, H, W, C]. Gradients pass through them to z as if they were z itself. */
  readonly quantized: Tensor;
  /** The quantizer's loss, one number. */
  readonly loss: Tensor;
  /** The indices of the codes, i32 [B, H, W]. */
  readonly indices: Tensor;
}

/** Replaces vectors by codes. make_quantizer.ts decides which kind a model has. */
export abstract class Quantizer extends Module {
  /** The table of codes, [nEmbed, embedDim]. It is the parameter itself, not a copy. */
  abstract readonly codebook: Tensor;

  /** The training pass for z [B, H, W, C], with gradients. */
  abstract call(z: Tensor): Quantized;

  /** The index of the code for each vector of z [..., C], as i32 [...]. Nothing is recorded. */
  abstract encode(z: Tensor): Tensor;

  /** The codes of indices [...], as [..., C]. */
  abstract lookup(indices: Tensor): Tensor;
}
