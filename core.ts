/**
 * Everything that runs anywhere, also in a web page: it needs no disk, no process and no native package, and loads nothing
 * before it is needed. Checkpoints are given as bytes or Blobs, pictures as pixels. `mod.ts` has all of this, and the parts
 * that use the disk.
 *
 * @example A picture on a canvas to tokens and back, in a page
 * ```ts
 * import { toRgba, VQGAN } from "@tessera/vqgan/core";
 *
 * async function again(file: File, image: ImageData): Promise<ImageData> {
 *   const model = await VQGAN.load(file);
 *   const { tokens, grid } = await model.tokensOf(image, { size: 0 });
 *   const { data, width } = toRgba(await model.pictureOf(tokens, grid));
 *   return new ImageData(data, width);
 * }
 * ```
 *
 * @module
 */

/** Tensors [.., H, W, C] with numpy's broadcasting, and the scopes that free them. */
export {
  asyncScope,
  type DType,
  full,
  keep,
  memory,
  type MemoryUse,
  ones,
  type Operand,
  OutOfMemoryError,
  type Owned,
  type Parts,
  resetPeakBytes,
  scope,
  type Shape,
  Tensor,
  tensor,
  type TensorOptions,
  type TypedArray,
  type Values,
  zeros,
} from "./src/index.ts";

/** Gradients: `backward` leaves them in `.grad` of leaves, `grad` returns chosen ones; `record` is for your own operations. */
export {
  backward,
  checkpoint,
  grad,
  type GradOptions,
  isGradEnabled,
  noGrad,
  type Recompute,
  record,
  type Vjp,
} from "./src/index.ts";

/** Operations as functions; most are also methods of Tensor. */
export * from "./src/ops/index.ts";
export type { AdamSpec } from "./src/index.ts";

/** Random numbers that depend only on seed and position, and the choice of the device. */
export {
  type Backend,
  currentBackend,
  device,
  type DeviceName,
  type DeviceOptions,
  Random,
  type RandomState,
} from "./src/index.ts";

/** The model and its parts, under taming's names. */
export {
  type Autoencoder,
  type Captured,
  captureOutputs,
  Codebook,
  CodebookMap,
  CodebookUsage,
  Conv2d,
  type Conv2dLayerOptions,
  Decoder,
  type DistanceOptions,
  type Encoded,
  Encoder,
  type Forward,
  type Grid,
  GroupNorm,
  GumbelQuantizer,
  type Half,
  type Init,
  Layer,
  LPIPS,
  Module,
  type Neighbour,
  NLayerDiscriminator,
  type NLayerDiscriminatorOptions,
  type Patch,
  type Precision,
  type Quantized,
  Quantizer,
  type QuantizerKind,
  quantizerNames,
  type QuantizerPass,
  registerQuantizer,
  setPrecision,
  tamingPass,
  type Tokens,
  type TokensOptions,
  VectorQuantizer,
  type VectorQuantizerOptions,
  VQGAN,
  type VQGANOptions,
  VQLPIPSWithDiscriminator,
  type WatchOptions,
} from "./nn/index.ts";

/** The face network: finding a face, aligning it, and comparing two. */
export {
  type Box,
  type DescribedFace,
  type Detection,
  type Face,
  faceDistance,
  type FaceFile,
  type FaceFiles,
  faceFiles,
  FaceNetwork,
  type Identity,
  type Point,
  samePerson,
} from "./nn/index.ts";

/** The network of the FID, and the Fréchet distance's features. */
export { Inception, loadInception } from "./nn/index.ts";

