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
import { aRange, type Picture, type PixelRange, toFloats, toPictures } from "../data/pictures/picture.ts";
import { type PictureSource, readImage } from "../data/pictures/source.ts";
import { aSignal, callback, checkOptions, flag, object, oneOf, type Rules, whole } from "../src/check.ts";
import { doubt } from "../src/doubt.ts";
import { asyncScope, noGrad, Random, scope, Tensor, tensor } from "../src/index.ts";
import { checkFloats } from "../src/operands.ts";
import { Decoder } from "./decoder.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import { Encoder } from "./encoder.ts";
import { fillModule, unfilled } from "./fill.ts";
import { checkImages, type Grid, problemOf, squareOf, tokensOnGrid } from "./images_and_tokens.ts";
import type { Init } from "./init.ts";
import { Conv2d, type Precision } from "./layers.ts";
import { type LoadReport, Module } from "./module.ts";
import { setPrecision } from "./precision.ts";
import { makeQuantizer } from "./quantizers/make_quantizer.ts";
import type { Quantizer } from "./quantizers/quantizer.ts";
import { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";

/** How a model is built. */
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

/** What `encode` gives. */
export interface Encoded {
  /** i32 [B, H/f, W/f], in raster order. */
  readonly indices: Tensor;
  /** The codes they stand for, [B, H/f, W/f, embedDim]. */
  readonly latents: Tensor;
}

/** The encoder turns pictures into latents, the decoder latents into pictures. */
export type Half = "encoder" | "decoder";

/** What the training pass gives. */
export interface Forward {
  /** [B, H, W, 3], not clamped. */
  readonly reconstruction: Tensor;
  /** One number. */
  readonly codebookLoss: Tensor;
  /** i32 [B, H/f, W/f]. */
  readonly indices: Tensor;
}

/** A picture as tokens. */
export interface Tokens {
  /** Row by row, each from 0 to `nEmbed` - 1. */
  readonly tokens: Int32Array;
  /** Rows and columns. */
  readonly grid: [rows: number, columns: number];
}

/** How `tokensOf` resizes and crops a picture. */
export interface TokensOptions {
  /** The smallest side becomes this many pixels; 0 leaves the picture as it is. Default: the model's resolution. */
  readonly size?: number;
  /** `center` cuts the middle square out, `none` keeps the shape. Default `center`, with a size of 0 `none`. */
  readonly crop?: "center" | "none";
}

const buildRules: Rules<VQGANOptions> = {
  withLoss: flag,
  range: aRange,
  only: oneOf("encoder", "decoder"),
};
const tokensRules: Rules<TokensOptions> = { size: whole(0), crop: oneOf("center", "none") };

/**
 * The autoencoder. Images are [B, H, W, 3], H and W multiples of the factor f, pixels in `range`.
 *
 * @example A picture to tokens and back
 * ```ts
 * import { savePng, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * const { tokens, grid } = await model.tokensOf("face.jpg");
 * await savePng("again.png", await model.pictureOf(tokens, grid));
 * model.dispose();
 * ```
 *
 * @example The same with tensors, many pictures at a time
 * ```ts
 * import { asyncScope, Random, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * await asyncScope(async () => {
 *   const images = new Random(1).uniform([2, 128, 128, 3], -1, 1);
 *   const { indices } = model.encode(images); // [2, 16, 16]
 *   const pictures = model.decodeTokens(indices); // [2, 128, 128, 3]
 *   console.log(await indices.ints(), pictures);
 * });
 * ```
 */
export class VQGAN extends Module {
  /** Images to latents before `quant_conv`. Reading it throws in a model with only the decoder. */
  readonly encoder!: Encoder;
  /** Latents after `post_quant_conv` to images. Reading it throws in a model with only the encoder. */
  readonly decoder!: Decoder;
  /** Discriminator and perceptual network; null without `withLoss`. */
  readonly loss: VQLPIPSWithDiscriminator | null;
  /** Holds the codebook. */
  readonly quantize: Quantizer;
  /** 1x1, from the encoder's channels to `embedDim`. */
  readonly quant_conv: Conv2d;
  /** 1x1, from `embedDim` to the decoder's channels. */
  readonly post_quant_conv: Conv2d;
  /** What the model is made of. */
  readonly config: VQModelConfig;
  /** What the model expects of pixels. */
  readonly range: PixelRange;
  /** Pixels per token along each side. */
  readonly factor: number;

  /**
   * A model with new weights; `VQGAN.load` reads one.
   *
   * @param init random numbers for the initial weights; null leaves zeros for a loader to overwrite
   * @throws if the config is not valid, or if half a model is to be trained.
   */
  constructor(config: VQModelConfig, init: Init, options: VQGANOptions = {}) {
    super();
    checkConfig(config);
    checkOptions("VQGAN", options, buildRules);
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

  /**
   * A picture to tokens, in one call.
   *
   * @param source a file's bytes, a Blob or pixels; with the full package (mod.ts) also a path
   * @throws ImageError if the picture cannot be read; an Error if it has fewer pixels than a token
   * @example Of a file
   * ```ts
   * import { VQGAN } from "@tessera/vqgan";
   *
   * const model = await VQGAN.load("last.ckpt");
   * const { tokens, grid } = await model.tokensOf("face.jpg"); // 16 x 16 tokens
   * ```
   */
  async tokensOf(source: PictureSource, options: TokensOptions = {}): Promise<Tokens> {
    checkOptions("tokensOf", options, tokensRules);
    const { size = this.config.ddconfig.resolution } = options;
    const picture = await readImage(source, {
      size: size === 0 ? undefined : size,
      crop: size === 0 ? "none" : options.crop,
      multipleOf: this.factor,
    });
    return await asyncScope(async () => {
      const { width, height, pixels } = picture;
      const { indices } = this.encode(tensor(toFloats(pixels, this.range), [1, height, width, 3]));
      const [, rows, columns] = indices.shape;
      return { tokens: await indices.ints(), grid: [rows, columns] };
    });
  }

  /**
   * Tokens to a picture of f pixels a token, in one call.
   *
   * @param grid rows and columns; may be left out if the tokens fill a square
   * @throws if the tokens do not fill the grid, or one is not in the codebook
   * @example Into a file
   * ```ts
   * import { savePng, VQGAN } from "@tessera/vqgan";
   *
   * const model = await VQGAN.load("last.ckpt");
   * const { tokens, grid } = await model.tokensOf("face.jpg");
   * await savePng("again.png", await model.pictureOf(tokens, grid));
   * ```
   */
  async pictureOf(tokens: ArrayLike<number>, grid: Grid = squareOf(tokens)): Promise<Picture> {
    return await asyncScope(async () => {
      const made = this.decodeTokens(tokens, grid);
      const [picture, ...others] = toPictures(await made.floats(), made.shape, this.range);
      if (others.length === 0) return picture;
      throw new Error(
        `pictureOf: ${tokens.length} tokens make ${made.shape[0]} pictures of ${
          grid.join("x")
        } tokens; decodeTokens() ` +
          "takes several",
      );
    });
  }

  /**
   * The training pass, with gradients: straight through the quantizer.
   * @throws if the images are not [B, H, W, 3] with sides that are multiples of the factor
   */
  forward(images: Tensor): Forward {
    checkImages(images, this.factor);
    return scope(() => {
      const { quantized, loss, indices } = this.quantize.call(this.#latents(images));
      return { reconstruction: this.#pixels(quantized), codebookLoss: loss, indices };
    });
  }

  /**
   * Pictures to tokens: `indices` i32 [B, H/f, W/f] in raster order, and the codes they stand for, `latents`
   * [B, H/f, W/f, embedDim]. Records no gradients.
   *
   * Images with NaN have no tokens, and those of values from 0 to 255 mean nothing: reading `indices` then throws, since
   * before that nobody waits for the device.
   * @throws if the image size does not fit, naming the nearest sizes that do.
   */
  encode(images: Tensor): Encoded {
    checkImages(images, this.factor);
    return noGrad(() =>
      scope(() => {
        const power = images.square().mean();
        const z = this.#latents(images);
        const indices = this.quantize.encode(z);
        doubt(indices, power.add(z.sum().mul(0)), (value) => problemOf(value, this.range)); // 0 * NaN is NaN
        return { indices, latents: this.quantize.lookup(indices) };
      })
    );
  }

  /**
   * Latents [B, h, w, embedDim] to pictures [B, f h, f w, 3], not clamped.
   *
   * Records no gradients, unless `grad` asks for them: then `backward` reaches the latents and the decoder's weights.
   * @throws if the latents have another shape
   * @example A loss to improve latents by
   * ```ts
   * import { type Tensor, type VQGAN } from "@tessera/vqgan/core";
   *
   * const loss = (model: VQGAN, latents: Tensor, wanted: Tensor) =>
   *   model.decode(latents, { grad: true }).sub(wanted).square().mean();
   * ```
   */
  decode(latents: Tensor, options: { readonly grad?: boolean } = {}): Tensor {
    checkFloats("decode", latents);
    checkOptions("decode", options, { grad: flag });
    const { embedDim } = this.config;
    if (latents.ndim !== 4 || latents.shape[3] !== embedDim) {
      throw new Error(
        `decode: latents have shape [${latents.shape}], expected [batch, height, width, ${embedDim}]`,
      );
    }
    return options.grad ? this.#pixels(latents) : noGrad(() => this.#pixels(latents));
  }

  /**
   * Tokens to pictures [B, f h, f w, 3], not clamped. Any size of grid works. Records no gradients.
   *
   * @param indices i32 [B, h, w], or any list of B * h * w tokens if `grid` = [h, w] is given
   * @example One picture of 2x2 tokens
   * ```ts
   * import { VQGAN } from "@tessera/vqgan";
   *
   * const model = await VQGAN.load("last.ckpt");
   * const picture = model.decodeTokens([12, 7, 401, 7], [2, 2]); // [1, 16, 16, 3]
   * ```
   * @throws if the number of tokens does not fill the grid, or one is not in the codebook. In a tensor on a GPU tokens are
   * not checked, and one that is not in the codebook becomes any code.
   */
  decodeTokens(indices: Tensor | ArrayLike<number>, grid?: Grid): Tensor {
    return noGrad(() =>
      scope(() => {
        return this.decode(this.quantize.lookup(tokensOnGrid(indices, grid, this.config.nEmbed)));
      })
    );
  }

  /**
   * Pictures [B, H, W, 3] through the tokens and back, clamped to the pixel range. Records no gradients.
   * @throws as `encode` does
   */
  reconstruct(images: Tensor): Tensor {
    return scope(() => this.decode(this.encode(images).latents).clamp(this.range === "signed" ? -1 : 0, 1));
  }

  #latents(images: Tensor): Tensor {
    return scope(() => this.quant_conv.call(this.encoder.call(images)));
  }

  #pixels(latents: Tensor): Tensor {
    return scope(() => this.decoder.call(this.post_quant_conv.call(latents)));
  }
}

/** How a checkpoint is loaded. */
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
  /** Aborting it makes loading reject with its reason, and frees what was loaded. */
  readonly signal?: AbortSignal;
}

const loadRules: Rules<LoadOptions> = {
  ...buildRules,
  config: object,
  precision: oneOf("f32", "f16"),
  seed: whole(0),
  onProgress: callback,
  signal: aSignal,
};

/** A model and what was found in its file. */
export interface LoadedVQGAN {
  /** The model; its owner frees it with `dispose()`. */
  readonly model: VQGAN;
  /** Which tensors of file and model met; `formatLoadReport` makes a text of it. */
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
  checkOptions("VQGAN.load", options, loadRules);
  options.signal?.throwIfAborted();
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
  { seed = 0, onProgress, signal }: LoadOptions,
): Promise<Omit<LoadedVQGAN, "model" | "assumed">> {
  const report = await fillModule(model, file, {
    whose: "the autoencoder's",
    isNeeded: isAutoencoder,
    onProgress,
    signal,
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
