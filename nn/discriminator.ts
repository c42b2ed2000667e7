// PatchGAN discriminator (Isola et al. 2017): one logit for each overlapping patch of the picture.
import { checkOptions, needed, whole } from "../src/check.ts";
import type { Tensor } from "../src/index.ts";
import type { Init } from "./init.ts";
import { BatchNorm2d, Conv2d, LeakyReLU, Sequential } from "./layers.ts";
import { Layer } from "./module.ts";

/** Initial weights are N(0, 0.02), of batch norm N(1, 0.02); biases keep torch's default. */
const STD = 0.02;

/** What a discriminator is made of. */
export interface NLayerDiscriminatorOptions {
  /** Channels of the first layer; each layer doubles them, up to eight times as many. */
  readonly ndf: number;
  /** Layers with batch norm. */
  readonly numLayers: number;
}

/**
 * Images [B, H, W, 3] to logits [B, h, w, 1]. `numLayers` counts the normalised layers: 2 see patches of 34 pixels
 * (62x62 logits at 256x256), 3 see 70 (30x30).
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
