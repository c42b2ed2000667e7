// Reads files of torch.save: the zip layout (torch >= 1.6) and the legacy layout (concatenated pickles, then storages).
// Only the pickle is read here. Every tensor stays in the file until it is requested.
import { type PickleContext, PickleError, readPickle } from "./pickle.ts";
import { isPickleClass, type PickleClass } from "./pickle_globals.ts";
import { checkRange, FormatError, type RandomAccess, readRange, Window } from "../source.ts";
import { itemSize, type Storage, type StoredDType, storedTensor } from "../stored_tensor.ts";
import { locateEntry, readEntry, readZipDirectory, type ZipEntry } from "./zip.ts";

/** How much is read to find the count before a storage; the counts of small storages lie close together. */
const countsWindow = 2 ** 12;

/** The size limit of a pickle. Both Adam optimizers of a full-size model make 0.2 MB of it; the rest is reserve. */
const maxPickle = 2 ** 26;

const storageTypes: Readonly<Record<string, StoredDType>> = {
  FloatStorage: "f32",
  HalfStorage: "f16",
  BFloat16Storage: "bf16",
  DoubleStorage: "f64",
  LongStorage: "i64",
  IntStorage: "i32",
  ShortStorage: "i16",
  CharStorage: "i8",
  ByteStorage: "u8",
  UntypedStorage: "u8",
  BoolStorage: "bool",
};

/** The tuple by which torch's pickles identify a storage. */
interface StorageId {
  readonly key: string;
  readonly dtype: StoredDType;
  readonly length: number;
  /** Only in legacy files: (key, offset, length) of a part of the storage. */
  readonly view: unknown;
}

/**
 * Returns null if this is not a storage of plain numbers. @throws FormatError if it is a damaged one
 */
function parseStorageId(path: string, id: unknown): StorageId | null {
  if (!Array.isArray(id) || id[0] !== "storage" || !isPickleClass(id[1])) return null;
  const { module, name }: PickleClass = id[1];
  const dtype = Object.hasOwn(storageTypes, name) ? storageTypes[name] : undefined;
  if (dtype === undefined || !module.startsWith("torch")) return null;
  const [, , key, , length, view] = id;
  if (!Number.isSafeInteger(length) || length < 0 || !["string", "number"].includes(typeof key)) {
    const count = typeof length === "number" ? length : `a ${typeof length} of`;
    throw new FormatError(path, `corrupt: a storage claims ${count} elements`);
  }
  return { key: String(key), dtype, length, view };
}

/** Returns a class: legacy files store the class of a pickled module as a persistent value. */
function classOf(id: unknown): unknown {
  if (!Array.isArray(id) || id[0] !== "module" || !isPickleClass(id[1])) return null;
  return id[1].isFunction ? null : id[1];
}

class TorchStorage implements Storage {
  readonly dtype: StoredDType;
  readonly length: number;
  readonly locate: () => Promise<number>;

  constructor(
    dtype: StoredDType,
    length: number,
    locate: () => Promise<number>,
  ) {
    this.dtype = dtype;
    this.length = length;
    this.locate = locate;
  }
}

function context(source: RandomAccess, storage: (id: StorageId) => TorchStorage): PickleContext {
  return {
    persistent(id) {
      const parsed = parseStorageId(source.path, id);
      return parsed ? storage(parsed) : classOf(id);
    },
    tensor(storage, offset, shape, stride) {
      if (!(storage instanceof TorchStorage)) return null;
      return storedTensor(source, storage, offset, shape, stride);
    },
  };
}

/**
 * Reads the object in a zip written by torch.save.
 * @throws FormatError if this is not such a zip, or storages are missing or shorter than their tensors.
 */
export async function readTorchZip(source: RandomAccess): Promise<unknown> {
  const entries = await readZipDirectory(source);
  const pickle = [...entries.values()]
    .filter((entry) => /(^|\/)data\.pkl$/.test(entry.name))
    .sort((a, b) => a.name.length - b.name.length)[0];
  if (!pickle) {
    throw new FormatError(
      source.path,
      "a zip archive, but not from torch.save: there is no data.pkl in it",
      "unpack it, and name the checkpoint inside",
    );
  }
  const root = pickle.name.slice(0, -"data.pkl".length);
  await checkByteOrder(source, entries.get(`${root}byteorder`));
  const bytes = await readEntry(source, pickle, maxPickle);
  const storage = ({ key, dtype, length }: StorageId): TorchStorage => {
    const entry = entries.get(`${root}data/${key}`);
    if (!entry || entry.byteLength < length * itemSize[dtype]) {
      throw new FormatError(
        source.path,
        `corrupt: storage ${key} should have ${length * itemSize[dtype]} bytes and ` +
          (entry ? `has ${entry.byteLength}` : "is missing"),
      );
    }
    return new TorchStorage(dtype, length, () => locateEntry(source, entry));
  };
  return unpickle(source, bytes, 0, context(source, storage), false)?.value;
}

async function checkByteOrder(source: RandomAccess, entry: ZipEntry | undefined): Promise<void> {
  if (!entry) return;
  const text = new TextDecoder().decode(await readEntry(source, entry, 64)).trim();
  if (text !== "little") throw bigEndian(source);
}

function bigEndian(source: RandomAccess): FormatError {
  return new FormatError(
    source.path,
    "written on a big-endian machine",
    "save it again on a little-endian one",
  );
}

