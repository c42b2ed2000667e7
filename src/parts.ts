// Long computations in parts. Such a computation is a generator that yields between its parts. `finish` runs it in one go;
// `inTurns` lets other events run in between, so that it can be stopped and reports how far it is.
import type { Backend } from "./backends/backend.ts";
import { close, flow, open, Scope } from "./scope.ts";

/** A computation in parts, which returns its result at the end. */
export type Parts<T> = Generator<void, T>;

export function isParts(value: unknown): value is Parts<unknown> {
  return Object.prototype.toString.call(value) === "[object Generator]";
}

/** Runs all parts without a pause. @returns the result; what is no computation in parts is returned as it is */
export function finish<T>(parts: Parts<T> | T): T {
  if (!isParts(parts)) return parts;
  let step = parts.next();
  while (!step.done) step = parts.next();
  return step.value as T;
}

/** How a computation in parts is watched and stopped. */
export interface TurnOptions {
  /** Aborting it ends the computation after the current part, and makes the function reject with its reason. */
  readonly signal?: AbortSignal;
  /** Called after each part but the last. */
  readonly onPart?: () => void;
}

/** Milliseconds between two pauses. A pause takes a millisecond or more, so more of them would cost more than 1 %. */
const turn = 100;

/** When other events could run last. It counts over all computations, because many short ones in a row must pause too. */
let paused = performance.now();

/** Lets other events run, and waits for a device that is far behind. */
export async function pause(backend: Backend): Promise<void> {
  await backend.pause();
  paused = performance.now();
}

/** Runs the parts one after the other on a device, and lets other events run in between. */
export async function inTurns<T>(
  backend: Backend,
  parts: Parts<T>,
  { signal, onPart }: TurnOptions = {},
): Promise<T> {
  try {
    while (true) {
      signal?.throwIfAborted();
      const step = parts.next();
      if (step.done) return step.value;
      onPart?.();
      if (performance.now() - paused >= turn) await pause(backend);
    }
  } finally {
    parts.return(undefined as T); // frees what an unfinished computation holds
  }
}

/**
 * `scope` for a computation in parts: what it makes belongs to a scope of its own, which ends with it.
 * @param grad whether operations are recorded for backward; default: as around it
 */
export function* scopeParts<T>(start: () => Parts<T> | T, grad?: boolean): Parts<T> {
  const inner = new Scope(open(flow()));
  const inside = <R>(fn: () => R): R => {
    const mine = flow(), before = { ...mine };
    mine.scope = inner;
    mine.grad = grad ?? before.grad;
    try {
      return fn();
    } finally {
      mine.scope = before.scope;
      mine.grad = before.grad;
    }
  };
  let result: T | undefined, parts: Parts<T> | T | undefined;
  try {
    parts = inside(start);
    if (!isParts(parts)) return result = parts;
    const made = parts as Parts<T>;
    while (true) {
      const step = inside(() => made.next());
      if (step.done) return result = step.value;
      yield;
    }
  } finally {
    if (isParts(parts)) inside(() => (parts as Parts<unknown>).return(undefined));
    close(inner, result);
  }
}
