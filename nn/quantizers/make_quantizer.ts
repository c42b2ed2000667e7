// Makes the quantizer that a config asks for. No other place decides which kind a model has.
import type { VQModelConfig } from "../../data/formats/config.ts";
import type { Init } from "../init.ts";
import type { Quantizer } from "./quantizer.ts";
import { VectorQuantizer } from "./vector_quantizer.ts";

export function makeQuantizer(config: VQModelConfig, init: Init): Quantizer {
  return new VectorQuantizer(config.nEmbed, config.embedDim, config, init);
}
