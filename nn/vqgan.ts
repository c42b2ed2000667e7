// The model: it turns pictures into grids of tokens and back (Esser, Rombach, Ommer 2021, "Taming Transformers").
import { checkConfig, factorOf, type VQModelConfig, withOverrides } from "../data/formats/config.ts";
import { resolutionField } from "../data/formats/guess.ts";
import type { CheckpointSource } from "../data/formats/opener.ts";
import type { Half } from "../data/formats/shapes.ts";
import { isAutoencoder } from "../data/formats/state_dict_keys.ts";
import { type Picture, type PixelRange, toFloats, toPictures } from "../data/pictures/picture.ts";
import { type PictureSource, readImage } from "../data/pictures/source.ts";
import { check, checkOptions, flag, whole } from "../src/check.ts";
import { doubt } from "../src/doubt.ts";
import { asyncScope, noGrad, scope, Tensor, tensor } from "../src/index.ts";
import { checkFloats } from "../src/operands.ts";
import { finish, inTurns, type Parts, type TurnOptions } from "../src/parts.ts";
import { Decoder } from "./decoder.ts";
import { Encoder } from "./encoder.ts";
import { checkImages, type Grid, problemOf, squareOf, tokensOnGrid } from "./images_and_tokens.ts";
import { allOrNothing, type Init } from "./init.ts";
import { Conv2d } from "./layers.ts";
import { lacks, type Loaded, loadModel, type LoadOptions } from "./loading.ts";
import { chain, Module } from "./module.ts";
import type { Quantizer } from "./quantizers/quantizer.ts";
import { makeQuantizer, quantizerKind } from "./quantizers/registry.ts";
import {
  buildRules,
  type Encoded,
  type Forward,
  type Tokens,
  type TokensOptions,
  tokensRules,
  type VQGANOptions,
  type WatchOptions,
  watchRules,
} from "./vqgan_options.ts";
import { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";

/**
 * The autoencoder. Images are [B, H, W, 3]; H and W are multiples of the factor f, and pixels are in `range`.
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
 * @example The same with tensors, for many pictures at a time
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
  /** From images to latents before `quant_conv`. Reading it throws in a model with only the decoder. */
  readonly encoder!: Encoder;
  /** From latents after `post_quant_conv` to images. Reading it throws in a model with only the encoder. */
  readonly decoder!: Decoder;
  /** Discriminator and perceptual network; null without `withLoss`. */
  readonly loss: VQLPIPSWithDiscriminator | null;
  /** The quantizer, which holds the codebook. */
  readonly quantize: Quantizer;
  /** A 1x1 convolution from the encoder's channels to `embedDim`. */
  readonly quant_conv: Conv2d;
  /** A 1x1 convolution from `embedDim` to the decoder's channels. */
  readonly post_quant_conv: Conv2d;
  #config: VQModelConfig;
  /** The fields of `config` that nothing states, neither the checkpoint nor what lies beside it. */
  readonly assumed: readonly string[];
  /** What the model expects of pixels. */
  readonly range: PixelRange;
  /** Pixels per token along each side. */
  readonly factor: number;

  /**
   * Makes a model with new weights; `VQGAN.load` reads one from a checkpoint.
   *
   * @param init random numbers for the initial weights; null leaves zeros for a loader to overwrite
   * @throws if the config is not valid, if half a model is to be trained, or if memory runs out; then what was made is
   * freed.
   */
  constructor(config: VQModelConfig, init: Init, options: VQGANOptions = {}) {
    super();
    checkConfig(config);
    checkOptions("VQGAN", options, buildRules);
    const { ddconfig, embedDim, attentionOrder } = config;
    this.#config = config;
    this.assumed = options.assumed ?? [];
    this.range = options.range ?? "signed";
    this.factor = factorOf(config);
    const { only, withLoss = false } = options;
    if (only && withLoss) throw new Error(`VQGAN: training needs both halves, not only the ${only}`);
    if (withLoss && !quantizerKind(config.quantizer).trains) {
      throw new Error(
        `VQGAN: a model with the quantizer "${config.quantizer}" encodes and decodes, but it cannot be trained here`,
      );
    }
    const parts = allOrNothing(() => ({
      encoder: only === "decoder" ? null : new Encoder(ddconfig, attentionOrder, init),
      decoder: only === "encoder" ? null : new Decoder(ddconfig, attentionOrder, init),
      loss: withLoss ? new VQLPIPSWithDiscriminator(config.lossconfig, init) : null,
      quantize: makeQuantizer(config, init),
      quant_conv: new Conv2d(ddconfig.zChannels, embedDim, 1, init),
      post_quant_conv: new Conv2d(embedDim, ddconfig.zChannels, 1, init),
    }));
    if (parts.encoder) this.encoder = parts.encoder;
    else lacks(this, "encoder", 'this model was made without its encoder; leave out the option "only"');
    if (parts.decoder) this.decoder = parts.decoder;
    else lacks(this, "decoder", 'this model was made without its decoder; leave out the option "only"');
    this.loss = parts.loss;
    this.quantize = parts.quantize;
    this.quant_conv = parts.quant_conv;
    this.post_quant_conv = parts.post_quant_conv;
  }

  /**
   * Reads a checkpoint: torch (.ckpt, .pt), safetensors, or the folder of a Flax or a diffusers model. The model may lie inside
   * a larger one, and it may have been made by another library (docs/formats.md). What the file does not say about the config
   * is guessed from the shapes of the tensors.
   *
   * @param source bytes, a Blob or an opened checkpoint; with the full package (mod.ts) also a path, a name on the Hugging
   * Face hub (`hf:owner/name`, `hf:owner/name@revision/path`) or a web address, which are downloaded once
   * @throws if the checkpoint cannot be read, holds no VQGAN, several, or one that is not whole, if its values are not finite,
   * or if a path is given to core.ts alone. Of a file that holds only one half, that half is loaded.
   * @example The published model, by its name
   * ```ts
   * import { VQGAN } from "@tessera/vqgan";
   *
   * const onProgress = (bytes: number, total: number, stage: string) => console.log(stage, bytes / total);
   * const model = await VQGAN.load("hf:boris/vqgan_f16_16384", { onProgress });
   * ```
   */
  static async load(source: CheckpointSource, options: LoadOptions = {}): Promise<VQGAN> {
    return (await loadVQGAN(source, options)).model;
  }

  /** The sizes and settings of the model. */
  get config(): VQModelConfig {
    return this.#config;
  }

  /**
   * Sets the first step at which the discriminator takes part, in the config.
   * @throws if it is not a whole number from 0 on
   */
  setDiscStart(step: number): void {
    check("setDiscStart", "the step", step, whole(0));
    this.#config = withOverrides(this.#config, { lossconfig: { discStart: step } });
  }

  /** How many tokens there are: as many as codes, unless the checkpoint has taming's remap. */
  get vocabulary(): number {
    return this.config.remap ?? this.config.nEmbed;
  }

  /** Whether the model was made without this half. */
  isWithout(half: Half): boolean {
    return !Object.keys(this).includes(half);
  }

  /** What the first optimizer trains, in taming's order: encoder, decoder, quantize, quant_conv and post_quant_conv. */
  generatorParameters(): Map<string, Tensor> {
    return new Map([...this.namedParameters()].filter(([key]) => isAutoencoder(key)));
  }

  /** The parameters that the second optimizer trains; empty without `withLoss`. */
  discriminatorParameters(): Map<string, Tensor> {
    return this.loss?.discriminator.namedParameters("loss.discriminator") ?? new Map();
  }

  /**
   * Turns a picture into tokens, in one call.
   *
   * @param source a file's bytes, a Blob or pixels; with the full package (mod.ts) also a path
   * @throws ImageError if the picture cannot be read; an Error if it has fewer pixels than a token
   * @example The tokens of a file
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
      resize: options.resize,
      enlarge: options.size !== undefined || !this.assumed.includes(resolutionField),
      multipleOf: this.factor,
    });
    return await asyncScope(async () => {
      const { width, height, pixels } = picture;
      const images = tensor(toFloats(pixels, this.range), [1, height, width, 3]);
      const { indices } = await this.encodeInTurns(images, options);
      const [, rows, columns] = indices.shape;
      return { tokens: await indices.ints(), grid: [rows, columns] };
    });
  }

  /**
   * Turns tokens into a picture, with f x f pixels for each token, in one call.
   *
   * @param grid rows and columns; may be left out if the tokens fill a square
   * @throws if the tokens do not fill the grid, or one is not in the codebook
   * @example To a file
   * ```ts
   * import { savePng, VQGAN } from "@tessera/vqgan";
   *
   * const model = await VQGAN.load("last.ckpt");
   * const { tokens, grid } = await model.tokensOf("face.jpg");
   * await savePng("again.png", await model.pictureOf(tokens, grid));
   * ```
   */
  async pictureOf(
    tokens: ArrayLike<number>,
    grid: Grid = squareOf(tokens),
    options: WatchOptions = {},
  ): Promise<Picture> {
    checkOptions("pictureOf", options, watchRules);
    return await asyncScope(async () => {
      const made = await this.decodeInTurns(tokens, grid, options);
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
   * The training pass: encoder, quantizer and decoder, with gradients.
   * @throws if the images are not [B, H, W, 3] with sides that are multiples of the factor
   */
  forward(images: Tensor): Forward {
    checkImages(images, this.factor);
    return scope(() => finish(this.forwardParts(images)));
  }

  /**
   * What `forward` computes, in parts.
   * @internal
   */
  *forwardParts(images: Tensor): Parts<Forward> {
    const latents = yield* this.latentParts(images);
    const { quantized, loss, indices } = this.quantize.call(latents);
    yield;
    const reconstruction = yield* this.decodeParts(quantized);
    return { reconstruction, codebookLoss: loss, indices, latents: latents.detach() };
  }

  /**
   * Turns pictures into tokens: `indices`, i32 [B, H/f, W/f] in raster order, and their codes, `latents`
   * [B, H/f, W/f, embedDim]. Records no gradients.
   *
   * In a model with taming's remap only some codes have a token. A vector whose nearest code has none gets that of the nearest
   * code that has one, where taming draws a token at random.
   *
   * Images with NaN have no tokens, and tokens of images with values from 0 to 255 would mean nothing. In both cases reading
   * `indices` throws; `encode` itself cannot throw, because it does not wait for the device.
   * @throws if the image size does not fit; the message has the nearest sizes that do.
   */
  encode(images: Tensor): Encoded {
    checkImages(images, this.factor);
    return noGrad(() => scope(() => finish(this.encodeParts(images))));
  }

  /**
   * `encode` in parts, between which other events run.
   * @internal
   */
  async encodeInTurns(images: Tensor, options: TurnOptions): Promise<Encoded> {
    checkImages(images, this.factor);
    const parts = () => inTurns(images.backend, this.encodeParts(images), options);
    return await noGrad(() => asyncScope(parts));
  }

  /**
   * What `encode` computes, in parts.
   * @internal
   */
  *encodeParts(images: Tensor): Parts<Encoded> {
    const power = images.square().mean();
    yield;
    const z = yield* this.latentParts(images);
    const { used } = this.quantize, codes = yield* this.quantize.encodeInParts(z);
    const indices = used ? yield* this.quantize.encodeInParts(z, used) : codes;
    doubt(indices, power.add(z.sum().mul(0)), (value) => problemOf(value, this.range)); // 0 * NaN is NaN
    return { indices, latents: this.quantize.lookup(codes) };
  }

  /**
   * Turns latents [B, h, w, embedDim] into pictures [B, f h, f w, 3], not clamped.
   *
   * Records gradients only if `grad` is true; then `backward` reaches the latents and the decoder's weights.
   * @throws if the latents have another shape
   * @example A loss for improving latents
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
   * `decodeTokens` in parts, between which other events run.
   * @internal
   */
  async decodeInTurns(
    tokens: Tensor | ArrayLike<number>,
    grid: Grid | undefined,
    options: TurnOptions,
  ): Promise<Tensor> {
    return await noGrad(() =>
      asyncScope(async () => {
        const latents = this.#codesOf(tokens, grid);
        const parts = this.decodeParts(latents);
        return await inTurns(latents.backend, parts, options);
      })
    );
  }

  /**
   * What `decode` computes, in parts.
   * @internal
   */
  decodeParts(latents: Tensor): Parts<Tensor> {
    return chain(latents, [this.post_quant_conv, this.decoder]);
  }

  /**
   * Turns tokens into pictures [B, f h, f w, 3], not clamped. Any size of grid works. Records no gradients.
   *
   * @param indices i32 [B, h, w], or any list of B * h * w tokens if `grid` = [h, w] is given
   * @example One picture of 2x2 tokens
   * ```ts
   * import { VQGAN } from "@tessera/vqgan";
   *
   * const model = await VQGAN.load("last.ckpt");
   * const picture = model.decodeTokens([12, 7, 401, 7], [2, 2]); // [1, 16, 16, 3]
   * ```
   * @throws if the tokens do not fill the grid, or one is not in the codebook. Tokens in a tensor on a GPU are not checked,
   * and one that is not in the codebook gives some code.
   */
  decodeTokens(indices: Tensor | ArrayLike<number>, grid?: Grid): Tensor {
    return noGrad(() =>
      scope(() => {
        return this.decode(this.#codesOf(indices, grid));
      })
    );
  }

  /**
   * Turns pictures [B, H, W, 3] into tokens and back, clamped to the pixel range. Records no gradients.
   * @throws as `encode` does
   */
  reconstruct(images: Tensor): Tensor {
    return scope(() => this.decode(this.encode(images).latents).clamp(this.range === "signed" ? -1 : 0, 1));
  }

  #codesOf(tokens: Tensor | ArrayLike<number>, grid: Grid | undefined): Tensor {
    return this.quantize.lookup(tokensOnGrid(tokens, grid, this.vocabulary), this.quantize.used);
  }

  /**
   * `reconstruct` in parts, between which other events run.
   * @internal
   */
  async reconstructInTurns(images: Tensor, options: TurnOptions): Promise<Tensor> {
    return await asyncScope(async () => {
      const { latents } = await this.encodeInTurns(images, options);
      const pictures = await noGrad(() => inTurns(latents.backend, this.decodeParts(latents), options));
      return pictures.clamp(this.range === "signed" ? -1 : 0, 1);
    });
  }

  /**
   * From pictures to vectors that are not quantized yet, in parts.
   * @internal
   */
  latentParts(images: Tensor): Parts<Tensor> {
    return chain(images, [this.encoder, this.quant_conv]);
  }

  #pixels(latents: Tensor): Tensor {
    return finish(this.decodeParts(latents));
  }
}

/** A model, and what was found in its file. */
export type LoadedVQGAN = Loaded<VQGAN>;

/**
 * `VQGAN.load` with a report of what was found.
 * @throws as `VQGAN.load` does, and if f16 is asked for on a device without it.
 */
export async function loadVQGAN(source: CheckpointSource, options: LoadOptions = {}): Promise<LoadedVQGAN> {
  return await loadModel(source, options, (config, build) => new VQGAN(config, null, build));
}
