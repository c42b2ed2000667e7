// The interface of a quantizer: it takes vectors, and returns the indices of codes and the codes themselves. A quantizer of
// your own is one file like those beside this one (docs/training.md, "A quantizer of your own").
import type { VQModelConfig } from "../../data/formats/config.ts";
import { concat, slice, type Tensor, tensor } from "../../src/index.ts";
import type { Parts } from "../../src/parts.ts";
import { buffer, type Init } from "../init.ts";
import { Module } from "../module.ts";

/** The most work of a part in operations: on two cores a fraction of a second. */
const WORK = 2 ** 32;

/** What a quantizer returns in training. */
export interface Quantized {
  /** The chosen codes, [B, H, W, C]. Gradients pass through them to z. */
  readonly quantized: Tensor;
  /** The quantizer's loss, one number. */
  readonly loss: Tensor;
  /** The indices of the codes, i32 [B, H, W]. */
  readonly indices: Tensor;
}

/** How the training pass differs from taming's. It changes gradients and losses, and never what a file means. */
export interface QuantizerPass {
  /**
   * How a gradient passes the choice of a code, which has no derivative: unchanged, or turned and scaled as the vector was
   * (the rotation trick).
   */
  readonly gradient: "straight-through" | "rotation";
  /** The weight of the entropy term, 0 for none. Only training has it, so that validation stays comparable. */
  readonly entropyWeight: number;
  /** The temperature of the softmax in the entropy term. */
  readonly entropyTemperature: number;
  /** Whether the loss moves the codes. If not, its codebook term is left out, and something else moves them. */
  readonly movesCodes: boolean;
}

/** taming's training pass. */
export const tamingPass: QuantizerPass = {
  gradient: "straight-through",
  entropyWeight: 0,
  entropyTemperature: 0.01,
  movesCodes: true,
};

/**
 * A kind of quantizer, as the config of a model names it. Each file of this folder has its own, and registry.ts lists them.
 * @example A quantizer from outside: examples/own_quantizer.ts
 */
export interface QuantizerKind {
  /** What `config.quantizer` says: small letters, digits, "-" and "_". */
  readonly name: string;
  /** Whether a model with it can be trained. If not, it only encodes and decodes. */
  readonly trains: boolean;
  /**
   * Makes the quantizer of a config, whose options are in `config.quantizerOptions`.
   * @throws if the config has options or sizes that this quantizer cannot have
   */
  make(config: VQModelConfig, init: Init): Quantizer;
}

/** Replaces vectors by codes. The config's `quantizer` says which kind a model has (registry.ts). */
export abstract class Quantizer extends Module {
  /**
   * The table of codes, [nEmbed, embedDim]. It is the parameter itself, not a copy. Its key must be
   * `quantize.embedding.weight`, by which readers know its size; `Codebook` has that name. If it does not require gradients,
   * its codes stay where they are: they neither start at k-means centres nor are they restarted.
   */
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
   * Changes the training pass; a `Trainer` calls it.
   * @throws unless it is taming's or this quantizer overrides the method, because another one would have no effect
   */
  setPass(pass: QuantizerPass): void {
    for (const [name, value] of Object.entries(pass)) {
      if (name === "entropyTemperature" || value === tamingPass[name as keyof QuantizerPass]) continue;
      throw new Error(
        `${this.constructor.name} has a training pass of its own, so ${name} cannot be ${value}: train it without options ` +
          "of the codebook",
      );
    }
  }

  /** Vectors [..., C] as they are compared with codes: of length 1 if only directions count. Here: as they are. */
  comparable(vectors: Tensor): Tensor {
    return vectors;
  }

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

/** The table of codes. It is a module of its own, because its key in taming's files is `quantize.embedding.weight`. */
export class Codebook extends Module {
  /** The codes, [nEmbed, embedDim]. */
  readonly weight: Tensor;
  readonly #buffers: readonly string[];

  /** Keeps a table of codes. It is a parameter if it requires gradients now, and otherwise state that is not learnt. */
  constructor(weight: Tensor) {
    super();
    this.weight = buffer(weight);
    this.#buffers = weight.requiresGrad ? [] : ["weight"];
  }

  /** Its name, if the table is not learnt. */
  protected override bufferNames(): readonly string[] {
    return this.#buffers;
  }
}

/** Makes the list of codes that have a token, for a loader to fill; null if all have. */
export function usedCodes(count: number | null): Tensor | null {
  return count === null ? null : buffer(tensor(new Int32Array(count)));
}

/** @throws if a config has options for a quantizer that has none */
export function checkHasNoOptions({ quantizer, quantizerOptions }: VQModelConfig): void {
  const [name] = Object.keys(quantizerOptions);
  if (name === undefined) return;
  throw new Error(`config: the quantizer "${quantizer}" has no options, but quantizerOptions has "${name}"`);
}
