/**
 * Tessera: VQGAN in TypeScript. It turns pictures into grids of tokens and back, loads the published checkpoints, and
 * fine-tunes them.
 *
 * @example A picture to tokens and back
 * ```ts
 * import { savePng, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * const { tokens, grid } = await model.tokensOf("face.jpg"); // 16 x 16 tokens
 * await savePng("again.png", await model.pictureOf(tokens, grid));
 * ```
 *
 * @example Fine-tuning
 * ```ts
 * import { beginRun, defaultOptions, train } from "@tessera/vqgan";
 *
 * async function fineTune(checkpoint: string, folder: string, signal?: AbortSignal): Promise<string> {
 *   const run = await beginRun({
 *     start: { from: checkpoint },
 *     perceptual: "inside",
 *     options: { ...defaultOptions, data: [folder], steps: 1000, lr: 4.5e-6, name: "faces" },
 *     out: "runs",
 *   });
 *   const monitor = { update: () => {}, log: console.log };
 *   return (await train(run, { monitor, signal })).checkpoint;
 * }
 * ```
 *
 * @module
 */

/** Tensors, the model, its training step, checkpoints from bytes, and pictures as pixels: everything that needs no disk. */
export * from "./core.ts";

/** Checkpoint files: opening them by path, writing them whole or not at all, and converting them. */
export {
  convertCheckpoint,
  type ConvertOptions,
  FileExistsError,
  type FileHash,
  type FlaxConfig,
  hashFile,
  hashWeights,
  openCheckpoint,
  writeFlax,
  writeSafetensors,
  writeTorch,
  type WrittenFormat,
} from "./data/index.ts";

/** Reading and writing pictures, sheets of several pictures, and curves. */
export {
  codeColor,
  encodePng,
  grid,
  type GridOptions,
  type Panel,
  plotCurves,
  type PlotOptions,
  savePng,
  type Series,
  sideBySide,
  type SideBySideOptions,
  tokenGrid,
  type TokenGridOptions,
} from "./data/index.ts";

/** Data sets of pictures, in batches that are seeded and can be resumed; cartoon faces for trying things out. */
export {
  type Batch,
  type DatasetOptions,
  drawCartoonFace,
  ImageDataset,
  listImages,
  type ListOptions,
  Sampler,
  type SamplerOptions,
  type SamplerState,
  type Share,
  type Visit,
  writeCartoonFaces,
} from "./data/index.ts";

/** Pictures with captions from folders and tar archives, and files of tokens (.parquet, .jsonl, .tsv). */
export {
  eachSample,
  openTokens,
  type OpenTokensOptions,
  readAhead,
  type Sample,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
  TokensInUseError,
  TokenWriter,
  type WriterOptions,
} from "./data/index.ts";

/** Training: beginning, resuming and running a run, and its parts, down to the gradients of one network. */
export * from "./train/index.ts";
