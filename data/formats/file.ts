// An opened checkpoint of any format and from any source.
import type { FoundModel, NoModel } from "./find_model.ts";
import type { StoredTensor } from "./stored_tensor.ts";

/** What an open file holds, before a model is looked for in it. */
export interface FileContents {
  /** The format of the file. */
  readonly format: "torch-zip" | "torch-legacy" | "safetensors" | "flax";
  /** The path for messages. If the bytes do not come from a path, it describes them. */
  readonly path: string;
  /** The size of the file. */
  readonly byteLength: number;
  /**
   * The tensors of its state_dict under their own names, in the file's order; of a torch file without one, all tensors but
   * those of optimizers, by path.
   */
  readonly stored: ReadonlyMap<string, StoredTensor>;
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

/** A checkpoint that is open. */
export interface CheckpointFile extends FileContents {
  /** The tensors of its VQGAN under taming's keys. A file that holds no VQGAN has all its tensors here, under their own names. */
  readonly tensors: Map<string, StoredTensor>;
  /** Which VQGAN the file holds and where, or why none can be used. */
  readonly model: FoundModel | NoModel;
  /** Whether `tensors` has averages over the training in place of the weights of its last step. */
  readonly isAverage: boolean;
  /** What lies beside the file, if the file itself does not say all; null if nothing was found, or the file has no path. */
  readonly beside?: SettingsBeside | null;
}

/** The settings of a model that were found beside its checkpoint. */
export interface SettingsBeside {
  /** The file, or the folder with several that belong together. */
  readonly path: string;
  /** The arguments of the model, as in a checkpoint's hyper-parameters: `ddconfig`, `lossconfig`, and so on. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** How they differ from the tensors in the file, if they are those of another model; then they are not used. */
  readonly misfit: string | null;
}

/** What is looked for in a checkpoint. */
export interface ModelChoice {
  /**
   * The prefix or the inner dict whose VQGAN is used, for example "params_ema". It is needed only for a file that holds several
   * and none whose keys stand as they are.
   */
  readonly inside?: string;
  /**
   * Whether to use the average of the weights (EMA) that a run of Tessera may keep beside them. Default true; false takes the
   * weights of its last step.
   */
  readonly average?: boolean;
}
