// Models that are no VQGAN, or not only one, and that people have beside VQGANs. They are recognised only to be named.
import { coderLandmarks, type Keys, type Stranger } from "./family.ts";

const any = (keys: Keys, ...names: string[]) => names.some((name) => keys.has(name));
const all = (keys: Keys, ...names: string[]) => names.every((name) => keys.has(name));

/** A stranger that is recognised by one of a few keys, which no other model has. */
function known(name: string, landmarks: readonly string[], reason: string): Stranger {
  return { name, landmarks, isOne: (keys) => any(keys, ...landmarks), reason };
}

const transformer = "it is a transformer, and only convolutional networks are built here";

/** Whether there is an encoder or a decoder of a convolutional autoencoder. */
const hasCoder = (keys: Keys) => any(keys, ...coderLandmarks);

const hasCodebook = (keys: Keys) =>
  any(keys, "quantize.embedding.weight", "quantize.embed.weight", "embedding.weight");

/** In their order of recognition: special ones before those that are known by what they lack. */
export const strangers: readonly Stranger[] = [
  {
    name: "MoVQ",
    landmarks: coderLandmarks,
    isOne: (keys) =>
      any(
        keys,
        ...["decoder.conv_norm_out.conv_y.weight", "decoder.norm_out.conv_y.weight"],
        ...["decoder.conv_norm_out.norm_layer.weight", "decoder.norm_out.norm_layer.weight"],
      ),
    reason: "the norms of its decoder also take the quantized vectors, and such norms are not built here",
  },
  {
    name: "VQSegmentationModel of taming, or a VQGAN of other maps",
    landmarks: coderLandmarks,
    isOne: (keys) => {
      const channels = keys.shape("encoder.conv_in.weight")?.[1] ??
        keys.shape("decoder.conv_out.weight")?.[0];
      return channels !== undefined && channels !== 3;
    },
    reason: "its pictures do not have 3 channels",
  },
  {
    name: "VAR's multi-scale VQVAE",
    landmarks: coderLandmarks,
    isOne: (keys) => any(keys, "quantize.quant_resi.qresi_ls.0.weight", "quantize.ema_vocab_hit_SV"),
    reason: "it makes tokens at several scales",
  },
  {
    name: "SimVQ",
    landmarks: coderLandmarks,
    isOne: (keys) => keys.has("quantize.embedding_proj.weight"),
    reason: "its codes pass through a linear layer",
  },
  {
    name: "RQ-VAE",
    landmarks: coderLandmarks,
    isOne: (keys) => keys.has("quantizer.codebooks.0.weight"),
    reason: "it makes several tokens for each place",
  },
  {
    name: "MaskGIT's VQGAN in torch",
    landmarks: coderLandmarks,
    isOne: (keys) =>
      any(keys, "encoder.mid.0.norm1.weight", "decoder.mid.0.norm1.weight") &&
      !any(keys, "encoder.mid.1.q.weight", "decoder.mid.1.q.weight"),
    reason: "its network is another one, without biases and without quant_conv",
  },
  {
    name: "Open-MAGVIT2, or another tokenizer with its network",
    landmarks: coderLandmarks,
    isOne: (keys) => any(keys, "encoder.mid_block.0.conv1.weight", "decoder.mid_block.0.conv1.weight"),
    reason: "its network is another one, and its codes are bits",
  },
  known("MaskGIT's VQGAN", ["encoder.ResBlock_0.Conv_0.weight"], "its network is another one"),
  known(
    "ViT-VQGAN",
    ["encoder.to_patch_embedding.0.weight", "decoder.to_pixel.1.weight", "pre_quant.weight"],
    transformer,
  ),
  known("TiTok", ["latent_tokens", "decoder.mask_token"], transformer),
  known("OpenAI's dVAE of DALL-E", ["blocks.input.w"], "its network is another one"),
  {
    name: "DALLE-pytorch's DiscreteVAE",
    landmarks: ["codebook.weight"],
    isOne: (keys) => all(keys, "codebook.weight", "decoder.0.weight"),
    reason: "its network is another one",
  },
  known("CodeFormer, or its VQGAN", ["generator.blocks.0.weight"], "its network is another one"),
  known("VQ-VAE-2", ["quantize_t.embed"], "it makes tokens at two scales"),
  known("Paella's VQGAN", ["vquantizer.codebook.weight"], "its network is another one"),
  {
    name: "AutoencoderKL, a KL autoencoder",
    landmarks: coderLandmarks,
    isOne: (keys) =>
      hasCoder(keys) && !hasCodebook(keys) &&
      (any(keys, "encoder.mid.block_1.conv1.weight", "encoder.mid_block.resnets.0.conv1.weight") ||
        any(keys, "decoder.mid.block_1.conv1.weight", "decoder.mid_block.resnets.0.conv1.weight")),
    reason: "it has no codebook, and so no tokens",
  },
];
