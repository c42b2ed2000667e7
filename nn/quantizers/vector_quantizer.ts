// Vector quantization (van den Oord et al. 2017): each vector is replaced by the nearest code. This choice has no derivative,
// so `backward` passes the gradient of the code on to the vector, unchanged or rotated (gradient.ts).
import type { VQModelConfig } from "../../data/formats/config.ts";
import { check, flag, notNegative, whole } from "../../src/check.ts";
import { embedding, nearestCode, scope, type Tensor } from "../../src/index.ts";
import { type Init, uniformParameter } from "../init.ts";
import { entropyLoss } from "./entropy.ts";
import { passThrough } from "./gradient.ts";
import {
  checkHasNoOptions,
  Codebook,
  type Quantized,
  Quantizer,
  type QuantizerKind,
  type QuantizerPass,
  tamingPass,
  usedCodes,
} from "./quantizer.ts";

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
  #pass: QuantizerPass = tamingPass;

  /**
   * Codes are drawn from +-1/nEmbed, as in taming. Training from scratch then replaces them by k-means centres
   * (train/codebook/kmeans.ts).
   * @throws if a size or a weight cannot be used
   */
  constructor(nEmbed: number, embedDim: number, options: VectorQuantizerOptions, init: Init) {
    super();
    check("VectorQuantizer", "nEmbed", nEmbed, whole(1));
    check("VectorQuantizer", "embedDim", embedDim, whole(1));
    check("VectorQuantizer", "beta", options?.beta, notNegative);
    check("VectorQuantizer", "legacyBeta", options?.legacyBeta, flag);
    check("VectorQuantizer", "normalized", options.normalized ?? false, flag);
    this.embedding = new Codebook(uniformParameter(init, [nEmbed, embedDim], 1 / nEmbed));
    this.used = usedCodes(options.remap ?? null);
    this.#commitmentWeight = options.legacyBeta ? 1 : options.beta;
    this.#codebookWeight = options.legacyBeta ? options.beta : 1;
    this.#normalized = options.normalized ?? false;
  }

  /** The codes, [nEmbed, embedDim]. */
  override get codebook(): Tensor {
    return this.embedding.weight;
  }

  /** Changes how the training pass computes its loss and its gradients. */
  override setPass(pass: QuantizerPass): void {
    this.#pass = pass;
  }

  /** `quantized` has the value of the codes, up to rounding, and the gradient that the pass says; by default that of z. */
  override call(z: Tensor): Quantized {
    const { gradient, entropyWeight, entropyTemperature, movesCodes } = this.#pass;
    return scope(() => {
      const indices = this.encode(z);
      const found = this.lookup(indices), codes = movesCodes ? found : found.detach();
      const vectors = this.comparable(z);
      const commitment = codes.detach().sub(vectors).square().mean();
      let loss = commitment.mul(this.#commitmentWeight);
      if (movesCodes) {
        loss = loss.add(codes.sub(vectors.detach()).square().mean().mul(this.#codebookWeight));
      }
      if (entropyWeight > 0 && this.training) {
        const table = this.comparable(movesCodes ? this.codebook : this.codebook.detach());
        loss = loss.add(entropyLoss(vectors, table, entropyTemperature).mul(entropyWeight));
      }
      return { quantized: passThrough(vectors, codes.detach(), gradient), loss, indices };
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
      const rows = this.comparable(z.detach().reshape(z.size / channels, channels));
      const codes = this.codebook.detach(), table = among ? embedding(among, codes) : codes;
      return nearestCode(rows, this.comparable(table)).reshape(...z.shape.slice(0, -1));
    });
  }

  /** The codes of indices [...], as [..., C]. */
  override lookup(indices: Tensor, among: Tensor | null = null): Tensor {
    return scope(() => {
      const table = among ? embedding(among, this.codebook) : this.codebook;
      return this.comparable(embedding(indices, table));
    });
  }

  /** Vectors [..., C] of length 1 with `normalized`, otherwise the same. A vector of zeros stays one, as in torch. */
  override comparable(vectors: Tensor): Tensor {
    if (!this.#normalized) return vectors;
    return vectors.div(vectors.square().sum(-1, true).maximum(1e-24).sqrt());
  }
}

/** Makes the quantizer of a config, which has no options but those of taming's. */
function made(config: VQModelConfig, init: Init, normalized: boolean): VectorQuantizer {
  const { nEmbed, embedDim, beta, legacyBeta, remap } = config;
  checkHasNoOptions(config);
  if (normalized && embedDim < 2) {
    throw new Error(
      `the quantizer "normalized" needs embedDim >= 2, because a vector of ${embedDim} number has only two directions`,
    );
  }
  return new VectorQuantizer(nEmbed, embedDim, { beta, legacyBeta, normalized, remap }, init);
}

/** The nearest code, as in taming's VQModel. */
export const nearest: QuantizerKind = {
  name: "nearest",
  trains: true,
  make: (config, init) => made(config, init, false),
};

/** The code of the nearest direction, as in LlamaGen and ViT-VQGAN. */
export const normalized: QuantizerKind = {
  name: "normalized",
  trains: true,
  make: (config, init) => made(config, init, true),
};
