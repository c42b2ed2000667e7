// The weights of a model as the tensors of a file, with the metadata that says what model it is. Where they are written is left
// to others: a page has no disk, and `saveWeights` (run/checkpoint.ts) writes files.
import { writeSafetensorsTo } from "../data/formats/safetensors.ts";
import type { Sink } from "../data/formats/sink.ts";
import type { TensorToWrite } from "../data/formats/values.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { checkOptions, oneOf, type Rules } from "../src/check.ts";
import type { Tensor } from "../src/index.ts";

/** The version of the state of runs, and of everything else that Tessera's files hold. */
export const stateVersion = 3;

/** How `saveWeights` and `writeWeightsTo` write weights. */
export interface WeightsOptions {
  /**
   * The type of the weights. f16 halves the file: tensors of two or more dimensions are rounded, statistics and biases
   * stay f32.
   */
  readonly dtype?: "f32" | "f16";
}

/** The rules of `WeightsOptions`. */
export const weightsRules: Rules<WeightsOptions> = { dtype: oneOf("f32", "f16") };

/**
 * Writes only the weights, as a safetensors file, into a sink: for a page, which has no disk.
 * @example A file that the user of a page can keep, and that the command line reads
 * ```ts
 * import { type VQGAN, writeWeightsTo } from "@tessera/vqgan/core";
 *
 * async function fileOf(model: VQGAN): Promise<Blob> {
 *   const parts: Uint8Array<ArrayBuffer>[] = [];
 *   await writeWeightsTo({ write: async (bytes) => void parts.push(bytes.slice()) }, model);
 *   return new Blob(parts);
 * }
 * ```
 */
export async function writeWeightsTo(sink: Sink, model: VQGAN, options: WeightsOptions = {}): Promise<void> {
  checkOptions("writeWeightsTo", options, weightsRules);
  await writeSafetensorsTo(sink, entries(model.stateDict(), options.dtype), metadataOf(model));
}

/** What the file says besides its tensors. */
export function metadataOf({ config }: VQGAN): { format: string; version: string; config: string } {
  return { format: "tessera", version: String(stateVersion), config: JSON.stringify(config) };
}

/** Tensors as they are written. */
export function entries(tensors: ReadonlyMap<string, Tensor>, dtype: "f32" | "f16" = "f32"): TensorToWrite[] {
  return [...tensors].map(([name, t]) => {
    // torch keeps batch norm's count as an integer
    if (name.endsWith("num_batches_tracked")) {
      const data = async () => new BigInt64Array([BigInt(await t.item())]);
      return { name, shape: [...t.shape], dtype: "i64", data };
    }
    if (t.dtype === "i32") {
      const data = async () => BigInt64Array.from(await t.ints(), BigInt);
      return { name, shape: [...t.shape], dtype: "i64", data };
    }
    return { name, shape: [...t.shape], dtype: t.ndim < 2 ? "f32" : dtype, data: () => t.floats() };
  });
}