/** Reads a pickle. With `mayGrow` it returns null if the bytes end before the pickle does. */
function unpickle(
  source: RandomAccess,
  bytes: Uint8Array,
  start: number,
  into: PickleContext,
  mayGrow: boolean,
): { value: unknown; end: number } | null {
  try {
    return readPickle(bytes, start, into);
  } catch (error) {
    if (mayGrow && error instanceof PickleError && error.truncated) return null;
    if (!(error instanceof PickleError)) throw error;
    throw new FormatError(
      source.path,
      `corrupt: the pickle inside is not as torch.save writes it: ${error.message}`,
    );
  }
}

/** torch's magic number 0x1950a86a20f9469cfc6c as a pickled integer. */
const magic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

/**
 * Whether a file that begins with `head` is a legacy torch file. Protocol 4 puts a frame before the number.
 */
export function isTorchLegacy(head: Uint8Array): boolean {
  return [2, 11].some((at) => magic.every((byte, i) => head[at + i] === byte));
}

const nothing: PickleContext = { persistent: () => null, tensor: () => null };

/** Reads consecutive pickles. The length of each is known only after reading it, so bytes are fetched as needed. */
class PickleSequence {
  readonly source: RandomAccess;

  #bytes = new Uint8Array(0);
  #at = 0;

  constructor(source: RandomAccess) {
    this.source = source;
  }

  /** The position of the next pickle, or of the data after the last one. */
  get position(): number {
    return this.#at;
  }

  async next(into: PickleContext): Promise<unknown> {
    while (true) {
      const result = unpickle(this.source, this.#bytes, this.#at, into, true);
      if (result) {
        this.#at = result.end;
        return result.value;
      }
      await this.#grow();
    }
  }

  async #grow(): Promise<void> {
    const { byteLength, path } = this.source;
    const have = this.#bytes.length;
    if (have >= byteLength) {
      throw new FormatError(path, `truncated: the file ends within its header, at byte ${byteLength}`);
    }
    if (have >= maxPickle) {
      throw new FormatError(path, `corrupt: its header is longer than ${maxPickle} bytes`);
    }
    const length = Math.min(byteLength, maxPickle, Math.max(2 ** 18, have * 8));
    this.#bytes = await readRange(this.source, 0, length, "the header");
  }
}

/**
 * Reads the object in a file that torch.save wrote before version 1.6.
 * @throws FormatError if the file is cut off, or storages do not match their tensors.
 */
export async function readTorchLegacy(source: RandomAccess): Promise<unknown> {
  const { path } = source;
  const pickles = new PickleSequence(source);
  await pickles.next(nothing); // the magic number, which has already been checked
  const version = await pickles.next(nothing);
  if (version !== 1001) {
    const found = typeof version === "number" ? version : "missing";
    throw new FormatError(path, `corrupt: its torch file version is ${found}, not 1001`);
  }
  const system = await pickles.next(nothing);
  if (system instanceof Map && system.get("little_endian") === false) throw bigEndian(source);

  const declared = new Map<string, StorageId>();
  const offsets = new Map<string, number>();
  const storage = (id: StorageId): TorchStorage => {
    const before = declared.get(id.key);
    if (before && (before.dtype !== id.dtype || before.length !== id.length)) {
      throw new FormatError(path, `corrupt: storage ${id.key} is declared twice, differently`);
    }
    declared.set(id.key, id);
    const { from, length } = viewRange(path, id);
    return new TorchStorage(id.dtype, length, () => {
      const offset = offsets.get(id.key);
      return offset === undefined
        ? Promise.reject(new FormatError(path, `corrupt: storage ${id.key} is missing`))
        : Promise.resolve(offset + from * itemSize[id.dtype]);
    });
  };
  const root = await pickles.next(context(source, storage));
  const keys = await pickles.next(nothing);
  const isKey = (key: unknown) => typeof key === "string" || typeof key === "number";
  if (!Array.isArray(keys) || !keys.every(isKey)) {
    throw new FormatError(path, "corrupt: the list of storages is missing");
  }

  const counts = new Window(source, countsWindow);
  let at = pickles.position;
  for (const key of keys.map(String)) {
    const id = declared.get(key);
    if (!id || offsets.has(key)) {
      throw new FormatError(path, `corrupt: storage ${key} is unknown or occurs twice`);
    }
    const length = Number((await counts.view(at, 8, `storage ${key}`)).getBigInt64(0, true));
    if (length !== id.length) {
      throw new FormatError(
        path,
        `corrupt: storage ${key} has ${length} elements, but its tensors expect ${id.length}`,
      );
    }
    checkRange(source, at + 8, length * itemSize[id.dtype], `storage ${key}`);
    offsets.set(key, at + 8);
    at += 8 + length * itemSize[id.dtype];
  }
  const missing = [...declared.keys()].find((key) => !offsets.has(key));
  if (missing !== undefined) throw new FormatError(path, `corrupt: storage ${missing} is missing`);
  return root;
}

/** Returns the part of a storage that a legacy id refers to, in elements. */
function viewRange(path: string, { key, length, view }: StorageId): { from: number; length: number } {
  if (view === null || view === undefined) return { from: 0, length };
  const [, from, count] = Array.isArray(view) ? view : [];
  const sane = Number.isSafeInteger(from) && Number.isSafeInteger(count) && from >= 0 && count >= 0;
  if (!sane || from + count > length) {
    throw new FormatError(path, `corrupt: a view of storage ${key} exceeds its ${length} elements`);
  }
  return { from, length: count };
}
