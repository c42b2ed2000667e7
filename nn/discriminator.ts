// The discriminator, a PatchGAN (Isola et al. 2017). It learns to tell real pictures from reconstructions. For each of many
// overlapping patches of a picture it returns a logit, a number that is high where the patch looks real.
import { checkOptions, needed, whole } from "../src/check.ts";
import { scope, type Tensor } from "../src/index.ts";
import { finish } from "../src/parts.ts";
import type { Init } from "./init.ts";
import { BatchNorm2d, Conv2d, LeakyReLU, Sequential } from "./layers.ts";
import { inEvaluation, Layer } from "./module.ts";
import { linearMap, mapAxesOfAll } from "./resample.ts";

/** The standard deviation of initial weights: N(0, 0.02), and N(1, 0.02) for batch norm. Biases have torch's default. */
const STD = 0.02;

/** What a discriminator is made of. */
export interface NLayerDiscriminatorOptions {
  /** Channels of the first layer. Each further layer doubles them, up to eight times as many. */
  readonly ndf: number;
  /** Layers with batch norm. */
  readonly numLayers: number;
}

/** The square of pixels that a logit sees: in row (or column) i it begins at `start + i * stride`. */
export interface Patch {
  /** Its side. */
  readonly size: number;
  /** From one patch to the next. */
  readonly stride: number;
  /** The first pixel of the first patch, which lies outside of the picture. */
  readonly start: number;
}

/**
 * Images [B, H, W, 3] to logits [B, h, w, 1]. `numLayers` is the number of layers with batch norm. With 2, a logit sees a
 * patch of 34x34 pixels, and a picture of 256x256 has 62x62 logits; with 3 it sees 70x70, and there are 30x30 logits.
 */
export class NLayerDiscriminator extends Layer {
  /** The patch of pixels that a logit sees. */
  readonly patch: Patch;
  /**
   * Convolutions, batch norms and leaky ReLUs in a row.
   * @internal
   */
  readonly main: Sequential;

  /** A network with new weights. @throws if the channels or layers are not whole numbers above 0 */
  constructor(options: NLayerDiscriminatorOptions, init: Init) {
    super();
    checkOptions("NLayerDiscriminator", options, { ndf: needed(whole(1)), numLayers: needed(whole(1)) });
    const { ndf, numLayers } = options;
    const layers: Layer[] = [
      new Conv2d(3, ndf, 4, init, { stride: 2, padding: 1, std: STD }),
      new LeakyReLU(),
    ];
    let channels = ndf;
    for (let n = 1; n <= numLayers; n++) {
      const next = ndf * Math.min(2 ** n, 8);
      const stride = n === numLayers ? 1 : 2;
      layers.push(
        new Conv2d(channels, next, 4, init, { stride, padding: 1, bias: false, std: STD }),
        new BatchNorm2d(next, init, STD),
        new LeakyReLU(),
      );
      channels = next;
    }
    layers.push(new Conv2d(channels, 1, 4, init, { padding: 1, std: STD }));
    this.main = new Sequential(layers);
    this.patch = patchOf(numLayers);
  }

  /** The logits of images. */
  protected override forward(images: Tensor): Tensor {
    return this.main.call(images);
  }

  /**
   * The logits as a picture, [B, H, W]: at the middle of a patch its logit, and bilinearly between. It shows where the
   * discriminator takes a picture for real. It is computed in evaluation mode, so that no picture is judged by comparison with
   * others.
   *
   * @param images [B, H, W, 3]
   * @example The score of each pixel
   * ```ts
   * import { noGrad, type Tensor, type VQGAN } from "@tessera/vqgan/core";
   *
   * async function scores(model: VQGAN, images: Tensor): Promise<Float32Array> {
   *   const map = noGrad(() => model.loss!.discriminator.map(images)); // for a model that was loaded with { withLoss: true }
   *   return await map.floats(); // row by row
   * }
   * ```
   */
  map(images: Tensor): Tensor {
    return scope(() => {
      const logits = finish(inEvaluation(this, this.parts(images))), [count, height, width] = images.shape;
      const { size, stride, start } = this.patch, middle = start + size / 2;
      const [rows, columns] = [height, width].map((to, axis) =>
        linearMap(logits.shape[1 + axis], to, (i) => (i + 0.5 - middle) / stride)
      );
      return mapAxesOfAll(logits, rows, columns).reshape(count, height, width);
    });
  }
}

/** The patch for a number of layers with batch norm: all convolutions are 4x4 with padding 1, and the last two have stride 1. */
function patchOf(numLayers: number): Patch {
  let size = 1, stride = 1, start = 0;
  for (let n = 0; n < numLayers + 2; n++) {
    size += 3 * stride;
    start -= stride;
    if (n < numLayers) stride *= 2;
  }
  return { size, stride, start };
}
