// The networks: what mod.ts and the trainer import.
export { type Captured, captureOutputs } from "./capture.ts";
export { Decoder } from "./decoder.ts";
export { NLayerDiscriminator } from "./discriminator.ts";
export { Encoder } from "./encoder.ts";
export { loadPerceptual, type PerceptualFiles } from "./fill.ts";
export { type DistanceOptions, LPIPS } from "./lpips.ts";
export { Layer, type LoadReport, Module } from "./module.ts";
export { type Precision } from "./layers.ts";
export { setPrecision } from "./precision.ts";
export { CodebookUsage } from "./quantizers/codebook_usage.ts";
export { type Quantized, Quantizer } from "./quantizers/quantizer.ts";
export { VectorQuantizer } from "./quantizers/vector_quantizer.ts";
export { VQLPIPSWithDiscriminator } from "./vq_lpips_with_discriminator.ts";
export {
  type Forward,
  type Half,
  type LoadedVQGAN,
  type LoadOptions,
  loadVQGAN,
  VQGAN,
  type VQGANOptions,
} from "./vqgan.ts";
