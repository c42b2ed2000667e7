// VQGAN: pictures to grids of tokens and back (Esser, Rombach, Ommer 2021, "Taming Transformers").
import {
  checkConfig,
  factorOf,
  type LossConfig,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "../data/formats/config.ts";
import type { CheckpointFile } from "../data/formats/file.ts";
import { configOf } from "../data/formats/guess.ts";
import { type CheckpointSource, withCheckpoint } from "../data/formats/opener.ts";
import { isAutoencoder } from "../data/formats/state_dict_keys.ts";
import type { PixelRange } from "../data/pictures/picture.ts";
import { noGrad, Random, scope, Tensor, tensor } from "../src/index.ts";
import { Decoder } from "./decoder.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import { Encoder } from "./encoder.ts";
import { fillModule, unfilled } from "./fill.ts";
import type { Init } from "./init.ts";
import { Conv2d, type Precision } from "./layers.ts";
import { type LoadReport, Module } from "./module.ts";
import { setPrecision } from "./precision.ts";
import { makeQuantizer } from "./quantizers/make_quantizer.ts";
import type { Quantizer } from "./quantizers/quantizer.ts";
import { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";

export interface VQGANOptions {
  /** Also build the discriminator and the perceptual network, which only training needs. Default false. */
  readonly withLoss?: boolean;
  /** Default `signed`. */
  readonly range?: PixelRange;
  /**
   * Leaves the other half out, for a model that only encodes or only decodes. At full size that saves about 120 MB,
   * which matters with large pictures. Using the half that is not there throws.
   */
  readonly only?: Half;
}

/** The encoder turns pictures into latents, the decoder latents into pictures. */
export type Half = "encoder" | "decoder";

export interface Forward {
  /** [B, H, W, 3], not clamped. */
  readonly reconstruction: Tensor;
  /** One number. */
  readonly codebookLoss: Tensor;
  /** i32 [B, H/f, W/f]. */
  readonly indices: Tensor;
}

/**
 * The autoencoder. Images are [B, H, W, 3], H and W multiples of the factor f, pixels in `range`.
 *
 * @example
 * const model = await VQGAN.load("last.ckpt");
 * const { indices } = model.encode(images);     // [B, H/16, W/16], 0..16383
 * const pictures = model.decodeTokens(indices); // [B, H, W, 3]
 */
export class VQGAN extends Module {
  readonly encoder!: Encoder;
  readonly decoder!: Decoder;
  readonly loss: VQLPIPSWithDiscriminator | null;
  readonly quantize: Quantizer;
  readonly quant_conv: Conv2d;
  readonly post_quant_conv: Conv2d;
  readonly config: VQModelConfig;
  readonly range: PixelRange;
  /** Pixels per token along each side. */
  readonly factor: number;

  /**
   * @param init random numbers for the initial weights; null leaves zeros for a loader to overwrite
   * @throws if the config is not valid, or if half a model is to be trained.
   */
  constructor(config: VQModelConfig, init: Init, options: VQGANOptions = {}) {
    super();
    checkConfig(config);
    const { ddconfig, embedDim, attentionOrder } = config;
    this.config = config;
    this.range = options.range ?? "signed";
    this.factor = factorOf(config);
    const { only, withLoss = false } = options;
    if (only && withLoss) throw new Error(`VQGAN: training needs both halves, not only the ${only}`);
    if (only === "decoder") lacks(this, "encoder");
    else this.encoder = new Encoder(ddconfig, attentionOrder, init);
    if (only === "encoder") lacks(this, "decoder");
    else this.decoder = new Decoder(ddconfig, attentionOrder, init);
    this.loss = withLoss ? new VQLPIPSWithDiscriminator(config.lossconfig, init) : null;
    this.quantize = makeQuantizer(config, init);
    this.quant_conv = new Conv2d(ddconfig.zChannels, embedDim, 1, init);
    this.post_quant_conv = new Conv2d(embedDim, ddconfig.zChannels, 1, init);
  }

  /**
   * Reads a checkpoint: torch (.ckpt, .pt), safetensors, or Flax (its folder, or the .msgpack inside). The config is
   * guessed from the tensors' shapes where the file does not say it.
   *
   * @param source bytes, a Blob or an opened checkpoint; with the full package (mod.ts) also a path
   * @throws if the checkpoint cannot be read or lacks a tensor of the autoencoder, or if paths cannot be opened here.
   */
  static async load(source: CheckpointSource, options: LoadOptions = {}): Promise<VQGAN> {
    return (await loadVQGAN(source, options)).model;
  }

  /** Whether the model was made without this half. */
  isWithout(half: Half): boolean {
    return !Object.keys(this).includes(half);
  }

  /** What the first optimizer trains, in taming's order: encoder, decoder, quantize, quant_conv, post_quant_conv. */
  generatorParameters(): Map<string, Tensor> {
    return new Map([...this.namedParameters()].filter(([key]) => isAutoencoder(key)));
  }

  /** What the second optimizer trains; empty without `withLoss`. */
  discriminatorParameters(): Map<string, Tensor> {
    return this.loss?.discriminator.namedParameters("loss.discriminator") ?? new Map();
  }

  /** The training pass, with gradients: straight through the quantizer. @throws if the image size does not fit. */
  forward(images: Tensor): Forward {
    this.#checkImages(images);
    return scope(() => {
      const { quantized, loss, indices } = this.quantize.call(this.#latents(images));
      return { reconstruction: this.#pixels(quantized), codebookLoss: loss, indices };
    });
  }

  /**
   * Pictures to tokens: `indices` i32 [B, H/f, W/f] in raster order, and the codes they stand for, `latents`
   * [B, H/f, W/f, embedDim]. @throws if the image size does not fit, naming the nearest sizes that do.
   */
  encode(images: Tensor): { indices: Tensor; latents: Tensor } {
    this.#checkImages(images);
    return noGrad(() =>
      scope(() => {
        const indices = this.quantize.encode(this.#latents(images));
        return { indices, latents: this.quantize.lookup(indices) };
      })
    );
  }

  /** Latents [B, h, w, embedDim] to pictures [B, f h, f w, 3], not clamped. */
  decode(latents: Tensor): Tensor {
    const { embedDim } = this.config;
    if (latents.ndim !== 4 || latents.shape[3] !== embedDim) {
      throw new Error(
        `decode: latents have shape [${latents.shape}], expected [batch, height, width, ${embedDim}]`,
      );
    }
    return noGrad(() => scope(() => this.#pixels(latents)));
  }

  /**
   * Tokens to pictures [B, f h, f w, 3], not clamped. Any size of grid works.
   *
   * @param indices i32 [B, h, w], or any list of B * h * w tokens if `grid` = [h, w] is given
   * @example model.decodeTokens([12, 7, 401, 7], [2, 2]) // one picture of 2x2 tokens
   * @throws if the number of tokens does not fill the grid, or one is not in the codebook. In a tensor on a GPU tokens are
   * not checked, and one that is not in the codebook becomes any code.
   */
  decodeTokens(indices: Tensor | ArrayLike<number>, grid?: readonly [number, number]): Tensor {
    return noGrad(() =>
      scope(() => {
        const tokens = indices instanceof Tensor ? indices : this.#checkTokens(indices);
        return this.decode(this.quantize.lookup(onGrid(tokens, grid)));
      })
    );
  }

  /** Pictures through the tokens and back, clamped to the pixel range. */
  reconstruct(images: Tensor): Tensor {
    return scope(() => this.decode(this.encode(images).latents).clamp(this.range === "signed" ? -1 : 0, 1));
  }

  #latents(images: Tensor): Tensor {
    return scope(() => this.quant_conv.call(this.encoder.call(images)));
  }

  #pixels(latents: Tensor): Tensor {
    return scope(() => this.decoder.call(this.post_quant_conv.call(latents)));
  }

  #checkImages(images: Tensor): void {
    const [, height, width, channels] = images.shape;
    if (images.ndim !== 4 || channels !== 3) {
      throw new Error(`VQGAN: images have shape [${images.shape}], expected [batch, height, width, 3]`);
    }
    const sides = [["height", height], ["width", width]] as const;
    const problems = sides.filter(([, n]) => n === 0 || n % this.factor !== 0).map(([side, n]) => {
      const below = Math.floor(n / this.factor) * this.factor, above = below + this.factor;
      return `${side} ${n} (nearest: ${below > 0 ? `${below} or ` : ""}${above})`;
    });
    if (problems.length > 0) {
      throw new Error(
        `VQGAN: image sides must be multiples of ${this.factor}, but got ${
          problems.join(" and ")
        }; resize or crop`,
      );
    }
  }

  #checkTokens(indices: ArrayLike<number>): Tensor {
    const tokens = Array.from(indices);
    const bad = tokens.findIndex((t) => !Number.isInteger(t) || t < 0 || t >= this.config.nEmbed);
    if (bad >= 0) {
      throw new Error(`decodeTokens: token ${tokens[bad]} at ${bad} is not in 0..${this.config.nEmbed - 1}`);
    }
    return tensor(Int32Array.from(tokens));
  }
}

export interface LoadOptions {
  /** Also load the discriminator and the perceptual network, for training. Default false. */
  readonly withLoss?: boolean;
  /** Default `signed`. */
  readonly range?: PixelRange;
  /** Load this half alone, with the codebook; see `VQGANOptions`. */
  readonly only?: Half;
  /** What the file does not say, or what should differ: loss settings, attention order, beta. */
  readonly config?: VQModelOverrides;
  /** How activations are stored, default f32; see `setPrecision`. */
  readonly precision?: Precision;
  /** Seed of a new discriminator, for a file without one. Default 0. */
  readonly seed?: number;
  /** Called after each tensor with the bytes read so far and in all. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

export interface LoadedVQGAN {
  readonly model: VQGAN;
  readonly report: LoadReport;
  /** The fields of the config that the file does not say, such as "lossconfig.discStart". */
  readonly assumed: readonly string[];
  /** Where the discriminator's weights came from; null without `withLoss`. */
  readonly discriminator: "file" | "new" | null;
  /** Whether LPIPS has weights, from this file; if not, `loadPerceptual` gives it some. */
  readonly perceptual: boolean;
}

/**
 * `VQGAN.load` with an account of what was found.
 * @throws as `VQGAN.load`, and if f16 is asked of a device that has none.
 */
export async function loadVQGAN(source: CheckpointSource, options: LoadOptions = {}): Promise<LoadedVQGAN> {
  return await withCheckpoint("VQGAN.load", source, async (file) => {
    const { config, assumed } = configOf(file);
    const { withLoss, range, only } = options;
    const model = new VQGAN(withOverrides(config, options.config ?? {}), null, { withLoss, range, only });
    try {
      setPrecision(model, options.precision ?? "f32");
      return { model, assumed, ...await fillModel(model, file, options) };
    } catch (error) {
      model.dispose();
      throw error;
    }
  });
}

/** Weights for the autoencoder, which have to be there, and for the networks of the loss. */
async function fillModel(
  model: VQGAN,
  file: CheckpointFile,
  { seed = 0, onProgress }: LoadOptions,
): Promise<Omit<LoadedVQGAN, "model" | "assumed">> {
  const report = await fillModule(model, file, {
    whose: "the autoencoder's",
    isNeeded: isAutoencoder,
    onProgress,
  });
  if (!model.loss) return { report, discriminator: null, perceptual: false };
  const { perceptual_loss: lpips, discriminator } = model.loss;
  const isWhole = (part: string) => !unfilled(report).some((key) => key.startsWith(`loss.${part}.`));
  const perceptual = lpips !== null && isWhole("perceptual_loss");
  if (lpips) lpips.ready = perceptual;
  const isFound = isWhole("discriminator");
  if (!isFound) renew(discriminator, model.config.lossconfig, new Random(seed));
  return { report, discriminator: isFound ? "file" : "new", perceptual };
}

/** Initial weights for a discriminator, in place. */
function renew(
  discriminator: NLayerDiscriminator,
  { discNdf, discNumLayers }: LossConfig,
  random: Random,
): void {
  const fresh = new NLayerDiscriminator({ ndf: discNdf, numLayers: discNumLayers }, random);
  discriminator.loadStateDict(fresh.stateDict());
  fresh.dispose();
}

/** Leaves a half out. The property is not enumerable, so that no walk over the module's state meets it. */
function lacks(model: VQGAN, half: Half): void {
  Object.defineProperty(model, half, {
    enumerable: false,
    get(): never {
      throw new Error(`VQGAN: this model was made without its ${half}; leave out the option "only"`);
    },
  });
}

function onGrid(tokens: Tensor, grid?: readonly [number, number]): Tensor {
  if (!grid) {
    if (tokens.ndim === 3) return tokens;
    throw new Error(`decodeTokens: tokens have shape [${tokens.shape}]; give the grid as [height, width]`);
  }
  const [height, width] = grid;
  if (tokens.size === 0 || tokens.size % (height * width) !== 0) {
    throw new Error(`decodeTokens: ${tokens.size} tokens do not fill grids of ${height}x${width}`);
  }
  return tokens.reshape(-1, height, width);
}
