// The networks that training needs in addition to the autoencoder, under taming's keys `loss.*`. train/step.ts uses them.
import type { LossConfig } from "../data/formats/config.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import type { Init } from "./init.ts";
import { LPIPS } from "./lpips.ts";
import { Module } from "./module.ts";

/** The discriminator and the perceptual network of a model in training (taming's class of this name). */
export class VQLPIPSWithDiscriminator extends Module {
  /** The perceptual network; null if perceptualWeight is 0. */
  readonly perceptual_loss: LPIPS | null;
  /** Learns to tell real pictures from reconstructions. */
  readonly discriminator: NLayerDiscriminator;

  /** The networks for these losses. LPIPS has no weights yet. */
  constructor(config: LossConfig, init: Init) {
    super();
    this.perceptual_loss = config.perceptualWeight === 0 ? null : new LPIPS(config.perceptualNet);
    this.discriminator = new NLayerDiscriminator(
      { ndf: config.discNdf, numLayers: config.discNumLayers },
      init,
    );
  }
}
