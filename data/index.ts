// Everything the rest of Tessera uses of data/, with and without a disk. What a page may import (core.ts, nn/) imports the
// files themselves, since this one pulls in the disk.

// Files
export { hashFile } from "./files/hash.ts";
export { openCheckpoint } from "./files/open.ts";
export { convertCheckpoint, formatByName, writeFlax, writeSafetensors, writeTorch } from "./files/save.ts";

// Checkpoint formats, of any bytes
export type { ConvertOptions } from "./formats/convert.ts";
export type { CheckpointFile } from "./formats/file.ts";
export { configOf, guessConfig, guessLoss } from "./formats/guess.ts";
export { formatReport, formatTensors, inspect } from "./formats/inspect.ts";
export { readCheckpoint } from "./formats/read.ts";
export { FormatError, memorySource } from "./formats/source.ts";
export { isAutoencoder, tamingOrder } from "./formats/state_dict_keys.ts";
export type { StoredTensor, StoredValues } from "./formats/stored_tensor.ts";
export { formatBytes } from "./formats/text.ts";
export { isPickleClass, PickleObject } from "./formats/torch/pickle_globals.ts";
export { OrderedDict, Tuple } from "./formats/torch/pickle_write.ts";
export { flattenTensors, unwrapOmegaconf } from "./formats/torch/unwrap.ts";
export { momentName, tamingAdam, type TrainingState, trainingState } from "./formats/training.ts";
export { type TensorToWrite, toWrite } from "./formats/values.ts";

// Pictures and figures
export { drawCartoonFace, writeCartoonFaces } from "./figures/cartoons.ts";
export { type Panel, plotCurves, type PlotOptions, type Series } from "./figures/plot.ts";
export {
  codeColor,
  grid,
  type GridOptions,
  sideBySide,
  tokenGrid,
  type TokenGridOptions,
} from "./figures/sheets.ts";
export { type Batch, type DatasetOptions, ImageDataset } from "./pictures/dataset.ts";
export { encodePng, ImageError, readImage, type ReadOptions, savePng } from "./pictures/images.ts";
export { listImages } from "./pictures/list.ts";
export { type Picture, type PixelRange, toFloats, toPictures } from "./pictures/picture.ts";
export { Sampler, type SamplerState } from "./pictures/sampler.ts";
export { eachSample, readAhead, type Sample } from "./pictures/samples.ts";

// Token files
export { openTokens } from "./tokens/open.ts";
export type { OpenTokensOptions, TokenFile, TokenHeader, TokenRecord } from "./tokens/record.ts";
export { TokenWriter } from "./tokens/writer.ts";
