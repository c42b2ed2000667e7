// Exports everything that the rest of Tessera uses from data/. Code that also runs in web pages (core.ts, nn/) imports
// the single files instead, because some of these modules need a disk.

// Files
export { FileExistsError } from "./files/exists.ts";
export { type FileHash, hashFile, hashWeights } from "./files/hash.ts";
export { openCheckpoint } from "./files/open.ts";
export { convertCheckpoint, formatByName, writeFlax, writeSafetensors, writeTorch } from "./files/save.ts";

// Checkpoints on the network; this import also makes their names work wherever a path is taken
export { fetchCheckpoint, type FetchOptions } from "./hub/fetch.ts";

// Checkpoint formats, from any source of bytes
export { type ConvertOptions, ExpansionError, type WrittenFormat } from "./formats/convert.ts";
export type { CheckpointFile } from "./formats/file.ts";
export type { FlaxConfig } from "./formats/flax/write.ts";
export { type ConfigGuess, configOf, guessConfig, guessLoss } from "./formats/guess.ts";
export { formatInspectReport, formatTensors, inspect, type InspectReport } from "./formats/inspect.ts";
export {
  type CheckpointSource,
  isRemote,
  localPath,
  type OpenOptions,
  withCheckpoint,
} from "./formats/opener.ts";
export { readCheckpoint } from "./formats/read.ts";
export { FormatError, memorySource } from "./formats/source.ts";
export { isAutoencoder, momentName, tamingOrder } from "./formats/state_dict_keys.ts";
export type { StoredTensor, StoredValues } from "./formats/stored_tensor.ts";
export { formatBytes } from "./formats/text.ts";
export { isPickleClass, PickleObject } from "./formats/torch/pickle_globals.ts";
export { OrderedDict, Tuple } from "./formats/torch/pickle_write.ts";
export { flattenTensors, unwrapOmegaconf } from "./formats/torch/unwrap.ts";
export { tamingAdam, type TrainingState, trainingState } from "./formats/training.ts";
export { type TensorToWrite, toWrite } from "./formats/values.ts";

// Pictures and figures
export { drawCartoonFace, writeCartoonFaces } from "./figures/cartoons.ts";
import "./figures/notebook.ts"; // lets notebooks show tensors and pictures
export { type Panel, plotCurves, type PlotOptions, type Series } from "./figures/plot.ts";
export {
  codeColor,
  cutGrid,
  grid,
  type GridOptions,
  sideBySide,
  type SideBySideOptions,
  tokenGrid,
  type TokenGridOptions,
} from "./figures/sheets.ts";
export { type Augment, augmented, augmentedSide, augmentStrengths } from "./pictures/augment.ts";
export { type Batch, type DatasetOptions, ImageDataset } from "./pictures/dataset.ts";
export { ImageError } from "./pictures/image_error.ts";
export { encodePng, savePng } from "./pictures/images.ts";
export { listImages, type ListOptions } from "./pictures/list.ts";
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
} from "./pictures/picture.ts";
export {
  Sampler,
  type SamplerOptions,
  type SamplerState,
  type Share,
  type Visit,
} from "./pictures/sampler.ts";
export { eachSample, readAhead, type Sample } from "./pictures/samples.ts";
export { type PictureSource, readImage, type ReadOptions } from "./pictures/source.ts";
export type { Resize } from "./pictures/decoder.ts";

// Token files
export { openTokens } from "./tokens/open.ts";
export {
  dalleMiniBos,
  type OpenTokensOptions,
  StartTokenError,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
} from "./tokens/record.ts";
export { tokenFormat } from "./tokens/format.ts";
export { checkTogether, eachRecord, openFiles, type SetFile } from "./tokens/set.ts";
export { writeTokens } from "./tokens/write.ts";
export { TokensInUseError, TokenWriter, type WriterOptions } from "./tokens/writer.ts";
