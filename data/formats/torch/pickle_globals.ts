// The meaning of the names in a pickle: a short list of harmless functions and containers. Every other class becomes an
// inert record of its name, arguments and state. Nothing from the file is ever executed.
import { PickleError } from "./pickle_bytes.ts";

/** An object of a class that this reader does not know, or has no use for. */
export class PickleObject {
  readonly classPath: string;
  readonly args: readonly unknown[];
  /** What Python would have passed to `__setstate__`, usually a Map of the fields. */
  state: unknown = null;
  #items: Map<unknown, unknown> | null = null;
  #elements: unknown[] | null = null;

  constructor(classPath: string, args: readonly unknown[]) {
    this.classPath = classPath;
    this.args = args;
  }

  /** The entries, if the class is a dict. */
  get items(): ReadonlyMap<unknown, unknown> {
    return this.#items ?? noItems;
  }

  /** The elements, if the class is a list. */
  get elements(): readonly unknown[] {
    return this.#elements ?? noElements;
  }

  /** Adds an entry. */
  set(key: unknown, item: unknown): void {
    (this.#items ??= new Map()).set(key, item);
  }

  /** Adds elements. */
  append(elements: readonly unknown[]): void {
    const all = this.#elements ??= [];
    for (const element of elements) all.push(element);
  }
}

const noItems: ReadonlyMap<unknown, unknown> = new Map();
const noElements: readonly unknown[] = Object.freeze([]);

/** OrderedDict and similar classes. */
export class PickleDict extends Map<unknown, unknown> {}

/** A class or function itself as a value, which Lightning 1.0 uses as a key of callbacks. */
export class PickleClass {
  /** The module and the name, such as collections.OrderedDict. */
  readonly classPath: string;
  readonly module: string;
  readonly name: string;
  /** Whether calls make a plain value, which has no state that could be set afterwards. */
  readonly isFunction: boolean;

  constructor(module: string, name: string) {
    this.module = module;
    this.name = name;
    this.classPath = `${module}.${name}`;
    this.isFunction = plainFunctions.has(this.classPath);
  }
}

export function isPickleClass(value: unknown): value is PickleClass {
  return value instanceof PickleClass;
}

/** What a copied entry of a set or a dict costs. */
const entryCost = 4;

/** None of the functions below looks at more arguments. */
const maxArguments = 4;

type Call = (...args: readonly unknown[]) => unknown;

const builtins = ["builtins", "__builtin__"];
const multiarray = ["numpy.core.multiarray", "numpy._core.multiarray"];
const each = (modules: readonly string[], ...names: string[]) =>
  modules.flatMap((module) => names.map((name) => `${module}.${name}`));

/** Functions whose results are plain values, which have no state that could be set afterwards. */
const plainFunctions: ReadonlySet<string> = new Set([
  ...each(["torch._utils"], "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"),
  ...each(["torch._utils"], "_rebuild_parameter_with_state"),
  ...each(["torch"], "Size"),
  ...each(["_codecs"], "encode"),
  ...each(multiarray, "scalar"),
  ...each(builtins, "set", "frozenset", "bytes", "bytearray"),
]);

/** Rebuilds tensors as torch's own functions do. Anything that it cannot rebuild stays a record. */
export interface TensorBuilder {
  /** Returns null if the storage is of an unsupported kind. */
  tensor(storage: unknown, offset: unknown, shape: unknown, stride: unknown): object | null;
}

/** Resolves the names in one pickle, and calls what they stand for. */
export class PickleGlobals {
  readonly #known: ReadonlyMap<string, Call>;
  readonly #made = new Map<string, PickleClass>();
  readonly #spend: (count: number) => void;

