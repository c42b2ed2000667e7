// min-dalle's detokenizer (kuprel, detoker.pt): the decoder half of DALL-E mini's VQGAN, with the codebook outside a
// quantizer.
import { type Family, toTaming } from "./family.ts";

export const minDalle: Family = {
  name: "min-dalle's detokenizer",
  landmarks: ["decoder.conv_out.weight"],
  isOne: (keys) => keys.has("decoder.up.0.block.0.conv1.weight") && keys.has("embedding.weight"),
  read: (tensors) =>
    new Map([...tensors].map(([key, t]) => [toTaming(key, [["embedding", "quantize.embedding"]]), t])),
};
