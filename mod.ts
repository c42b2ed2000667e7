/**
 * Tessera: VQGAN in TypeScript. Pictures become grids of tokens and pictures again; models are loaded from the published
 * checkpoints, and fine-tuned.
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

/** Tensors, the model, its training step, checkpoints from bytes, and pictures as pixels: all that needs no disk. */
export * from "./core.ts";

/** Checkpoint files, opened by their paths, written whole or not at all, and converted. */
export {
  convertCheckpoint,
  type ConvertOptions,
  type FileHash,
  type FlaxConfig,
  hashFile,
  type HashOptions,
  hashWeights,
  openCheckpoint,
  writeFlax,
  writeSafetensors,
  writeTorch,
} from "./data/index.ts";

/** Pictures in and out, sheets of them, and curves. */
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

/** Sets of pictures in seeded, resumable batches; cartoon faces to try things with. */
export {
  type Batch,
  type DatasetOptions,
  drawCartoonFace,
  ImageDataset,
  listImages,
  Sampler,
  type SamplerOptions,
  type SamplerState,
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
  TokenWriter,
} from "./data/index.ts";

/** Training: runs that begin, resume and end; and what they are made of, down to the gradients of one network. */
export * from "./train/index.ts";
