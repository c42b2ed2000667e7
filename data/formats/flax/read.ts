// Reads Flax checkpoints (flax_model.msgpack), as vqgan-jax and DALL-E mini use them: a map of maps whose leaves are
// arrays. Names and layouts become taming's: down_0 becomes down.0, and a kernel HWIO becomes a weight OIHW.
import { contiguousStrides, sizeOf } from "../../../src/shape.ts";
import { fromFlax } from "../families/vqgan_jax.ts";
import { type MsgpackFile, msgpackFile, type Packed, readMsgpack, Stretch } from "./msgpack.ts";
import { checkRange, FormatError, type RandomAccess } from "../source.ts";
import { isCounts, itemSize, type StoredDType, type StoredTensor, storedTensor } from "../stored_tensor.ts";

/** The name under which transformers looks for weights in a folder. */
export const flaxWeights = "flax_model.msgpack";

/** numpy's names of the types, which Flax uses. */
export const flaxTypes: Readonly<Record<StoredDType, string>> = {
  f32: "float32",
  f16: "float16",
  bf16: "bfloat16",
  f8e4m3: "float8_e4m3fn",
  f8e5m2: "float8_e5m2",
  f64: "float64",
  i64: "int64",
  u64: "uint64",
  i32: "int32",
  u32: "uint32",
  i16: "int16",
  u16: "uint16",
  i8: "int8",
  u8: "uint8",
  bool: "bool",
};
const dtypes = new Map(Object.entries(flaxTypes).map(([dtype, name]) => [name, dtype as StoredDType]));

/** The ext types of flax.serialization. Type 2, complex numbers, is not supported. */
export const arrayType = 1;
const scalarType = 3;
export const chunkedMark = "__msgpack_chunked_array__";

/** Whether a file that begins with `head` may be Flax: a map whose first key is a text. */
export function isFlax(head: Uint8Array): boolean {
  const [code = 0] = head;
  const key = head[code === 0xde ? 3 : code === 0xdf ? 5 : 1] ?? 0;
  const isMap = code > 0x80 && code < 0x90 || code === 0xde || code === 0xdf;
  return isMap && (key >= 0xa0 && key < 0xc0 || key >= 0xd9 && key <= 0xdb);
}

/** An array in the file: its type, its shape, and the stretches with its bytes, in order. */
interface FlaxArray {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly parts: readonly Stretch[];
}

/**
 * Reads the arrays under taming's state_dict keys, in the file's order.
 * @throws FormatError if the file is damaged, or arrays do not match their shapes.
 */
export async function readFlax(source: RandomAccess): Promise<Map<string, StoredTensor>> {
  const file = msgpackFile(source), root = await readMsgpack(file, 0, source.byteLength);
  const params = root instanceof Map ? root.get("params") : undefined;
  const tensors = new Map<string, StoredTensor>();
  const visit = async (value: Packed, path: readonly string[]): Promise<void> => {
    if (value instanceof Map && !value.has(chunkedMark)) {
      for (const [name, item] of value) await visit(item, [...path, name]);
      return;
    }
    const array = await readArray(file, value, path.join("/"));
    if (array === null) return;
    const key = fromFlax(path);
    if (tensors.has(key)) throw new FormatError(source.path, `corrupt: two arrays are named ${key}`);
    tensors.set(key, asTorch(source, array, path.at(-1) === "kernel"));
  };
  await visit(params instanceof Map ? params : root, []);
  return tensors;
}

