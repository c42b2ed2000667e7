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
