// Makes the quantizer that a config asks for. No other place decides which kind a model has.
import type { VQModelConfig } from "../../data/formats/config.ts";
import type { Init } from "../init.ts";
import { GumbelQuantizer } from "./gumbel_quantizer.ts";
import type { Quantizer } from "./quantizer.ts";
import { VectorQuantizer } from "./vector_quantizer.ts";

export function makeQuantizer(config: VQModelConfig, init: Init): Quantizer {
  const { nEmbed, embedDim, quantizer, remap, beta, legacyBeta } = config;
  if (quantizer === "gumbel") return new GumbelQuantizer(nEmbed, embedDim, init, remap);
  return new VectorQuantizer(
    nEmbed,
    embedDim,
    { beta, legacyBeta, normalized: quantizer === "normalized", remap },
    init,
  );
}