/** Returns null for values that are not arrays, such as a step count. */
async function readArray(file: MsgpackFile, value: Packed, path: string): Promise<FlaxArray | null> {
  const { source } = file;
  const corrupt = (what: string) => new FormatError(source.path, `corrupt Flax file: ${path} ${what}`);
  if (value instanceof Stretch) {
    if (value.type !== arrayType && value.type !== scalarType) return null;
    const fields = await readMsgpack(file, value.offset, value.offset + value.length);
    const [shape, name, bytes] = Array.isArray(fields) ? fields : [];
    const dtype = typeof name === "string" ? dtypes.get(name) : undefined;
    if (typeof name === "string" && dtype === undefined) {
      throw new FormatError(
        source.path,
        `${path} has the type ${name}`,
        `convert it to one of ${[...dtypes.keys()].join(", ")}`,
      );
    }
    if (!isCounts(shape) || dtype === undefined || !(bytes instanceof Stretch) || bytes.type !== null) {
      throw corrupt("is not an array of shape, type and bytes");
    }
    if (bytes.length !== sizeOf(shape) * itemSize[dtype]) {
      throw corrupt(`of shape [${shape}] and type ${dtype} does not fit its ${bytes.length} bytes`);
    }
    return { dtype, shape, parts: [bytes] };
  }
  if (!(value instanceof Map)) return null;
  const shape = listed(value.get("shape"));
  const chunks = listed(value.get("chunks"));
  if (!isCounts(shape) || !chunks || chunks.length === 0) throw corrupt("has no shape or no chunks");
  const parts: FlaxArray[] = [];
  for (const [i, chunk] of chunks.entries()) {
    const part = await readArray(file, chunk, `${path}, chunk ${i}`);
    if (part === null || part.dtype !== (parts[0] ?? part).dtype) {
      throw corrupt(`has a chunk ${i} of another type`);
    }
    parts.push(part);
  }
  const length = parts.reduce((sum, part) => sum + sizeOf(part.shape), 0);
  if (length !== sizeOf(shape)) {
    throw corrupt(`of shape [${shape}] does not fit the ${length} values in its chunks`);
  }
  return { dtype: parts[0]!.dtype, shape, parts: parts.flatMap((part) => part.parts) };
}

/** Reads a tuple, which Flax stores as a map from "0", "1", ... */
function listed(value: Packed | undefined): Packed[] | null {
  if (!(value instanceof Map)) return null;
  const items = Array.from({ length: value.size }, (_, i) => value.get(`${i}`));
  return items.some((item) => item === undefined) ? null : items as Packed[];
}

/**
 * Makes a view with torch's layout: kernels [...space, in, out] are transposed to [out, in, ...space], and the shape
 * (1, 1, 1, C) of group norm before Flax 0.3.6 becomes (C).
 */
function asTorch(file: RandomAccess, { dtype, shape, parts }: FlaxArray, isKernel: boolean): StoredTensor {
  const source = parts.length === 1 ? file : joined(file, parts);
  const start = parts.length === 1 ? parts[0]!.offset : 0;
  const storage = { dtype, length: sizeOf(shape), locate: () => Promise.resolve(start) };
  const channels = shape.at(-1);
  const torch = shape.length === 4 && !isKernel && channels === sizeOf(shape) ? [channels] : shape;
  const stride = contiguousStrides(torch);
  if (!isKernel || shape.length < 2) return storedTensor(source, storage, 0, torch, stride);
  const order = [shape.length - 1, shape.length - 2, ...shape.keys()].slice(0, shape.length);
  return storedTensor(source, storage, 0, order.map((i) => shape[i]!), order.map((i) => stride[i]!));
}

/** Makes a source in which stretches of a file follow each other. */
function joined(file: RandomAccess, parts: readonly Stretch[]): RandomAccess {
  const byteLength = parts.reduce((sum, { length }) => sum + length, 0);
  const source: RandomAccess = {
    path: file.path,
    byteLength,
    async readInto(target, offset) {
      checkRange(source, offset, target.length, "a read");
      let begin = 0, done = 0;
      for (const part of parts) {
        const within = offset + done - begin;
        const length = Math.min(part.length - within, target.length - done);
        if (length > 0) {
          await file.readInto(target.subarray(done, done + length), part.offset + within);
          done += length;
        }
        begin += part.length;
      }
    },
    close: () => file.close(),
  };
  return source;
}

/** Returns the settings of a config.json; null if it does not describe a VQGAN. */
export function parseFlaxConfig(settings: Readonly<Record<string, unknown>>): Map<string, unknown> | null {
  return "ch_mult" in settings ? new Map(Object.entries(settings)) : null;
}
