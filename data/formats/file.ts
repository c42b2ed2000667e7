// An opened checkpoint of any format and from any source.
import type { StoredTensor } from "./stored_tensor.ts";

/** A checkpoint that is open. */
export interface CheckpointFile {
  /** The format of the file. */
  readonly format: "torch-zip" | "torch-legacy" | "safetensors" | "flax";
  /** The path for messages. If the bytes do not come from a path, it describes them. */
  readonly path: string;
  /** The size of the file. */
  readonly byteLength: number;
  /** The model's tensors by state_dict key, in the file's order. */
  readonly tensors: Map<string, StoredTensor>;
  /**
   * Everything the file holds: dicts as Maps, tensors as StoredTensors, unknown classes as PickleObjects. For Flax it
   * holds only `config`, from the config.json next to the weights.
   */
  readonly root: unknown;
  /**
   * The text that safetensors files, and torch files by Tessera, hold in addition to tensors; empty for other files.
   */
  readonly metadata: Record<string, string>;
  /** Closes the file. After this its tensors cannot be read. */
  close(): Promise<void>;
}
