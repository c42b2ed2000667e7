// Vector quantization with a straight-through gradient (van den Oord et al. 2017), and how well the codes are used.
import { embedding, nearestCode, scope, type Tensor } from "../src/index.ts";
import { type Init, uniformParameter } from "./init.ts";
import { Module } from "./module.ts";

export interface Quantized {
  /** Codes with the gradient of z: z + sg[e - z], [B, H, W, C]. */
  readonly quantized: Tensor;
  /** One number. */
  readonly loss: Tensor;
  /** i32 [B, H, W]; the lowest index wins ties. */
  readonly indices: Tensor;
}

/** The table of codes, under taming's key `quantize.embedding.weight`. */
class Codebook extends Module {
  readonly weight: Tensor;

  constructor(codes: number, channels: number, init: Init) {
    super();
    this.weight = uniformParameter(init, [codes, channels], 1 / codes);
  }
}

export interface QuantizerOptions {
  readonly beta: number;
  readonly legacyBeta: boolean;
}

/**
 * Replaces each vector by the nearest of `codes` vectors.
 * loss = commitment * mean((sg[e] - z)^2) + codebook * mean((e - sg[z])^2), where (commitment, codebook) is (1, beta)
 * with `legacyBeta` and (beta, 1) without.
 */
export class VectorQuantizer extends Module {
  readonly embedding: Codebook;
  readonly #commitmentWeight: number;
  readonly #codebookWeight: number;

  constructor(codes: number, channels: number, options: QuantizerOptions, init: Init) {
    super();
    this.embedding = new Codebook(codes, channels, init);
    this.#commitmentWeight = options.legacyBeta ? 1 : options.beta;
    this.#codebookWeight = options.legacyBeta ? options.beta : 1;
  }

  /** z: [B, H, W, C]. */
  call(z: Tensor): Quantized {
    return scope(() => {
      const indices = this.nearest(z);
      const codes = this.lookup(indices);
      const commitment = codes.detach().sub(z).square().mean();
      const codebook = codes.sub(z.detach()).square().mean();
      return {
        quantized: z.add(codes.sub(z).detach()),
        loss: commitment.mul(this.#commitmentWeight).add(codebook.mul(this.#codebookWeight)),
        indices,
      };
    });
  }

  /** Index of the nearest code for each vector of z [..., C]: i32 [...]. */
  nearest(z: Tensor): Tensor {
    const { weight } = this.embedding;
    const channels = weight.shape[1];
    if (z.shape[z.ndim - 1] !== channels) {
      throw new Error(
        `nearest: z has ${z.shape[z.ndim - 1]} channels (shape [${z.shape}]), codes have ${channels}`,
      );
    }
    return scope(() => {
      const rows = z.detach().reshape(z.size / channels, channels);
      return nearestCode(rows, weight.detach()).reshape(...z.shape.slice(0, -1));
    });
  }

  /** Codes of indices [...]: [..., C]. */
  lookup(indices: Tensor): Tensor {
    return embedding(indices, this.embedding.weight);
  }
}

/**
 * Counts how often each code was chosen, over as many batches as are added.
 * @example
 * const usage = new CodebookUsage(16384);
 * usage.add(await indices.ints());
 * usage.summary(); // { used: 211, usage: 0.0129, perplexity: 187.3, total: 256 }
 */
export class CodebookUsage {
  readonly counts: Int32Array;

  constructor(codes: number) {
    this.counts = new Int32Array(codes);
  }

  /** @throws if an index is not that of a code. */
  add(indices: Int32Array): void {
    for (const index of indices) {
      if (!(index >= 0 && index < this.counts.length)) {
        throw new Error(
          `CodebookUsage: index ${index} is outside the codebook of ${this.counts.length} codes`,
        );
      }
      this.counts[index]++;
    }
  }

  /** `usage` is the fraction of codes chosen at all; `perplexity` = exp(-sum p log p), the effective number of codes. */
  summary(): { used: number; usage: number; perplexity: number; total: number } {
    const total = this.counts.reduce((sum, n) => sum + n, 0);
    let used = 0, entropy = 0;
    for (const n of this.counts) {
      if (n === 0) continue;
      used++;
      entropy -= (n / total) * Math.log(n / total);
    }
    return { used, usage: used / this.counts.length, perplexity: total === 0 ? 0 : Math.exp(entropy), total };
  }
}
