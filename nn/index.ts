// The networks: what mod.ts and the trainer import.
export {
  type AttentionOrder,
  type DDConfig,
  factorOf,
  type LossConfig,
  preset,
  type PresetName,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "../data/formats/config.ts";
export { Decoder } from "./decoder.ts";
export { NLayerDiscriminator } from "./discriminator.ts";
export { Encoder } from "./encoder.ts";
export { loadPerceptual, type PerceptualFiles } from "./fill.ts";
export {
  discriminatorStep,
  type GeneratorStep,
  generatorStep,
  type Logs,
  type StepOptions,
  validationStep,
  VQLPIPSWithDiscriminator,
} from "./losses.ts";
export { type DistanceOptions, LPIPS } from "./lpips.ts";
export { Layer, Module } from "./module.ts";
export { type Precision } from "./layers.ts";
export { setPrecision } from "./precision.ts";
export { CodebookUsage, type Quantized, VectorQuantizer } from "./quantizer.ts";
export { formatReport, type LoadReport } from "./state.ts";
export {
  type Forward,
  type Half,
  type LoadedVQGAN,
  type LoadOptions,
  loadVQGAN,
  VQGAN,
  type VQGANOptions,
} from "./vqgan.ts";
