// The quantizer of taming's GumbelVQ, which the published f8 models have: a layer computes a logit for each code. Training
// draws a code at random by the Gumbel-softmax (Jang et al. 2016) and is not done here; encoding takes the code with the
// highest logit.
import { check, whole } from "../../src/check.ts";
import { argmax, concat, conv2d, embedding, scope, type Tensor } from "../../src/index.ts";
import { type Init, normalParameter } from "../init.ts";
import { Conv2d } from "../layers.ts";
import { Module } from "../module.ts";
import { checkHasNoOptions, type Quantized, Quantizer, type QuantizerKind, usedCodes } from "./quantizer.ts";

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
  /** The codes that have a token; see `Quantizer`. */
  override readonly used: Tensor | null;

  /**
   * Makes codes and a layer of random numbers, which a file then fills.
   * @param remap how many codes have a token; null for all
   * @throws if a size cannot be used
   */
  constructor(nEmbed: number, embedDim: number, init: Init, remap: number | null = null) {
    super();
    check("GumbelQuantizer", "nEmbed", nEmbed, whole(1));
    check("GumbelQuantizer", "embedDim", embedDim, whole(1));
    this.proj = new Conv2d(embedDim, nEmbed, 1, init);
    this.embed = new Codes(nEmbed, embedDim, init);
    this.used = usedCodes(remap);
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
  override encode(z: Tensor, among: Tensor | null = null): Tensor {
    const channels = this.codebook.shape[1];
    if (z.shape[z.ndim - 1] !== channels) {
      throw new Error(
        `encode: z has ${z.shape[z.ndim - 1]} channels (shape [${z.shape}]), expected ${channels}`,
      );
    }
    return scope(() => {
      const [weight, bias] = this.#logits(among), codes = weight.shape[0];
      const count = z.size / channels, step = Math.max(1, Math.floor(maxLogits / codes));
      const rows = z.detach().reshape(1, 1, count, channels);
      const parts: Tensor[] = [];
      for (let at = 0; at < count; at += step) {
        const some = rows.slice([0, 0, at, 0], [1, 1, Math.min(at + step, count), channels]);
        parts.push(scope(() => argmax(conv2d(some, weight, bias).reshape(-1, codes))));
      }
      const indices = parts.length === 1 ? parts[0] : concat(parts, 0);
      return indices.reshape(...z.shape.slice(0, -1));
    });
  }

  /** The codes of indices [...], as [..., C]. */
  override lookup(indices: Tensor, among: Tensor | null = null): Tensor {
    return scope(() => embedding(indices, among ? embedding(among, this.codebook) : this.codebook));
  }

  /** The weight and the bias of the layer, or the part of them that belongs to some codes. */
  #logits(among: Tensor | null): [weight: Tensor, bias: Tensor] {
    const weight = this.proj.weight.detach(), bias = this.proj.bias!.detach();
    if (!among) return [weight, bias];
    const [codes, channels] = weight.shape;
    const rows = embedding(among, weight.reshape(codes, channels));
    return [rows.reshape(-1, channels, 1, 1), embedding(among, bias.reshape(codes, 1)).reshape(-1)];
  }
}

/** The code with the highest logit, as in taming's GumbelVQ. */
export const gumbel: QuantizerKind = {
  name: "gumbel",
  trains: false,
  make(config, init) {
    const { nEmbed, embedDim, remap, ddconfig: { zChannels } } = config;
    checkHasNoOptions(config);
    if (embedDim !== zChannels) {
      throw new Error(
        `config: embedDim is ${embedDim}; with a gumbel quantizer it must be zChannels, ${zChannels}`,
      );
    }
    return new GumbelQuantizer(nEmbed, embedDim, init, remap);
  },
};
