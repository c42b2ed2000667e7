// Reads the weights of TensorFlow.js: a manifest in JSON, which lists tensors with their shapes, and one file with their
// numbers, often quantised to 8 or 16 bits: number = quantised * scale + min.
import { sizeOf } from "../../src/shape.ts";
import { FormatError } from "./source.ts";
import { isCounts } from "./stored_tensor.ts";

/** A tensor in memory, in the layout of TensorFlow.js: filters are [height, width, in, out]. */
export interface NamedValues {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

const arrays = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array, int32: Int32Array } as const;
type Stored = keyof typeof arrays;

/**
 * Reads all tensors by their names.
 * @param manifest the text of `NAME-weights_manifest.json`
 * @param bytes the file that the manifest names
 * @param path for messages
 * @throws FormatError if the manifest is not one, names several files, or does not fit the length of the bytes
 */
export function readTfjsWeights(
  manifest: string,
  bytes: Uint8Array,
  path: string,
): Map<string, NamedValues> {
  const groups = parse(manifest, path);
  if (groups.length !== 1) {
    throw new FormatError(path, `its manifest has ${groups.length} groups of weights, one is read`);
  }
  const tensors = new Map<string, NamedValues>();
  let at = 0;
  for (const { name, shape, dtype, quantization } of groups[0].weights) {
    const stored = quantization?.dtype ?? dtype;
    if (!isCounts(shape) || !Object.hasOwn(arrays, stored)) {
      throw new FormatError(path, `${name} has shape [${shape}] and type ${stored}, which cannot be read`);
    }
    const array = arrays[stored as Stored], length = sizeOf(shape);
    const end = at + length * array.BYTES_PER_ELEMENT;
    if (end > bytes.length) {
      throw new FormatError(path, `${name} ends at byte ${end}, but the file has ${bytes.length}`);
    }
    // copied, because a tensor may begin anywhere
    const numbers = new array(bytes.slice(at, end).buffer);
    const { scale = 1, min = 0 } = quantization ?? {};
    const values = new Float32Array(length);
    for (let i = 0; i < length; i++) values[i] = numbers[i] * scale + min;
    tensors.set(name, { shape, values });
    at = end;
  }
  if (at !== bytes.length) {
    throw new FormatError(path, `its tensors end at byte ${at}, but the file has ${bytes.length}`);
  }
  return tensors;
}

interface Group {
  readonly weights: readonly {
    readonly name: string;
    readonly shape: unknown;
    readonly dtype: string;
    readonly quantization?: { readonly dtype: string; readonly scale: number; readonly min: number };
  }[];
}

function parse(manifest: string, path: string): readonly Group[] {
  const broken = (what: string) => new FormatError(path, `its manifest ${what}`);
  let groups: unknown;
  try {
    groups = JSON.parse(manifest);
  } catch (error) {
    throw broken(`is not JSON: ${(error as Error).message}`);
  }
  const isGroup = (group: Group | null) =>
    Array.isArray(group?.weights) &&
    group.weights.every((w: Group["weights"][number] | null) =>
      typeof w?.name === "string" && typeof w.dtype === "string" &&
      (w.quantization === undefined || isQuantization(w.quantization))
    );
  if (!Array.isArray(groups) || !groups.every(isGroup)) throw broken("is not a list of groups of weights");
  return groups as Group[];
}

function isQuantization(q: NonNullable<Group["weights"][number]["quantization"]> | null): boolean {
  return typeof q?.dtype === "string" && Number.isFinite(q.scale) && Number.isFinite(q.min);
}