/** The config of a model, and how it is found in a checkpoint or guessed from it. */
export {
  type AttentionOrder,
  type DDConfig,
  factorOf,
  type LossConfig,
  preset,
  type PresetName,
  type QuantizerOption,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "./data/formats/config.ts";
export { type ConfigGuess, type FoundLoss, type Guessable, guessConfig } from "./data/formats/guess.ts";
export type { Shapes } from "./data/formats/shapes.ts";

/** Loading weights into models, with a report of what was in the file. */
export {
  type Filled,
  formatLoadReport,
  type FoundPerceptual,
  type Loaded,
  type LoadedVQGAN,
  type LoadOptions,
  loadPerceptual,
  type LoadReport,
  loadVQGAN,
  type PerceptualFiles,
  type PerceptualNet,
  perceptualNetworksIn,
} from "./nn/index.ts";

/** One training step, as a whole and in its parts: computing the gradients of a network, and applying them. */
export {
  discriminatorStep,
  type GeneratorStep,
  generatorStep,
  type LossFactors,
  type StepOptions,
  type StepResult,
  trainingStep,
  type TrainingStepOptions,
} from "./train/step.ts";
export type { Logs } from "./train/logs.ts";
export { applyGradients, makeOptimizers, type Network, type Optimizers } from "./train/optimizers.ts";
export { Gan } from "./train/gan/gan.ts";
export { LeCam } from "./train/gan/lecam.ts";
export type { GanTerms } from "./train/gan/options.ts";
export { validationStep } from "./train/validation_step.ts";

/** Training without a run folder: both networks with their optimizers, and measurements. */
export type { UpdateOptions } from "./train/optimizer_options.ts";
export { clipGradients } from "./train/clip.ts";
export { WeightAverages } from "./train/ema.ts";
export { type PartName, trainOnly } from "./train/parts.ts";
export { Adam, type AdamOptions, type Moments } from "./train/adam.ts";
export type { CodeLearning } from "./train/codebook/learning.ts";
export { type CodebookOptions, type CodebookTraining, defaultCodebook } from "./train/codebook/options.ts";
export { DeadCodeRestart, type RestartOptions } from "./train/codebook/restart.ts";
export { CodeUsage, type RecentUsage } from "./train/codebook/usage.ts";
export { psnr, ssim } from "./train/metrics.ts";
export { learningRate, type Schedule } from "./train/schedule.ts";
export type { Json, TrainState } from "./train/train_state.ts";
export { IdentityLoss, type IdentityTerm } from "./train/identity.ts";
export { oneRank, type Ranks } from "./train/distributed/ranks.ts";
export { Trainer, type TrainerOptions } from "./train/trainer.ts";

/** Reading checkpoints from bytes: torch, safetensors and Flax. No code in them is executed, and tensors are read on demand. */
export type { CheckpointFile, FileContents, ModelChoice, SettingsBeside } from "./data/formats/file.ts";
export type { Family, Keys, ModelKind } from "./data/formats/families/family.ts";
export { type FoundModel, type NoModel, SeveralModelsError } from "./data/formats/find_model.ts";
export {
  formatInspectReport,
  formatTensors,
  inspect,
  type InspectReport,
  type OptimizerReport,
  type PartReport,
  type TensorReport,
} from "./data/formats/inspect.ts";
export type { CheckpointSource, LoadStage, OpenOptions } from "./data/formats/opener.ts";
export { readCheckpoint } from "./data/formats/read.ts";
export { blobSource, FormatError, memorySource, type RandomAccess } from "./data/formats/source.ts";
export type { StoredDType, StoredTensor, StoredValues } from "./data/formats/stored_tensor.ts";
export {
  type AdamSettings,
  type AdamState,
  type StoredMoments,
  type TrainingState,
  trainingState,
} from "./data/formats/training.ts";

/** Writing checkpoints to a sink of bytes. */
export { writeFlaxTo } from "./data/formats/flax/write.ts";
export { writeSafetensorsTo } from "./data/formats/safetensors.ts";
export type { Sink } from "./data/formats/sink.ts";
export { OrderedDict, type Pickleable, Tuple } from "./data/formats/torch/pickle_write.ts";
export { type WeightsOptions, writeWeightsTo } from "./train/weights.ts";
export { writeTorchTo } from "./data/formats/torch/write.ts";
export type { TensorToWrite, WrittenDType } from "./data/formats/values.ts";

/** Pictures as pixels, and cartoon faces for trying things out, as SVG. */
export { cartoonFaceSvg, cartoonViewBox } from "./data/figures/cartoon_svg.ts";
export {
  cropPicture,
  flipPicture,
  fromRgba,
  Picture,
  type PixelRange,
  type RgbaPixels,
  toFloats,
  toPictures,
  toPixels,
  toRgba,
} from "./data/pictures/picture.ts";
/** Random changes of pictures, for training. */
export { type Augment, augmented, augmentedSide, augmentStrengths } from "./data/pictures/augment.ts";
export type { Resize } from "./data/pictures/decoder.ts";
export { type PictureSource, readImage, type ReadOptions } from "./data/pictures/source.ts";
export { ImageError } from "./data/pictures/image_error.ts";
