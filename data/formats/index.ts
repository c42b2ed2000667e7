// Checkpoint files: what the rest of Tessera uses of the readers and writers here.
export { writeFlax } from "./flax.ts";
export { type ArchitectureGuess, guessConfig } from "./guess.ts";
export { formatReport, inspect, type InspectReport } from "./inspect.ts";
export { isPickleClass, type PickleClass, PickleObject } from "./pickle_globals.ts";
export { flattenTensors, isStoredTensor, unwrapOmegaconf } from "./plain.ts";
export { writeSafetensors } from "./safetensors.ts";
export { type CheckpointFile, openCheckpoint, readCheckpoint } from "./open.ts";
export { FormatError, memorySource, type RandomAccess } from "./source.ts";
export type { TensorToWrite } from "./values.ts";
export type { StoredDType, StoredTensor, StoredValues } from "./tensor.ts";
