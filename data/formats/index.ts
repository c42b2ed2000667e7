// Checkpoint files: what the rest of Tessera uses of the readers and writers here.
export { type ArchitectureGuess, guessConfig } from "./guess.ts";
export { formatReport, inspect, type InspectReport } from "./inspect.ts";
export { isPickleClass, type PickleClass, PickleObject } from "./pickle_globals.ts";
export { flattenTensors, isStoredTensor, unwrapOmegaconf } from "./plain.ts";
export { type TensorToWrite, writeSafetensors } from "./safetensors.ts";
export { type CheckpointFile, openCheckpoint, readCheckpoint } from "./open.ts";
export { FormatError, memorySource, type RandomAccess } from "./source.ts";
export type { StoredDType, StoredTensor, StoredValues } from "./tensor.ts";
