// LlamaGen's tokenizer (Sun et al. 2024), also used by Janus: taming's network with lists of blocks, and codes of unit
// length.
import { coderLandmarks, countBelow, type Family, fromOtherEnd, type NamePairs, toTaming } from "./family.ts";

const names: NamePairs = [
  ["encoder.conv_blocks", "encoder.down"],
  ["decoder.conv_blocks", "decoder.up"],
  ["res", "block"],
  ["mid.0", "mid.block_1"],
  ["mid.1", "mid.attn_1"],
  ["mid.2", "mid.block_2"],
];

/** The last 65,536 tokens of its training, which only its own statistics need. */
const statistics = "quantize.codebook_used";

export const llamaGen: Family = {
  name: "LlamaGen's VQModel",
  landmarks: coderLandmarks,
  isOne: (keys) =>
    (keys.has("encoder.conv_blocks.0.res.0.conv1.weight") ||
      keys.has("decoder.conv_blocks.0.res.0.conv1.weight")) &&
    keys.has("quantize.embedding.weight"),
  read(tensors) {
    const levels = countBelow(tensors.keys(), "decoder.conv_blocks.");
    return new Map(
      [...tensors].filter(([key]) => key !== statistics).map(([key, t]) => [
        fromOtherEnd(toTaming(key, names), levels),
        t,
      ]),
    );
  },
  // its only published kind; beta scales the commitment term, as in the paper
  config: { quantizer: "normalized", beta: 0.25, legacyBeta: false },
};
