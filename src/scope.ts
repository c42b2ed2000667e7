// Scopes own memory: every tensor made inside a scope is freed when the scope ends, except those that it returns. The
// current scope, `noGrad` and the chosen backend are stored in a `Flow`. Each chain of calls and awaits has a flow of its
// own, so two chains that overlap in time do not disturb each other. This file does not import Tensor, so that array.ts can
// import this file.
import type { Backend } from "./backends/backend.ts";
import { callback, check, shown } from "./check.ts";

/** What a scope can own. */
export interface Owned {
  /**
   * The scope that will free it.
   * @internal
   */
  owner: Scope | null;
  /** Frees it. */
  dispose(): void;
}

/** The tensors to free when the scope ends, and the scope around this one. */
export class Scope {
  readonly owned: Owned[] = [];
  readonly parent: Scope | null;
  closed = false;

  constructor(parent: Scope | null) {
    this.parent = parent;
  }
}

/** What one chain of calls and awaits carries with it. It is one record, so that an operation needs one look-up for all. */
export interface Flow {
  scope: Scope | null;
  /** Whether operations are recorded for backward. */
  grad: boolean;
  /** Where new tensors are made; null for the device that the whole program chose. */
  backend: Backend | null;
}

interface Store {
  getStore(): Flow | undefined;
  run<T>(flow: Flow, fn: () => T): T;
}

const overlap = "two asyncScopes overlapped, and this runtime has no AsyncLocalStorage to tell them apart: " +
  "await one before the next begins";

/**
 * For web pages, which have no asynchronous context: a stack of flows, whose innermost one is used by all code. It throws if
 * flows end in the wrong order. It cannot detect a flow that begins and ends while another one awaits, and that frees
 * what the other one made in that time; using such a tensor throws. A page must therefore run one job at a time.
 */
class SharedStore implements Store {
  readonly #flows: Flow[] = [];

  getStore(): Flow | undefined {
    return this.#flows.at(-1);
  }

  run<T>(flow: Flow, fn: () => T): T {
    this.#flows.push(flow);
    return whenSettled(fn, () => {
      const at = this.#flows.lastIndexOf(flow), isInnermost = at === this.#flows.length - 1;
      this.#flows.splice(at, 1); // wherever it is in the stack, so that one mistake does not break what follows
      if (!isInnermost) throw new Error(`asyncScope: ${overlap}`);
    });
  }
}

/** Runs `fn`, then `after`: at once, or when the promise that `fn` returned is settled. */
function whenSettled<T>(fn: () => T, after: (result?: unknown) => void): T {
  let result: T;
  try {
    result = fn();
  } catch (error) {
    after();
    throw error;
  }
  if (!(result instanceof Promise)) {
    after(result);
    return result;
  }
  const succeeded = (value: unknown) => {
    after(value);
    return value;
  };
  const failed = (error: unknown) => {
    after();
    throw error;
  };
  return result.then(succeeded, failed) as T;
}

interface ProcessWithModules {
  getBuiltinModule?(name: string): { AsyncLocalStorage: new () => Store } | undefined;
}

/** AsyncLocalStorage if the runtime has it; a look-up costs 2 to 10 ns. @param shared for tests: what web pages get */
export function makeStore(shared = false): Store {
  const { process } = globalThis as { process?: ProcessWithModules };
  const hooks = shared ? undefined : process?.getBuiltinModule?.("node:async_hooks");
  return hooks ? new hooks.AsyncLocalStorage() : new SharedStore();
}

let store = makeStore();
const root: Flow = { scope: null, grad: true, backend: null };

/** Replaces the store, for tests. @returns the previous one */
export function useStore(next: Store): Store {
  const before = store;
  store = next;
  return before;
}

/** The flow that the caller runs in. */
export function flow(): Flow {
  return store.getStore() ?? root;
}

/** Runs `fn`, which may await, in a copy of the current flow with these changes. */
export function inFlow<T>(changes: Partial<Flow>, fn: () => T): T {
  return store.run({ ...flow(), ...changes }, fn);
}

/** For messages: why a tensor may have been freed too early in a runtime that cannot tell flows apart; otherwise "". */
export function overlapHint(): string {
  return store instanceof SharedStore ? `; or ${overlap}` : "";
}

/**
 * The scope that will own a new tensor. Call it before allocating, so that an error leaves no memory behind.
 * @throws if that scope has ended
 */
export function openScope(): Scope | null {
  return open(flow());
}

export function open({ scope }: Flow): Scope | null {
  if (!scope?.closed) return scope;
  throw new Error(
    "asyncScope: a tensor was made after the scope around it had ended: await everything that runs inside the scope",
  );
}

/** Makes a scope the owner of a tensor. */
export function give(t: Owned, scope: Scope | null): void {
  t.owner = scope;
  scope?.owned.push(t);
}

