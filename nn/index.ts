// The public names of the networks, for mod.ts and train/.
export { type Captured, captureOutputs } from "./capture.ts";
export { type Cost, costOfDecoding, costOfEncoding } from "./cost.ts";
export { Decoder } from "./decoder.ts";
export { NLayerDiscriminator, type NLayerDiscriminatorOptions, type Patch } from "./discriminator.ts";
export { Encoder } from "./encoder.ts";
export type { Box, Detection, Point } from "./face/boxes.ts";
export {
  type DescribedFace,
  type Face,
  faceDistance,
  type FaceFile,
  type FaceFiles,
  faceFiles,
  FaceNetwork,
  type Identity,
  samePerson,
} from "./face/face_network.ts";
export { Inception } from "./inception/inception.ts";
export { loadInception } from "./inception/load.ts";
export type { Grid } from "./images_and_tokens.ts";
export type { Init } from "./init.ts";
export type { Filled, Loaded, LoadOptions } from "./loading.ts";
export type { Half } from "../data/formats/shapes.ts";
export { type DistanceOptions, LPIPS, type PerceptualNet } from "./lpips.ts";
export { formatLoadReport, Layer, type LoadReport, Module } from "./module.ts";
export { Conv2d, type Conv2dLayerOptions, GroupNorm, type Precision } from "./layers.ts";
export { loadPerceptual, type PerceptualFiles } from "./perceptual_files.ts";
export { type FoundPerceptual, perceptualNetworksIn } from "./perceptual_search.ts";
export { type Autoencoder, setPrecision } from "./precision.ts";
export { CodebookMap, type Neighbour } from "./quantizers/codebook_map.ts";
export { CodebookUsage } from "./quantizers/codebook_usage.ts";
export { GumbelQuantizer } from "./quantizers/gumbel_quantizer.ts";
export {
  Codebook,
  type Quantized,
  Quantizer,
  type QuantizerKind,
  type QuantizerPass,
  tamingPass,
} from "./quantizers/quantizer.ts";
export { quantizerNames, registerQuantizer } from "./quantizers/registry.ts";
export { VectorQuantizer, type VectorQuantizerOptions } from "./quantizers/vector_quantizer.ts";
export { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";
export { type LoadedVQGAN, loadVQGAN, VQGAN } from "./vqgan.ts";
export type { Encoded, Forward, Tokens, TokensOptions, VQGANOptions, WatchOptions } from "./vqgan_options.ts";
