// Tensors to be written, whatever the format. Their values are requested one tensor at a time, checked, and rounded if
// the file's type is narrower.
import { halvesOf } from "./half.ts";
import { sizeOf } from "../../src/shape.ts";
import { type StoredDType, type StoredTensor, type StoredValues, valueArrays } from "./stored_tensor.ts";

/** The types that can be written. Floats of 8 bits can only be read. */
export type WrittenDType = Exclude<StoredDType, "f8e4m3" | "f8e5m2">;

/**
 * A tensor to be written. Its values are requested when its turn comes, so that only one tensor is in memory at a time.
 */
export interface TensorToWrite {
  /** Its key in the state_dict. */
  readonly name: string;
  /** The size of each axis. */
  readonly shape: readonly number[];
  /** The type in the file. f16 and bf16 take f32 values and round them to the nearest even. */
  readonly dtype: WrittenDType;
  /** Returns all values, row-major, in the array type that `dtype` is read into. */
  readonly data: () => StoredValues | Promise<StoredValues>;
}

/** Prepares a stored tensor to be written in its own type; floats of 8 bits become f32. */
export function toWrite(name: string, tensor: StoredTensor): TensorToWrite {
  const { shape, dtype } = tensor;
  const written = dtype === "f8e4m3" || dtype === "f8e5m2" ? "f32" : dtype;
  return { name, shape, dtype: written, data: () => tensor.read() };
}

const chunkLength = 2 ** 20;

/**
 * Yields the values as little-endian bytes of the tensor's type: views if the types agree, rounded copies for f16 and
 * bf16.
 * @throws if the values do not match shape and type.
 */
export function* storedBytes(
  { name, shape, dtype }: Pick<TensorToWrite, "name" | "shape" | "dtype">,
  values: StoredValues,
): Generator<Uint8Array> {
  const Natural = valueArrays[dtype];
  if (!(values instanceof Natural)) {
    throw new Error(`tensor ${name} of type ${dtype} needs a ${Natural.name}`);
  }
  if (values.length !== sizeOf(shape)) {
    throw new Error(
      `tensor ${name} has ${values.length} values, but its shape [${shape}] needs ${sizeOf(shape)}`,
    );
  }
  const isHalf = dtype === "f16" || dtype === "bf16";
  for (let at = 0; at < values.length; at += chunkLength) {
    const part = values.subarray(at, at + chunkLength);
    const stored = isHalf && part instanceof Float32Array ? roundToHalf(part, dtype) : part;
    yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  }
}

function roundToHalf(values: Float32Array<ArrayBuffer>, dtype: "f16" | "bf16"): Uint16Array {
  if (dtype === "f16") return halvesOf(values);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const upper = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    // to nearest, ties to even; a NaN keeps a mantissa bit, otherwise it would become infinity
    const isNan = (b & 0x7fffffff) > 0x7f800000;
    upper[i] = isNan ? b >>> 16 | 0x40 : b + 0x7fff + (b >>> 16 & 1) >>> 16;
  }
  return upper;
}