/**
 * Runs `fn` and frees every tensor made inside except those in its result (a tensor, or arrays, maps and
 * plain objects of them), which pass to the surrounding scope. Gradients in `.grad` stay, since they are to be added to:
 * an optimizer's `zeroGrad` frees them, or `dispose`.
 *
 * @example A result, without the intermediate values
 * ```ts
 * import { scope, tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2, 3]);
 * const y = scope(() => x.mul(2).add(1)); // x * 2 is freed, y lives
 * ```
 * @throws TypeError if `fn` is a generator, or asynchronous: that needs `asyncScope`
 */
export function scope<T>(fn: () => T): T {
  check("scope", "fn", fn, callback);
  // Nothing else runs before `fn` returns, so it is enough to change the record of the current flow. Entering a new flow for
  // each scope would double the time of a small operation.
  const mine = flow(), before = open(mine), inner = new Scope(before);
  mine.scope = inner;
  let result: T | undefined;
  try {
    result = fn();
    refuseGenerator("scope", result);
    if (!(result instanceof Promise)) return result;
    result.catch(() => {}); // the error below says what is wrong
    result = undefined;
    throw new TypeError("scope: the function is asynchronous: use `await asyncScope(async () => ...)`");
  } finally {
    mine.scope = before;
    close(inner, result);
  }
}

/**
 * `scope` for a function that awaits. Several may be open at the same time; each frees only its own tensors.
 *
 * @example Returns tokens as numbers, so that every tensor is freed
 * ```ts
 * import { asyncScope, type Tensor, type VQGAN } from "@tessera/vqgan/core";
 *
 * const tokensOf = (model: VQGAN, images: Tensor) =>
 *   asyncScope(async () => await model.encode(images).indices.ints());
 * ```
 */
export async function asyncScope<T>(fn: () => Promise<T>): Promise<T> {
  check("asyncScope", "fn", fn, callback);
  const inner = new Scope(openScope());
  let result: T | undefined;
  try {
    result = await inFlow({ scope: inner }, fn);
    refuseGenerator("asyncScope", result);
    return result;
  } finally {
    close(inner, result);
  }
}

/** @throws TypeError if what a function returned is a generator, since its code runs only after the function has ended */
function refuseGenerator(who: string, result: unknown): void {
  const kind = Object.prototype.toString.call(result);
  if (kind !== "[object Generator]" && kind !== "[object AsyncGenerator]") return;
  throw new TypeError(
    `${who}: the function returns a generator, which runs only later: return a list of what it yields`,
  );
}

/**
 * Takes a tensor out of its scope, so that it lives until `dispose()`, as parameters and optimizer states do.
 * @throws TypeError if it is not a tensor, such as a list of tensors
 */
export function keep<T extends Owned>(t: T): T {
  if (typeof t !== "object" || t === null || !("owner" in t)) {
    throw new TypeError(
      `keep: expected a tensor, got ${shown(t)}; keep each tensor of a list or a map by itself`,
    );
  }
  t.owner = null;
  return t;
}

/** Whether operations are recorded for backward. */
export function isGradEnabled(): boolean {
  return flow().grad;
}

/**
 * Runs `fn`, which may be asynchronous, without recording operations for backward.
 * @example A measurement that leaves no tape
 * ```ts
 * import { noGrad, tensor } from "@tessera/vqgan/core";
 *
 * const w = tensor([1, 2], [2], { requiresGrad: true });
 * const length = noGrad(() => w.square().sum().sqrt());
 * ```
 * @throws TypeError if `fn` is a generator
 */
export function noGrad<T>(fn: () => T): T {
  check("noGrad", "fn", fn, callback);
  const result = inFlow({ grad: false }, fn);
  refuseGenerator("noGrad", result);
  return result;
}

/** Switches recording on or off for a function that does not await. */
export function withGrad<T>(on: boolean, fn: () => T): T {
  const mine = flow(), before = mine.grad;
  mine.grad = on;
  try {
    return fn();
  } finally {
    mine.grad = before;
  }
}

/** Ends a scope: what is in `result` passes to the nearest open scope around it, everything else is freed. */
export function close(inner: Scope, result: unknown): void {
  inner.closed = true;
  let heir = inner.parent;
  while (heir?.closed) heir = heir.parent;
  const returned = new Set<unknown>();
  collect(result, returned, 0);
  for (const t of inner.owned) {
    if (t.owner !== inner) continue; // kept, moved or already freed
    if (returned.has(t)) give(t, heir);
    else t.dispose();
  }
}

/** Collects the tensors in a returned value, at most four levels deep. */
function collect(value: unknown, into: Set<unknown>, depth: number): void {
  if (typeof value !== "object" || value === null || depth > 4) return;
  if ("owner" in value && "dispose" in value) into.add(value);
  else if (Array.isArray(value)) { for (const v of value) collect(v, into, depth + 1); }
  else if (value instanceof Map) { for (const v of value.values()) collect(v, into, depth + 1); }
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const v of Object.values(value)) collect(v, into, depth + 1);
  }
}
