/**
 * Tessera: VQGAN in TypeScript. Pictures become grids of tokens and pictures again; models are loaded from the published
 * checkpoints, and fine-tuned.
 *
 * @example Pictures to tokens and back
 * ```ts
 * import { asyncScope, readImage, savePng, tensor, toFloats, toPictures, VQGAN } from "tessera";
 *
 * const model = await VQGAN.load("last.ckpt");
 * const { height, width, pixels } = await readImage("face.jpg", { size: 256 });
 * await asyncScope(async () => {
 *   const { indices } = model.encode(tensor(toFloats(pixels), [1, height, width, 3]));
 *   console.log(await indices.ints()); // 16 x 16 tokens
 *   const made = model.decodeTokens(indices);
 *   const [picture] = toPictures(await made.floats(), made.shape);
 *   await savePng("again.png", picture);
 * });
 * ```
 *
 * @example Fine-tuning
 * ```ts
 * import { beginRun, defaultOptions, train } from "tessera";
 *
 * const run = await beginRun({
 *   start: { from: "last.ckpt" },
 *   perceptual: "inside",
 *   options: { ...defaultOptions, data: ["faces/"], steps: 1000, lr: 4.5e-6, name: "faces" },
 *   out: "runs",
 * });
 * const { checkpoint } = await train(run, { monitor: { update() {}, log: console.log } });
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
  ones,
  resetPeakBytes,
  scope,
  type Shape,
  Tensor,
  tensor,
  type TypedArray,
  zeros,
} from "./src/index.ts";

/** Gradients: into `.grad` of leaves, or of chosen outputs with respect to chosen inputs. */
export { backward, checkpoint, grad, isGradEnabled, noGrad } from "./src/index.ts";

/** Operations as functions; most are methods of Tensor too. */
export {
  abs,
  add,
  attention,
  batchNorm,
  cast,
  clamp,
  concat,
  conv2d,
  div,
  dropout,
  embedding,
  exp,
  expand,
  groupNorm,
  leakyRelu,
  log,
  lpipsDistance,
  matmul,
  maximum,
  maxPool2d,
  mean,
  minimum,
  mul,
  nearestCode,
  neg,
  permute,
  relu,
  reshape,
  sigmoid,
  slice,
  softmax,
  softplus,
  sqrt,
  square,
  sub,
  sum,
  swish,
  tanh,
} from "./src/ops/index.ts";

/** Random numbers that depend on seed and position alone, and the device that computes. */
export { currentBackend, device, type DeviceName, Random, type RandomState } from "./src/index.ts";

/** The model and its parts, under taming's names. */
export {
  type AttentionOrder,
  type Captured,
  captureOutputs,
  CodebookUsage,
  type DDConfig,
  Decoder,
  type DistanceOptions,
  Encoder,
  factorOf,
  type Forward,
  type Half,
  Layer,
  type LossConfig,
  LPIPS,
  Module,
  NLayerDiscriminator,
  type PixelRange,
  preset,
  type PresetName,
  type Quantized,
  Quantizer,
  VectorQuantizer,
  VQGAN,
  type VQGANOptions,
  VQLPIPSWithDiscriminator,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "./nn/index.ts";

/** Weights into models, with an account of what a file had. */
export {
  type LoadedVQGAN,
  type LoadOptions,
  loadPerceptual,
  type LoadReport,
  loadVQGAN,
  type PerceptualFiles,
} from "./nn/index.ts";

/** Checkpoint files: torch, safetensors and Flax, opened without executing or loading anything; written; converted. */
export {
  type CheckpointFile,
  convertCheckpoint,
  type ConvertOptions,
  FormatError,
  formatReport,
  formatTensors,
  guessConfig,
  hashFile,
  inspect,
  type InspectReport,
  openCheckpoint,
  OrderedDict,
  type Pickleable,
  type StoredDType,
  type StoredTensor,
  type TensorToWrite,
  type TrainingState,
  trainingState,
  Tuple,
  writeFlax,
  writeSafetensors,
  writeTorch,
} from "./data/formats/index.ts";

/** Pictures in and out, sheets of them, and curves. */
export {
  codeColor,
  cropPicture,
  encodePng,
  flipPicture,
  grid,
  type GridOptions,
  ImageError,
  type Panel,
  type Picture,
  plotCurves,
  type PlotOptions,
  readImage,
  type ReadOptions,
  savePng,
  type Series,
  sideBySide,
  toFloats,
  tokenGrid,
  type TokenGridOptions,
  toPictures,
  toPixels,
} from "./data/index.ts";

/** Sets of pictures in seeded, resumable batches; cartoon faces to try things with; a progress line. */
export {
  type Batch,
  type DatasetOptions,
  drawCartoonFace,
  ImageDataset,
  listImages,
  Progress,
  type ProgressOptions,
  Sampler,
  type SamplerState,
  writeCartoonFaces,
} from "./data/index.ts";

/** Pictures with captions from folders and tar archives, and files of tokens (.parquet, .jsonl, .tsv). */
export {
  eachSample,
  openTokens,
  readAhead,
  type Sample,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
} from "./data/index.ts";

/** Training: runs that begin, resume and end; and what they are made of, down to the gradients of one network. */
export * from "./train/index.ts";
