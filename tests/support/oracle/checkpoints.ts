// Reads checkpoints a second time, without any code of the readers: by packages of other authors where there are some (fflate
// unpacks zip, pickleparser reads pickles, @msgpack/msgpack reads Flax), and otherwise by the format's plain description. An
// oracle trusts its input, so it only reads what a reader has accepted.
import { decode, ExtensionCodec } from "@msgpack/msgpack";
import { unzipSync } from "fflate";
import { Buffer } from "node:buffer";
import { BufferReader, Parser } from "pickleparser";
import { type Found, rowMajor, sizeOfItem, strided } from "./numbers.ts";

export type Tensors = Map<string, Found>;

const safetensorsTypes: Readonly<Record<string, string>> = {
  ...{ F64: "f64", F32: "f32", F16: "f16", BF16: "bf16", F8_E4M3: "f8e4m3", F8_E5M2: "f8e5m2", BOOL: "bool" },
  ...{ I64: "i64", U64: "u64", I32: "i32", U32: "u32", I16: "i16", U16: "u16", I8: "i8", U8: "u8" },
};

/** The tensors of a safetensors file, and its metadata. */
export function safetensors(bytes: Uint8Array): { tensors: Tensors; metadata: Record<string, string> } {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const { __metadata__: metadata, ...entries } = header;
  const tensors: Tensors = new Map();
  for (
    const [name, { dtype, shape, data_offsets: [from] }] of Object.entries<{
      dtype: string;
      shape: number[];
      data_offsets: [number, number];
    }>(entries)
  ) {
    tensors.set(name, strided(bytes, safetensorsTypes[dtype], 8 + length + from, shape, rowMajor(shape)));
  }
  return { tensors, metadata: metadata ?? {} };
}

const storageTypes: Readonly<Record<string, string>> = {
  ...{ FloatStorage: "f32", HalfStorage: "f16", BFloat16Storage: "bf16", DoubleStorage: "f64" },
  ...{ LongStorage: "i64", IntStorage: "i32", ShortStorage: "i16", CharStorage: "i8", ByteStorage: "u8" },
  ...{ UntypedStorage: "u8", BoolStorage: "bool" },
};

/** A call or an object in a pickle, with whatever it was filled with. */
class Made {
  readonly path: string;
  state: unknown = null;
  readonly items = new Map<unknown, unknown>();
  readonly list: unknown[] = [];

  constructor(path: string) {
    this.path = path;
  }

  __setstate__(state: unknown): void {
    this.state = state;
  }
  set(key: unknown, item: unknown): void {
    this.items.set(key, item);
  }
  push(...items: unknown[]): void {
    this.list.push(...items);
  }
}

class Storage {
  readonly key: string;
  readonly dtype: string;
  readonly from: number;

  constructor(key: string, dtype: string, from: number) {
    this.key = key;
    this.dtype = dtype;
    this.from = from;
  }
}

type Named = ((...args: unknown[]) => unknown) & { path: string };

/**
 * Gives names in a pickle a meaning: only tensors and the containers around them have one.
 * @param find where a storage lies; it is asked when everything has been read
 */
function parser(
  find: (storage: Storage) => { bytes: Uint8Array; at: number },
  onStorage = (_: Storage) => {},
): Parser {
  const tensor = (...[storage, offset, shape, stride]: unknown[]) => {
    if (!(storage instanceof Storage)) return new Made("");
    const read = () => {
      const { bytes, at } = find(storage),
        from = at + (storage.from + (offset as number)) * sizeOfItem(storage.dtype);
      return strided(bytes, storage.dtype, from, shape as number[], stride as number[]);
    };
    return { tensor: read };
  };
  const dict = (pairs?: unknown) =>
    Object.assign(new Map(pairs as Iterable<[unknown, unknown]> | undefined), { __setstate__() {} });
  const meanings: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_parameter": (data) => data,
    "torch._utils._rebuild_parameter_with_state": (data) => data,
    "torch.Size": (sizes) => sizes ?? [],
    "collections.OrderedDict": dict,
    "collections.defaultdict": (_factory, pairs) => dict(pairs),
  };
  const resolve = (module: string, name: string): Named => {
    const path = `${module}.${name}`, meaning = Object.hasOwn(meanings, path) ? meanings[path] : undefined;
    return Object.assign(function (...args: unknown[]) {
      return meaning ? meaning(...args) : new Made(path);
    }, { path });
  };
  const persistent = (id: unknown) => {
    if (!Array.isArray(id)) return null;
    const [kind, cls, key, , , view] = id, name = String(cls?.path ?? "").split(".").at(-1)!;
    if (kind === "module") return cls;
    const isOfTorch = String(cls?.path).startsWith("torch") && Object.hasOwn(storageTypes, name);
    if (kind !== "storage" || !isOfTorch) return null;
    const storage = new Storage(String(key), storageTypes[name], Array.isArray(view) ? view[1] : 0);
    onStorage(storage);
    return storage;
  };
  return new Parser({
    nameResolver: { resolve },
    persistentResolver: { resolve: persistent },
    unpicklingTypeOfDictionary: "Map",
    unpicklingTypeOfSet: "Set",
  });
}

/** The name that a key gives, by the rules of flattenTensors. */
function nameOf(key: unknown): string {
  if (typeof key === "function" || key instanceof Made) return (key as { path: string }).path;
  const isPlain = (value: unknown) =>
    value === null || ["string", "number", "boolean"].includes(typeof value);
  if (Array.isArray(key) && key.length <= 8 && key.every(isPlain)) return key.join(",");
  return isPlain(key) ? String(key) : "(a structure)";
}

