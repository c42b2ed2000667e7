// The spaces of features in which Fréchet distances are measured, each with its network, and what is to be said about it.
import type { Inception } from "../../nn/inception/inception.ts";
import type { LPIPS } from "../../nn/index.ts";
import { scope, type Tensor } from "../../src/index.ts";

/** A network that turns pictures into features. */
export interface FeatureSpace {
  /** Its short name, such as "inception". */
  readonly name: string;
  /** The network and how pictures are prepared for it. */
  readonly words: string;
  /** How many numbers a feature has. */
  readonly size: number;
  /** The features, [B, size]. @param images [B, H, W, 3] in [-1, 1] */
  call(images: Tensor): Tensor;
}

/** Inception's 2,048 averaged features, as the usual FID has them. */
export function inceptionSpace(network: Inception): FeatureSpace {
  return {
    name: "inception",
    words:
      "Inception (2015-12-05, the usual FID weights), 2,048 averaged features, resized to 299x299 bilinearly " +
      "without antialiasing as pytorch-fid does",
    size: 2048,
    call: (images) => network.call(images),
  };
}

/** The last features of SqueezeNet, averaged over the picture. */
export function squeezeSpace(network: LPIPS): FeatureSpace {
  return {
    name: "squeeze",
    words: "SqueezeNet 1.1, its last 512 features averaged, at the pictures' own size",
    size: 512,
    call: (images) => scope(() => network.features(images).at(-1)!.mean([1, 2])),
  };
}

/** How many numbers the face network has for a face. */
export const faceSize = 128;
export const faceWords =
  "the face network's 128 numbers of an aligned face, of the pictures with a face on both sides";
