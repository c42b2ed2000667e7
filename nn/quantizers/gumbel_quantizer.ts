// The quantizer of taming's GumbelVQ, which the published f8 models have: a layer computes a logit for each code. Training draws a
// code at random by the Gumbel-softmax (Jang et al. 2016) and is not done here; encoding takes the code with the highest logit.
import { check, whole } from "../../src/check.ts";
import { argmax, concat, conv2d, embedding, scope, type Tensor } from "../../src/index.ts";
import { type Init, normalParameter } from "../init.ts";
import { Conv2d } from "../layers.ts";
import { Module } from "../module.ts";
import { type Quantized, Quantizer } from "./quantizer.ts";

/** The table of codes, under taming's key `quantize.embed.weight`. */
class Codes extends Module {
  readonly weight: Tensor;

  constructor(nEmbed: number, embedDim: number, init: Init) {
    super();
    this.weight = normalParameter(init, [nEmbed, embedDim], 0, 1);
  }
}

/** Logits are computed for as many vectors at a time as fit into this many values, 16 MiB. */
const maxLogits = 2 ** 22;

/** The code with the highest logit; if two are equally high, the lower index wins. */
export class GumbelQuantizer extends Quantizer {
  /**
   * From vectors to a logit for each code.
   * @internal
   */
  readonly proj: Conv2d;
  /**
   * Holds the codebook under taming's key.
   * @internal
   */
  readonly embed: Codes;

  /** Makes codes and a layer of random numbers, which a file then fills. @throws if a size cannot be used */
  constructor(nEmbed: number, embedDim: number, init: Init) {
    super();
    check("GumbelQuantizer", "nEmbed", nEmbed, whole(1));
    check("GumbelQuantizer", "embedDim", embedDim, whole(1));
    this.proj = new Conv2d(embedDim, nEmbed, 1, init);
    this.embed = new Codes(nEmbed, embedDim, init);
  }

  /** The codes, [nEmbed, embedDim]. */
  override get codebook(): Tensor {
    return this.embed.weight;
  }

  /** The training pass, which there is none of here. @throws always */
  override call(_z: Tensor): Quantized {
    throw new Error(
      "GumbelQuantizer: a model with a Gumbel quantizer encodes and decodes, but it cannot be trained here",
    );
  }

  /** The index of the code with the highest logit for each vector of z [..., C], as i32 [...]. */
  override encode(z: Tensor): Tensor {
    const { weight, bias } = this.proj, [nEmbed, channels] = this.codebook.shape;
    if (z.shape[z.ndim - 1] !== channels) {
      throw new Error(
        `encode: z has ${z.shape[z.ndim - 1]} channels (shape [${z.shape}]), expected ${channels}`,
      );
    }
    return scope(() => {
      const count = z.size / channels, step = Math.max(1, Math.floor(maxLogits / nEmbed));
      const rows = z.detach().reshape(1, 1, count, channels);
      const parts: Tensor[] = [];
      for (let at = 0; at < count; at += step) {
        const some = rows.slice([0, 0, at, 0], [1, 1, Math.min(at + step, count), channels]);
        parts.push(scope(() => argmax(conv2d(some, weight.detach(), bias?.detach()).reshape(-1, nEmbed))));
      }
      const indices = parts.length === 1 ? parts[0] : concat(parts, 0);
      return indices.reshape(...z.shape.slice(0, -1));
    });
  }

  /** The codes of indices [...], as [..., C]. */
  override lookup(indices: Tensor): Tensor {
    return embedding(indices, this.codebook);
  }
}
