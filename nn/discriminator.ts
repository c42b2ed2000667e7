// The discriminator, a PatchGAN (Isola et al. 2017). It learns to tell real pictures from reconstructions. For each of many
// overlapping patches of a picture it returns a logit, a number that is high where the patch looks real.
import { checkOptions, needed, whole } from "../src/check.ts";
import type { Tensor } from "../src/index.ts";
import type { Init } from "./init.ts";
import { BatchNorm2d, Conv2d, LeakyReLU, Sequential } from "./layers.ts";
import { Layer } from "./module.ts";

/** The standard deviation of initial weights: N(0, 0.02), and N(1, 0.02) for batch norm. Biases have torch's default. */
const STD = 0.02;

/** What a discriminator is made of. */
export interface NLayerDiscriminatorOptions {
  /** Channels of the first layer. Each further layer doubles them, up to eight times as many. */
  readonly ndf: number;
  /** Layers with batch norm. */
  readonly numLayers: number;
}

/**
 * Images [B, H, W, 3] to logits [B, h, w, 1]. `numLayers` is the number of layers with batch norm. With 2, a logit sees a
 * patch of 34x34 pixels, and a picture of 256x256 has 62x62 logits; with 3 it sees 70x70, and there are 30x30 logits.
 */
export class NLayerDiscriminator extends Layer {
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
  }

  /** The logits of images. */
  protected override forward(images: Tensor): Tensor {
    return this.main.call(images);
  }
}
