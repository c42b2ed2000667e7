// An opened checkpoint, whatever its format and wherever its bytes are.
import type { StoredTensor } from "./stored_tensor.ts";

/** A checkpoint that is open. */
export interface CheckpointFile {
  /** How it is written. */
  readonly format: "torch-zip" | "torch-legacy" | "safetensors" | "flax";
  /** For messages; where the bytes come from no path, what they are. */
  readonly path: string;
  /** Of the file. */
  readonly byteLength: number;
  /** The model's tensors by state_dict key, in the file's order. */
  readonly tensors: Map<string, StoredTensor>;
  /**
   * All that the file holds: dicts as Maps, tensors as StoredTensors, unknown classes as PickleObjects. Of
   * Flax: `config`, from the config.json beside the weights.
   */
  readonly root: unknown;
  /** What the writer put beside the tensors: of safetensors, and of torch files by Tessera; else empty. */
  readonly metadata: Record<string, string>;
  /** Closes the file. After this no tensor can be read any more. */
  close(): Promise<void>;
}
