// Converts unpickled objects to plain ones: it unwraps what is common in hyper-parameters (omegaconf, argparse,
// Lightning) and finds the tensors in any structure. Both walk over structures that may be cyclic, shared or very deep.
import { isPickleClass, PickleObject } from "./pickle_globals.ts";
import type { StoredTensor } from "../stored_tensor.ts";

const maxDepth = 100;
/** Shared parts are visited once for each path to them, and a hostile file can contain very many paths. */
const maxVisits = 200_000;

export function isStoredTensor(value: unknown): value is StoredTensor {
  return typeof value === "object" && value !== null && "readFloats" in value;
}

class Walk {
  readonly #path = new Set<unknown>();
  #visits = 0;

  /** Runs `visit` unless `value` is already being visited (a cycle) or is too deep. */
  into<T>(value: unknown, visit: () => T, otherwise: T): T {
    if (++this.#visits > maxVisits || this.#path.size > maxDepth || this.#path.has(value)) return otherwise;
    this.#path.add(value);
    const result = visit();
    this.#path.delete(value);
    return result;
  }
}

function keyText(key: unknown): string {
  return isPickleClass(key) ? key.classPath : key instanceof PickleObject ? key.classPath : String(key);
}

/**
 * Converts an unpickled value to a plain one. omegaconf's DictConfig, ListConfig and nodes become their contents, dicts
 * and objects with fields become objects, tuples and sets become arrays, and classes become their name as text. Cycles
 * become null.
 *
 * The hyper-parameters of a checkpoint become { ddconfig: { ch: 128, ch_mult: [1, 1, 2, 2, 4] }, ... }, for example.
 */
export function unwrapOmegaconf(value: unknown): unknown {
  return unwrap(value, new Walk());
}

function unwrap(value: unknown, walk: Walk): unknown {
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
 * pickled module the paths are its state_dict keys.
 */
export function flattenTensors(root: unknown): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>();
  const walk = new Walk();
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    if (isStoredTensor(value)) {
      found.set(path || "tensor", value);
      return;
    }
    const name = (key: unknown) => path === "" ? keyText(key) : `${path}.${keyText(key)}`;
    walk.into(value, () => {
      if (value instanceof Map) { for (const [key, item] of value) visit(item, name(key)); }
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) visit(item, `${path}[${i}]`);
      } else if (value instanceof PickleObject) {
        visit(value.items, path);
        visit(value.elements, path);
        const { state } = value;
        if (!(state instanceof Map && state.has("_modules"))) visit(state, path);
        else for (const part of ["_parameters", "_buffers", "_modules"]) visit(state.get(part), path);
      }
    }, undefined);
  };
  visit(root, "");
  return found;
}

/** Names at the top of a checkpoint under which training keeps its state, beside the model's. */
const ofTraining = /optim|sched|scaler|callback|loop|rng|random/i;

/**
 * Returns the tensors of `state_dict` if the file has one. Otherwise it may hold several models, each in a dict of its own:
 * then all tensors are returned by path, except those of optimizers.
 */
export function stateDictOf(root: unknown): Map<string, StoredTensor> {
  if (!(root instanceof Map)) return flattenTensors(root);
  const declared = flattenTensors(root.get("state_dict"));
  if (declared.size > 0) return declared;
  const isModel = ([key, value]: [unknown, unknown]) =>
    isStoredTensor(value) || !ofTraining.test(String(key));
  return flattenTensors(new Map([...root].filter(isModel)));
}
