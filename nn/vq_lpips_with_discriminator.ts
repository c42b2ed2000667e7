// The networks that training needs beside the autoencoder, under taming's keys `loss.*`. How a step uses them is written
// in train/step.ts.
import type { LossConfig } from "../data/formats/config.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import type { Init } from "./init.ts";
import { LPIPS } from "./lpips.ts";
import { Module } from "./module.ts";

/** Discriminator and perceptual network of a model that is to be trained (taming's class of this name). */
export class VQLPIPSWithDiscriminator extends Module {
  /** null at perceptualWeight 0. */
  readonly perceptual_loss: LPIPS | null;
  /** Tells pictures from reconstructions. */
  readonly discriminator: NLayerDiscriminator;

  /** Networks for these losses. LPIPS has no weights yet. */
  constructor(config: LossConfig, init: Init) {
    super();
    this.perceptual_loss = config.perceptualWeight === 0 ? null : new LPIPS(config.perceptualNet);
    this.discriminator = new NLayerDiscriminator(
      { ndf: config.discNdf, numLayers: config.discNumLayers },
      init,
    );
  }
}
