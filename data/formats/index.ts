// Checkpoint files: what the rest of Tessera uses of the readers and writers here.
export { convertCheckpoint, type ConvertOptions, formatByName, type WrittenFormat } from "./convert.ts";
export { writeFlax } from "./flax/write.ts";
export { type ArchitectureGuess, guessConfig, guessLoss } from "./guess.ts";
export { hashFile } from "../files/hash.ts";
export { formatBytes, formatReport, formatTensors, inspect, type InspectReport } from "./inspect.ts";
export { isPickleClass, type PickleClass, PickleObject } from "./torch/pickle_globals.ts";
export { flattenTensors, isStoredTensor, unwrapOmegaconf } from "./torch/unwrap.ts";
export { writeSafetensors } from "./safetensors.ts";
export { type CheckpointFile, openCheckpoint, readCheckpoint } from "../files/open.ts";
export {
  type AdamSettings,
  type AdamState,
  momentName,
  type StoredMoments,
  tamingAdam,
  type TrainingState,
  trainingState,
} from "./training.ts";
export { isAutoencoder, tamingOrder } from "./state_dict_keys.ts";
export { OrderedDict, type Pickleable, Tuple } from "./torch/pickle_write.ts";
export { writeTorch } from "./torch/write.ts";
export { FormatError, memorySource, type RandomAccess } from "./source.ts";
export { type TensorToWrite, toWrite } from "./values.ts";
export type { StoredDType, StoredTensor, StoredValues } from "./stored_tensor.ts";