  /** @param spend called with the cost of what a call copies, because a few bytes can ask for many copies */
  constructor(builder: TensorBuilder, spend: (count: number) => void) {
    this.#spend = spend;
    this.#known = new Map([
      ...each(["torch._utils"], "_rebuild_tensor", "_rebuild_tensor_v2").map((path): [string, Call] => [
        path,
        (...args) => builder.tensor(args[0], args[1], args[2], args[3]) ?? new PickleObject(path, args),
      ]),
      ...each(["torch._utils"], "_rebuild_parameter", "_rebuild_parameter_with_state")
        .map((path): [string, Call] => [path, (data) => data]),
      ["torch.Size", (sizes) => sizes ?? noElements],
      ["collections.OrderedDict", (pairs) => this.#dict(pairs)],
      ["collections.defaultdict", (_factory, pairs) => this.#dict(pairs)],
      ["_codecs.encode", (text) => this.#latin1(text)],
      ...each(multiarray, "scalar").map((path): [string, Call] => [
        path,
        (dtype, data) => numpyScalar(dtype, this.#latin1(data)) ?? new PickleObject(path, [dtype, data]),
      ]),
      ...each(builtins, "set", "frozenset").map((path): [string, Call] => [
        path,
        (elements) => new Set(this.#elements(elements)),
      ]),
      ...each(builtins, "bytes", "bytearray").map((path): [string, Call] => [
        path,
        (data) => this.#latin1(data ?? ""),
      ]),
    ]);
  }

  resolve(module: string, name: string): PickleClass {
    const path = `${module}.${name}`;
    let made = this.#made.get(path);
    if (made === undefined) this.#made.set(path, made = new PickleClass(module, name));
    return made;
  }

  call(callee: PickleClass, args: readonly unknown[]): unknown {
    const known = this.#known.get(callee.classPath);
    return known ? known(...args.slice(0, maxArguments)) : new PickleObject(callee.classPath, args);
  }

  #elements(list: unknown): readonly unknown[] {
    const isList = Array.isArray(list);
    if (!isList && !(list instanceof Set)) return [];
    this.#spend(entryCost * (isList ? list.length : list.size));
    return isList ? list : [...list];
  }

  /** Makes a dict from nothing, from a list of pairs (Python 2) or from a dict. */
  #dict(pairs: unknown): PickleDict {
    const dict = new PickleDict();
    const entries: Iterable<unknown> = pairs instanceof Map ? pairs.entries() : this.#elements(pairs);
    if (pairs instanceof Map) this.#spend(entryCost * pairs.size);
    for (const pair of entries) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new PickleError("a dict is made from something other than pairs");
      }
      dict.set(pair[0], pair[1]);
    }
    return dict;
  }

  /** Converts text to bytes: protocol 2 writes bytes as text with one character per byte. */
  #latin1(text: unknown): Uint8Array {
    if (text instanceof Uint8Array) return text;
    if (typeof text !== "string") return new Uint8Array(0);
    this.#spend(text.length);
    return Uint8Array.from(text, (character) => character.charCodeAt(0));
  }
}

/** `numpy.core.multiarray.scalar(dtype, bytes)`. Returns null if the type is not a plain number. */
function numpyScalar(dtype: unknown, bytes: Uint8Array): number | boolean | null {
  if (!(dtype instanceof PickleObject) || !Array.isArray(dtype.state)) return null;
  const [code] = dtype.args, little = dtype.state[1] !== ">";
  if (typeof code !== "string" || bytes.length === 0 || bytes.length !== Number(code.slice(1))) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (code) {
    case "f8":
      return view.getFloat64(0, little);
    case "f4":
      return view.getFloat32(0, little);
    case "f2":
      return view.getFloat16(0, little);
    case "i8":
      return Number(view.getBigInt64(0, little));
    case "i4":
      return view.getInt32(0, little);
    case "i2":
      return view.getInt16(0, little);
    case "i1":
      return view.getInt8(0);
    case "u8":
      return Number(view.getBigUint64(0, little));
    case "u4":
      return view.getUint32(0, little);
    case "u2":
      return view.getUint16(0, little);
    case "u1":
      return view.getUint8(0);
    case "b1":
      return view.getUint8(0) !== 0;
    default:
      return null;
  }
}
