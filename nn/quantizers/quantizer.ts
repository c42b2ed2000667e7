// The interface of a quantizer: it takes vectors, and returns the indices of codes and the codes themselves.
import { concat, slice, type Tensor, tensor } from "../../src/index.ts";
import type { Parts } from "../../src/parts.ts";
import { buffer } from "../init.ts";
import { Module } from "../module.ts";

/** The most work of a part in operations: on two cores a fraction of a second. */
const WORK = 2 ** 32;

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

  /**
   * taming's remap: the codes that have a token, i32 [n], in the order of their tokens. null: all codes, and tokens are their
   * numbers.
   */
  abstract readonly used: Tensor | null;

  /** The list is state that is not learnt. */
  protected override bufferNames(): readonly string[] {
    return ["used"];
  }

  /** The training pass for z [B, H, W, C], with gradients. */
  abstract call(z: Tensor): Quantized;

  /**
   * The index of the code for each vector of z [..., C], as i32 [...]. Nothing is recorded.
   * @param among chooses among these codes only, i32 [n]; the indices are then places in this list
   */
  abstract encode(z: Tensor, among?: Tensor | null): Tensor;

  /**
   * `encode` for z [B, H, W, C], some rows of the map at a time.
   * @internal
   */
  *encodeInParts(z: Tensor, among: Tensor | null = null): Parts<Tensor> {
    const [batch, height, width] = z.shape, [codes, channels] = this.codebook.shape;
    const step = Math.max(1, Math.floor(WORK / (2 * batch * width * codes * channels)));
    if (step >= height) return this.encode(z, among);
    const strips: Tensor[] = [];
    for (let from = 0; from < height; from += step) {
      const rows = slice(z, [0, from], [batch, Math.min(height, from + step)]);
      strips.push(this.encode(rows, among));
      yield;
    }
    return concat(strips, 1);
  }

  /**
   * The codes of indices [...], as [..., C].
   * @param among the list in which the indices are places
   */
  abstract lookup(indices: Tensor, among?: Tensor | null): Tensor;
}

/** Makes the list of codes that have a token, for a loader to fill; null if all have. */
export function usedCodes(count: number | null): Tensor | null {
  return count === null ? null : buffer(tensor(new Int32Array(count)));
}