/** Lists the tensors under the names that Tessera gives them. */
function named(root: unknown): Tensors {
  const found: Tensors = new Map(), copies = new Map<string, number>(), path = new Set<unknown>();
  const visit = (value: unknown, name: string): void => {
    if (typeof value !== "object" || value === null || path.has(value) || path.size > 100) return;
    if ("tensor" in value) {
      const own = name || "tensor", count = (copies.get(own) ?? 0) + 1;
      copies.set(own, count);
      found.set(count === 1 ? own : `${own} (${count})`, (value.tensor as () => Found)());
      return;
    }
    path.add(value);
    if (value instanceof Map) {
      for (const [key, item] of value) visit(item, name === "" ? nameOf(key) : `${name}.${nameOf(key)}`);
    } else if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) visit(value[i], `${name}[${i}]`);
    } else if (value instanceof Made) {
      for (const part of [value.items, value.list, value.state]) visit(part, name);
    }
    path.delete(value);
  };
  visit(root, "");
  return found;
}

/** All tensors in a zip by torch.save. */
export function torchZip(bytes: Uint8Array): Tensors {
  const entries = unzipSync(bytes, { filter: ({ name }) => /(^|\/)data(\.pkl|\/[^/]*)$/.test(name) });
  const pickle = Object.keys(entries).filter((name) => /(^|\/)data\.pkl$/.test(name))
    .sort((a, b) => a.length - b.length)[0];
  const root = pickle.slice(0, -"data.pkl".length);
  const find = ({ key }: Storage) => ({ bytes: entries[`${root}data/${key}`], at: 0 });
  return named(parser(find).read(new BufferReader(entries[pickle])));
}

/** All tensors in a file of torch before 1.6: five pickles, then the storages, each with its count before it. */
export function torchLegacy(bytes: Uint8Array): Tensors {
  const reader = new BufferReader(bytes),
    places = new Map<string, number>(),
    sizes = new Map<string, number>();
  const pickles = parser(
    ({ key }) => ({ bytes, at: places.get(key)! }),
    ({ key, dtype }) => sizes.set(key, sizeOfItem(dtype)),
  );
  reader.skip(bytes.indexOf(0x2e) + 1); // the magic number is too long for pickleparser
  for (let i = 0; i < 2; i++) pickles.read(reader); // the version, the system
  const root = pickles.read(reader), keys = pickles.read<(string | number)[]>(reader).map(String);
  for (let at = reader.position, i = 0; i < keys.length; i++) {
    places.set(keys[i], at + 8);
    const count = Number(new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigInt64(0, true));
    at += 8 + count * sizes.get(keys[i])!;
  }
  return named(root);
}

/** The arrays of a Flax file, under taming's names and in torch's layout. */
export function flax(bytes: Uint8Array): Tensors {
  const codec = new ExtensionCodec();
  for (const type of [1, 3]) {
    codec.register({ type, encode: () => null, decode: (data) => ({ array: decode(data) }) });
  }
  const found: Tensors = new Map();
  const visit = (value: unknown, path: readonly string[]): void => {
    if (typeof value !== "object" || value === null) return;
    if (chunkedMark in value) add(path, joined(value as object as Chunked));
    else if ("array" in value) add(path, value.array as FlaxArray);
    else for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
  };
  const add = (path: readonly string[], [shape, name, data]: FlaxArray) => {
    const last = path.at(-1)!, own = rowMajor(shape), rank = shape.length;
    const isKernel = last === "kernel" && rank > 1;
    const isOldNorm = last !== "kernel" && rank === 4 && shape[3] === shape.reduce((a, b) => a * b, 1);
    const axes = isKernel
      ? [rank - 1, rank - 2, ...shape.keys()].slice(0, rank)
      : isOldNorm
      ? [3]
      : [...shape.keys()];
    const names = path.slice(0, -1).map((part, i) =>
      path[i - 1] === "mid" ? part : part.replace(/^(down|up|block|attn)_(\d+)$/, "$1.$2")
    );
    const weight = ["kernel", "scale", "embedding"].includes(last) ? "weight" : last;
    const layout = [axes.map((i) => shape[i]), axes.map((i) => own[i])] as const;
    found.set([...names, weight].join("."), strided(data, flaxTypes[name], 0, ...layout));
  };
  const root = decode(bytes, { extensionCodec: codec }) as { params?: object };
  visit(typeof root.params === "object" && root.params !== null ? root.params : root, []);
  return found;
}

type FlaxArray = readonly [shape: number[], type: string, data: Uint8Array];

/** An array that was cut into pieces; its tuples are maps from "0", "1", ... */
const chunkedMark = "__msgpack_chunked_array__";
interface Chunked {
  readonly shape: Readonly<Record<string, number>>;
  readonly chunks: Readonly<Record<string, { readonly array: FlaxArray }>>;
}

function joined({ shape, chunks }: Chunked): FlaxArray {
  const parts = Object.keys(chunks).map((_, i) => chunks[i].array);
  return [
    Object.keys(shape).map((_, i) => shape[i]),
    parts[0][1],
    Buffer.concat(parts.map((part) => part[2])),
  ];
}

const flaxTypes: Readonly<Record<string, string>> = {
  ...{ float64: "f64", float32: "f32", float16: "f16", bfloat16: "bf16", bool: "bool" },
  ...{
    float8_e4m3fn: "f8e4m3",
    float8_e5m2: "f8e5m2",
    int64: "i64",
    uint64: "u64",
    int32: "i32",
    uint32: "u32",
  },
  ...{ int16: "i16", uint16: "u16", int8: "i8", uint8: "u8" },
};
