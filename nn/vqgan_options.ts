// What the methods of a VQGAN take and return.
import type { Half } from "../data/formats/shapes.ts";
import { aRange, type PixelRange } from "../data/pictures/picture.ts";
import type { Resize } from "../data/pictures/decoder.ts";
import { aResize } from "../data/pictures/source.ts";
import { aSignal, flag, oneOf, type Rules, texts, whole } from "../src/check.ts";
import type { Tensor } from "../src/index.ts";

/** How a model is built. */
export interface VQGANOptions {
  /** Also build the discriminator and the perceptual network, which only training needs. Default false. */
  readonly withLoss?: boolean;
  /** What the model expects of pixels: `signed` is [-1, 1], `unit` is [0, 1]. Default `signed`. */
  readonly range?: PixelRange;
  /**
   * Builds only this half, for a model that only encodes or only decodes. At full size this saves about 120 MB, which
   * matters with large pictures. Using the other half throws.
   */
  readonly only?: Half;
  /** The fields of the config that nothing states, such as "ddconfig.resolution". Default none. */
  readonly assumed?: readonly string[];
}

/** What `encode` returns. */
export interface Encoded {
  /** The tokens, i32 [B, H/f, W/f], in raster order. */
  readonly indices: Tensor;
  /** Their codes, [B, H/f, W/f, embedDim]; with taming's remap also codes that have no token. */
  readonly latents: Tensor;
}

/** What the training pass returns. */
export interface Forward {
  /** The reconstructions, [B, H, W, 3], not clamped. */
  readonly reconstruction: Tensor;
  /** The quantizer's loss, one number. */
  readonly codebookLoss: Tensor;
  /** The tokens, i32 [B, H/f, W/f]. */
  readonly indices: Tensor;
  /** The vectors before they were replaced by codes, [B, H/f, W/f, embedDim], without gradients. */
  readonly latents: Tensor;
}

/** A picture as tokens. */
export interface Tokens {
  /** Row by row, each from 0 to `vocabulary` - 1. */
  readonly tokens: Int32Array;
  /** Rows and columns. */
  readonly grid: [rows: number, columns: number];
}

/** How `tokensOf` and `pictureOf` are watched and stopped. Other events run while they compute on the CPU. */
export interface WatchOptions {
  /** Aborting it makes the function reject with its reason, within a fraction of a second. */
  readonly signal?: AbortSignal;
}

/** How `tokensOf` resizes and crops a picture. */
export interface TokensOptions extends WatchOptions {
  /**
   * The smallest side becomes this many pixels; 0 leaves the picture as it is. Default: the model's resolution. If nothing
   * states that (see `VQGAN.assumed`), smaller pictures are not enlarged.
   */
  readonly size?: number;
  /** `center` cuts out the middle square, `none` keeps the shape. Default `center`, but `none` if the size is 0. */
  readonly crop?: "center" | "none";
  /** How the picture is decoded and shrunk; see `ReadOptions`. Default `lanczos`. */
  readonly resize?: Resize;
}

/** The rules of the options that building and loading a model share. */
export const modelRules = { withLoss: flag, range: aRange, only: oneOf("encoder", "decoder") };
/** The rules of `VQGANOptions`. */
export const buildRules: Rules<VQGANOptions> = { ...modelRules, assumed: texts };
/** The rules of `WatchOptions`. */
export const watchRules: Rules<WatchOptions> = { signal: aSignal };
/** The rules of `TokensOptions`. */
export const tokensRules: Rules<TokensOptions> = {
  ...watchRules,
  ...{ size: whole(0), crop: oneOf("center", "none"), resize: aResize },
};
