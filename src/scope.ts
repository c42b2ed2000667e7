// Scopes own memory: every tensor made inside one is freed when it ends, except those it returns. Scopes, `noGrad` and the
// chosen backend belong to a flow, which is what one chain of calls and awaits carries with it; two overlapping
// chains never see each other's. This file knows a tensor only as a thing with an owner, so that array.ts can import it.
import type { Backend } from "./backends/backend.ts";

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

/** The tensors to free at an end, and the scope around this one. */
export class Scope {
  readonly owned: Owned[] = [];
  readonly parent: Scope | null;
  closed = false;

  constructor(parent: Scope | null) {
    this.parent = parent;
  }
}

/** One record, so that an operation looks up its scope, the tape and the backend at once. */
export interface Flow {
  scope: Scope | null;
  /** Whether operations are recorded for backward. */
  grad: boolean;
  /** Where new tensors live; null for the device that the whole program chose. */
  backend: Backend | null;
}

interface Store {
  getStore(): Flow | undefined;
  run<T>(flow: Flow, fn: () => T): T;
}

const overlap = "two asyncScopes overlapped, and this runtime has no AsyncLocalStorage to tell them apart: " +
  "await one before the next begins";

/**
 * For web pages, which have no asynchronous context: the innermost flow is everybody's. An end in the wrong order
 * throws. It cannot notice a flow that begins and ends while another one waits, and that frees what the other made
 * meanwhile; using such a tensor throws. A page therefore runs one job at a time.
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
      this.#flows.splice(at, 1); // from wherever it is, so that one mistake does not spoil what follows
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

/** AsyncLocalStorage where the runtime has it: a look-up costs 2 to 10 ns. @param shared what pages have, for tests */
export function makeStore(shared = false): Store {
  const { process } = globalThis as { process?: ProcessWithModules };
  const hooks = shared ? undefined : process?.getBuiltinModule?.("node:async_hooks");
  return hooks ? new hooks.AsyncLocalStorage() : new SharedStore();
}

let store = makeStore();
const root: Flow = { scope: null, grad: true, backend: null };

/** Exchanges the store, for tests. @returns the one before */
export function useStore(next: Store): Store {
  const before = store;
  store = next;
  return before;
}

/** The flow that the caller runs in. */
export function flow(): Flow {
  return store.getStore() ?? root;
}

/** Runs `fn`, which may await, in a flow that differs from the current one in what is given. */
export function inFlow<T>(changes: Partial<Flow>, fn: () => T): T {
  return store.run({ ...flow(), ...changes }, fn);
}

/** Why a tensor may have been freed too early, where a runtime cannot tell flows apart; "" elsewhere. */
export function overlapHint(): string {
  return store instanceof SharedStore ? `; or ${overlap}` : "";
}

/** The scope that a tensor made now goes to; asked before its memory is taken. @throws if that scope has ended */
export function openScope(): Scope | null {
  return open(flow());
}

function open({ scope }: Flow): Scope | null {
  if (!scope?.closed) return scope;
  throw new Error(
    "asyncScope: a tensor was made after the scope around it had ended: await everything that runs inside the scope",
  );
}

/** Puts a tensor in the care of a scope. */
export function give(t: Owned, scope: Scope | null): void {
  t.owner = scope;
  scope?.owned.push(t);
}

/**
 * Runs `fn` and frees every tensor made inside except those in its result (a tensor, or arrays, maps and
 * plain objects of them), which pass to the surrounding scope. Gradients in `.grad` stay, since they are to be added to:
 * an optimizer's `zeroGrad` frees them, or `dispose`.
 *
 * @example A result without what it was made of
 * ```ts
 * import { scope, tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2, 3]);
 * const y = scope(() => x.mul(2).add(1)); // x * 2 is freed, y lives
 * ```
 * @throws TypeError if `fn` is asynchronous: that needs `asyncScope`
 */
export function scope<T>(fn: () => T): T {
  // Nothing else runs before `fn` returns, so the flow's own record is changed: a flow for each scope would double the
  // time of a small operation.
  const mine = flow(), before = open(mine), inner = new Scope(before);
  mine.scope = inner;
  let result: T | undefined;
  try {
    result = fn();
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
 * `scope` for a function that awaits. Any number may be open at once, each with its own tensors.
 *
 * @example The tokens of images; every tensor is freed
 * ```ts
 * import { asyncScope, type Tensor, type VQGAN } from "@tessera/vqgan/core";
 *
 * const tokensOf = (model: VQGAN, images: Tensor) =>
 *   asyncScope(async () => await model.encode(images).indices.ints());
 * ```
 */
export async function asyncScope<T>(fn: () => Promise<T>): Promise<T> {
  const inner = new Scope(openScope());
  let result: T | undefined;
  try {
    return result = await inFlow({ scope: inner }, fn);
  } finally {
    close(inner, result);
  }
}

/** Takes a tensor out of its scope: it lives until `dispose()`. Parameters and optimizer states are kept. */
export function keep<T extends Owned>(t: T): T {
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
 */
export function noGrad<T>(fn: () => T): T {
  return inFlow({ grad: false }, fn);
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

function close(inner: Scope, result: unknown): void {
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

/** Finds the tensors in a returned value. Results are nested four levels deep at most. */
function collect(value: unknown, into: Set<unknown>, depth: number): void {
  if (typeof value !== "object" || value === null || depth > 4) return;
  if ("owner" in value && "dispose" in value) into.add(value);
  else if (Array.isArray(value)) { for (const v of value) collect(v, into, depth + 1); }
  else if (value instanceof Map) { for (const v of value.values()) collect(v, into, depth + 1); }
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const v of Object.values(value)) collect(v, into, depth + 1);
  }
}
