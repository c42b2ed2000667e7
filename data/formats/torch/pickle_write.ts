// Writes Python pickles of protocol 2, as torch.save does: plain values, and tensors as references to storages outside
// the pickle.
import { contiguousStrides, sizeOf } from "../../../src/shape.ts";
import type { TensorToWrite, WrittenDType } from "../values.ts";

/** A Python tuple. Arrays become lists instead. */
export class Tuple {
  /** The items of the tuple. */
  readonly items: readonly Pickleable[];

  /** Makes a tuple of these items. */
  constructor(items: readonly Pickleable[]) {
    this.items = items;
  }
}

/** A collections.OrderedDict. Maps become plain dicts instead. */
export class OrderedDict extends Map<string, Pickleable> {}

/** The values that can be pickled. */
export type Pickleable =
  | null
  | boolean
  | number
  | string
  | readonly Pickleable[]
  | Tuple
  | ReadonlyMap<string | number, Pickleable>
  | TensorToWrite;

/** The names of torch's storages, which do not exist for unsigned integers of more than 8 bits. */
const storageClasses: Readonly<Partial<Record<WrittenDType, string>>> = {
  f32: "FloatStorage",
  f16: "HalfStorage",
  bf16: "BFloat16Storage",
  f64: "DoubleStorage",
  i64: "LongStorage",
  i32: "IntStorage",
  i16: "ShortStorage",
  i8: "CharStorage",
  u8: "ByteStorage",
  bool: "BoolStorage",
};

const op = {
  mark: 0x28,
  tuple: 0x74,
  emptyTuple: 0x29,
  reduce: 0x52,
  none: 0x4e,
  true: 0x88,
  false: 0x89,
  list: 0x5d,
  appends: 0x65,
  dict: 0x7d,
  setItems: 0x75,
  persistent: 0x51,
  stop: 0x2e,
} as const;

/**
 * Returns the pickle of a value and the tensors in it: storage i belongs to tensor i.
 * @example
 * ```ts
 * const { bytes } = writePickle(new Map([["epoch", 3]]));
 * ```
 */
export function writePickle(value: Pickleable): { bytes: Uint8Array; tensors: TensorToWrite[] } {
  const writer = new Writer();
  writer.put(0x80, 2); // PROTO
  writer.value(value);
  writer.put(op.stop);
  return { bytes: writer.bytes, tensors: writer.tensors };
}

class Writer {
  readonly tensors: TensorToWrite[] = [];
  #bytes = new Uint8Array(2 ** 12);
  #length = 0;
  /** The memo numbers of the texts and classes that have been written. */
  readonly #memo = new Map<string, number>();

  /** What has been written. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  put(...bytes: number[]): void {
    this.#add(bytes);
  }

  #add(bytes: ArrayLike<number>): void {
    if (this.#length + bytes.length > this.#bytes.length) {
      const more = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + bytes.length));
      more.set(this.#bytes);
      this.#bytes = more;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Writes something in full the first time, and as a reference afterwards. */
  #once(name: string, head: readonly number[], text: Uint8Array): void {
    const known = this.#memo.get(name);
    if (known !== undefined) return this.put(0x6a, ...uint32(known)); // LONG_BINGET
    this.#add(head);
    this.#add(text);
    this.put(0x72, ...uint32(this.#memo.size)); // LONG_BINPUT
    this.#memo.set(name, this.#memo.size);
  }

  #text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#once(`"${text}`, [0x58, ...uint32(bytes.length)], bytes); // BINUNICODE
  }

  #global(module: string, name: string): void {
    this.#once(`c${module} ${name}`, [0x63], new TextEncoder().encode(`${module}\n${name}\n`));
  }

  #number(n: number): void {
    if (!Number.isSafeInteger(n) || Object.is(n, -0)) {
      this.put(
        0x47,
        ...bytesOf((v) => v.setFloat64(0, n), 8),
      ); // BINFLOAT
    } else if (Math.abs(n) < 2 ** 31) this.put(0x4a, ...bytesOf((v) => v.setInt32(0, n, true), 4)); // BININT
    else this.put(0x8a, 8, ...bytesOf((v) => v.setBigInt64(0, BigInt(n), true), 8)); // LONG1
  }

  value(value: Pickleable): void {
    if (value === null) this.put(op.none);
    else if (typeof value === "boolean") this.put(value ? op.true : op.false);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof Tuple) this.#tuple(value.items);
    else if (value instanceof Map) this.#dict(value);
    else if (Array.isArray(value)) {
      this.put(op.list, op.mark);
      for (const item of value) this.value(item);
      this.put(op.appends);
    } else this.#tensor(value as TensorToWrite);
  }

  #tuple(items: readonly Pickleable[]): void {
    this.put(op.mark);
    for (const item of items) this.value(item);
    this.put(op.tuple);
  }

  #dict(map: ReadonlyMap<string | number, Pickleable>): void {
    if (map instanceof OrderedDict) {
      this.#global("collections", "OrderedDict");
      this.put(op.emptyTuple, op.reduce);
    } else this.put(op.dict);
    this.put(op.mark);
    for (const [key, item] of map) {
      this.value(key);
      this.value(item);
    }
    this.put(op.setItems);
  }

  /** torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks). */
  #tensor(tensor: TensorToWrite): void {
    const { name, shape, dtype } = tensor;
    const storage = storageClasses[dtype];
    if (storage === undefined) {
      throw new Error(`tensor ${name} has the type ${dtype}, for which torch has no storage`);
    }
    const key = String(this.tensors.push(tensor) - 1);
    this.#global("torch._utils", "_rebuild_tensor_v2");
    this.put(op.mark, op.mark);
    this.#text("storage");
    this.#global("torch", storage);
    for (const part of [key, "cpu", sizeOf(shape)]) this.value(part);
    this.put(op.tuple, op.persistent);
    this.#number(0);
    this.#tuple(shape);
    this.#tuple(contiguousStrides(shape));
    this.put(op.false);
    this.value(new OrderedDict());
    this.put(op.tuple, op.reduce);
  }
}

function bytesOf(fill: (view: DataView) => void, length: number): number[] {
  const view = new DataView(new ArrayBuffer(length));
  fill(view);
  return [...new Uint8Array(view.buffer)];
}

function uint32(n: number): number[] {
  return bytesOf((view) => view.setUint32(0, n, true), 4);
}
