// Vector quantization with a straight-through gradient (van den Oord et al. 2017): each vector is replaced by the nearest
// code, and because this choice has no derivative, `backward` passes the gradient of the code on to the vector unchanged.
import { check, flag, notNegative, whole } from "../../src/check.ts";
import { embedding, nearestCode, scope, type Tensor } from "../../src/index.ts";
import { type Init, uniformParameter } from "../init.ts";
import { Module } from "../module.ts";
import { type Quantized, Quantizer, usedCodes } from "./quantizer.ts";

/** The table of codes. It is a module of its own, because its key in taming's files is `quantize.embedding.weight`. */
class Codebook extends Module {
  readonly weight: Tensor;

  constructor(nEmbed: number, embedDim: number, init: Init) {
    super();
    this.weight = uniformParameter(init, [nEmbed, embedDim], 1 / nEmbed);
  }
}

/** The weights of the two terms of the quantizer's loss. */
export interface VectorQuantizerOptions {
  /** The weight of one of the two terms; the other one has weight 1. */
  readonly beta: number;
  /**
   * true: beta scales the codebook term, as in all of taming's published models. false: the commitment term, as in van
   * den Oord's paper and in Tessera's small model.
   */
  readonly legacyBeta: boolean;
  /**
   * Whether vectors and codes are first scaled to length 1, as in ViT-VQGAN and LlamaGen, so that only their directions count.
   * Default false.
   */
  readonly normalized?: boolean;
  /** How many codes have a token; see `Quantizer.used`, which a checkpoint fills. Default null: all. */
  readonly remap?: number | null;
}

/**
 * Replaces each vector z by the nearest e of `nEmbed` codes; if two are equally near, the lower index wins.
 * loss = commitment * mean((sg[e] - z)^2) + codebook * mean((e - sg[z])^2). sg ("stop gradient") is `detach`, so the first
 * term moves vectors towards their codes, and the second one moves codes towards their vectors. The weights
 * (commitment, codebook) are (1, beta) with `legacyBeta` and (beta, 1) without.
 */
export class VectorQuantizer extends Quantizer {
  /**
   * Holds the codebook under taming's key.
   * @internal
   */
  readonly embedding: Codebook;
  /** The codes that have a token; see `Quantizer`. */
  override readonly used: Tensor | null;
  readonly #commitmentWeight: number;
  readonly #codebookWeight: number;
  readonly #normalized: boolean;

  /**
   * Codes are drawn from +-1/nEmbed, as in taming. Training from scratch then replaces them by k-means centres
   * (train/codebook.ts).
   * @throws if a size or a weight cannot be used
   */
  constructor(nEmbed: number, embedDim: number, options: VectorQuantizerOptions, init: Init) {
    super();
    check("VectorQuantizer", "nEmbed", nEmbed, whole(1));
    check("VectorQuantizer", "embedDim", embedDim, whole(1));
    check("VectorQuantizer", "beta", options?.beta, notNegative);
    check("VectorQuantizer", "legacyBeta", options?.legacyBeta, flag);
    check("VectorQuantizer", "normalized", options.normalized ?? false, flag);
    this.embedding = new Codebook(nEmbed, embedDim, init);
    this.used = usedCodes(options.remap ?? null);
    this.#commitmentWeight = options.legacyBeta ? 1 : options.beta;
    this.#codebookWeight = options.legacyBeta ? options.beta : 1;
    this.#normalized = options.normalized ?? false;
  }

  /** The codes, [nEmbed, embedDim]. */
  override get codebook(): Tensor {
    return this.embedding.weight;
  }

  /** `quantized` is z + sg[e - z]: the value of e, up to rounding, with the gradient of z. */
  override call(z: Tensor): Quantized {
    return scope(() => {
      const indices = this.encode(z);
      const codes = this.lookup(indices), vectors = this.#scaled(z);
      const commitment = codes.detach().sub(vectors).square().mean();
      const codebook = codes.sub(vectors.detach()).square().mean();
      return {
        quantized: vectors.add(codes.sub(vectors).detach()),
        loss: commitment.mul(this.#commitmentWeight).add(codebook.mul(this.#codebookWeight)),
        indices,
      };
    });
  }

  /** The index of the nearest code for each vector of z [..., C], as i32 [...]. @throws if the vectors have another length */
  override encode(z: Tensor, among: Tensor | null = null): Tensor {
    const channels = this.codebook.shape[1];
    if (z.shape[z.ndim - 1] !== channels) {
      throw new Error(
        `encode: z has ${z.shape[z.ndim - 1]} channels (shape [${z.shape}]), codes have ${channels}`,
      );
    }
    return scope(() => {
      const rows = this.#scaled(z.detach().reshape(z.size / channels, channels));
      const codes = this.codebook.detach(), table = among ? embedding(among, codes) : codes;
      return nearestCode(rows, this.#scaled(table)).reshape(...z.shape.slice(0, -1));
    });
  }

  /** The codes of indices [...], as [..., C]. */
  override lookup(indices: Tensor, among: Tensor | null = null): Tensor {
    return scope(() => {
      const table = among ? embedding(among, this.codebook) : this.codebook;
      return this.#scaled(embedding(indices, table));
    });
  }

  /** Vectors [..., C] of length 1 with `normalized`, otherwise the same. A vector of zeros stays one, as in torch. */
  #scaled(vectors: Tensor): Tensor {
    if (!this.#normalized) return vectors;
    return vectors.div(vectors.square().sum(-1, true).maximum(1e-24).sqrt());
  }
}
