// A small model, which needs only milliseconds for a training step.
import { type LossConfig, preset, type VQModelConfig } from "../../data/formats/config.ts";

/** A config with 16 codes of 32 numbers, a token for each 2x2 pixels, and a shallow discriminator. */
export function smallConfig(lossconfig: Partial<LossConfig>): VQModelConfig {
  return preset("faces", {
    embedDim: 32,
    nEmbed: 16,
    ddconfig: { ch: 32, chMult: [1, 1], resolution: 16, attnResolutions: [8], zChannels: 32 },
    lossconfig: { discNdf: 8, discNumLayers: 1, ...lossconfig },
  });
}
