// taming-transformers' own names, under which everything here works. latent-diffusion (which may have no attention in the
// middle), open-muse and Chameleon use the same. A file may hold only one half: a decoder, or an encoder.
import { coderLandmarks, type Family } from "./family.ts";

/** It is asked last, so that a VQGAN with parts missing is one of these, and loading names the parts. */
export const taming: Family = {
  name: "taming's VQModel",
  landmarks: coderLandmarks,
  isOne: (keys) =>
    coderLandmarks.some((key) => keys.has(key)) &&
    (keys.has("quantize.embedding.weight") || keys.has("quantize.embed.weight")),
  read: (tensors) => new Map(tensors),
};
