// Converts unpickled objects to plain ones: it unwraps what is common in hyper-parameters (omegaconf, argparse,
// Lightning) and finds the tensors in any structure. Both walk over structures that may be cyclic, shared or very deep.
import { isPickleClass, PickleObject } from "./pickle_globals.ts";
import { FormatError } from "../source.ts";
import type { StoredTensor } from "../stored_tensor.ts";

const maxDepth = 100;
/**
 * Shared parts are visited once for each path to them, and a hostile file can contain very many paths, or long names that
 * repeat in all of them. A file with 200,000 tensors is far below these limits.
 */
const maxPlain = 2 ** 19, maxVisits = 2 ** 21, maxNames = 2 ** 26, maxTensors = 2 ** 19;

export function isStoredTensor(value: unknown): value is StoredTensor {
  return typeof value === "object" && value !== null && "readFloats" in value;
}

class Walk {
  readonly #path = new Set<unknown>();
  readonly #most: number;
  #visits = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Counts a value. @returns whether it is one too many */
  isFull(): boolean {
    return ++this.#visits > this.#most;
  }

  /** Runs `visit` unless `value` is already being visited (a cycle) or is too deep. */
  into<T>(value: unknown, visit: () => T, otherwise: T): T {
    if (this.#path.size > maxDepth || this.#path.has(value)) return otherwise;
    this.#path.add(value);
    const result = visit();
    this.#path.delete(value);
    return result;
  }
}

/** The name that a key gives. Tuples of plain values are joined; anything deeper has no name of its own. */
function keyText(key: unknown): string {
  if (isPickleClass(key) || key instanceof PickleObject) return key.classPath;
  if (Array.isArray(key) && key.length <= 8 && key.every(isPlain)) return key.join(",");
  return isPlain(key) ? String(key) : "(a structure)";
}

const isPlain = (value: unknown) => value === null || ["string", "number", "boolean"].includes(typeof value);

/**
 * Converts an unpickled value to a plain one. omegaconf's DictConfig, ListConfig and nodes become their contents, dicts
 * and objects with fields become objects, tuples and sets become arrays, and classes become their name as text. Cycles
 * become null.
 *
 * The hyper-parameters of a checkpoint become { ddconfig: { ch: 128, ch_mult: [1, 1, 2, 2, 4] }, ... }, for example.
 */
export function unwrapOmegaconf(value: unknown): unknown {
  return unwrap(value, new Walk(maxPlain));
}

function unwrap(value: unknown, walk: Walk): unknown {
  if (walk.isFull()) return null;
  if (isPickleClass(value)) return value.classPath;
  if (typeof value !== "object" || value === null) return value ?? null;
  if (isStoredTensor(value)) return `tensor ${value.dtype} [${value.shape}]`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return walk.into<unknown>(value, () => {
    if (value instanceof Map) {
      return Object.fromEntries([...value].map(([key, item]) => [keyText(key), unwrap(item, walk)]));
    }
    if (Array.isArray(value)) return value.map((item) => unwrap(item, walk));
    if (value instanceof Set) return [...value].map((item) => unwrap(item, walk));
    return value instanceof PickleObject ? unwrapObject(value, walk) : null;
  }, null);
}

function unwrapObject(object: PickleObject, walk: Walk): unknown {
  if (object.items.size > 0) return unwrap(object.items, walk);
  if (object.elements.length > 0) return unwrap(object.elements, walk);
  if (!(object.state instanceof Map)) return object.classPath;
  if (object.classPath.startsWith("omegaconf.")) {
    // `_parent` is ignored, because it leads to the configuration of the whole project
    const contents = object.state.get("_content");
    return unwrap(contents === undefined ? object.state.get("_val") : contents, walk);
  }
  return unwrap(object.state, walk);
}

/**
 * Finds all tensors below `root` and lists them by path: names joined by ".", list positions as "[i]". For a whole
 * pickled module the paths are its state_dict keys, without the buffers that a state_dict leaves out.
 * @param path the file's name in errors
 * @throws FormatError if there are more paths than a file needs
 */
export function flattenTensors(root: unknown, path = "(values)"): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>(), copies = new Map<string, number>();
  const walk = new Walk(maxVisits);
  let length = 0;
  const tooMuch = () => new FormatError(path, "it has more names or tensors than a checkpoint needs");
  const add = (name: string, tensor: StoredTensor): void => {
    if ((length += name.length) > maxNames || found.size >= maxTensors) throw tooMuch();
    const before = copies.get(name) ?? 0; // {"a": {"b": x}, "a.b": y} gives two tensors one name
    copies.set(name, before + 1);
    found.set(before === 0 ? name : `${name} (${before + 1})`, tensor);
  };
  const visit = (value: unknown, path: string): void => {
    if (walk.isFull()) throw tooMuch();
    if (typeof value !== "object" || value === null) return;
    if (isStoredTensor(value)) return add(path || "tensor", value);
    const name = (key: unknown) => path === "" ? keyText(key) : `${path}.${keyText(key)}`;
    walk.into(value, () => {
      if (value instanceof Map) { for (const [key, item] of value) visit(item, name(key)); }
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) visit(item, `${path}[${i}]`);
      } else if (value instanceof PickleObject) {
        visit(value.items, path);
        visit(value.elements, path);
        for (const part of partsOf(value.state)) visit(part, path);
      }
    }, undefined);
  };
  visit(root, "");
  return found;
}

/** The parts of an object's state that belong to its state_dict: all of it, unless it is a module of torch. */
function partsOf(state: unknown): unknown[] {
  if (!(state instanceof Map && state.has("_modules"))) return [state];
  const buffers: unknown = state.get("_buffers"), passing: unknown = state.get("_non_persistent_buffers_set");
  const kept = buffers instanceof Map && passing instanceof Set
    ? new Map([...buffers].filter(([name]) => !passing.has(name)))
    : buffers;
  return [state.get("_parameters"), kept, state.get("_modules")];
}

/** Names at the top of a checkpoint under which training keeps its state, beside the model's. */
const ofTraining = /optim|sched|scaler|callback|loop|rng|random/i;

/**
 * Returns the tensors of `state_dict` if the file has one. Otherwise it may hold several models, each in a dict of its own:
 * then all tensors are returned by path, except those of optimizers.
 */
export function stateDictOf(root: unknown, path: string): Map<string, StoredTensor> {
  if (!(root instanceof Map)) return flattenTensors(root, path);
  const declared = flattenTensors(root.get("state_dict"), path);
  if (declared.size > 0) return declared;
  const isModel = ([key, value]: [unknown, unknown]) =>
    isStoredTensor(value) || !ofTraining.test(keyText(key));
  return flattenTensors(new Map([...root].filter(isModel)), path);
}
