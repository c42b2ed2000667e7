// Scopes own memory: every tensor made inside one is freed when it ends, except those it returns.
import type { Tensor } from "./tensor.ts";

export class Scope {
  readonly tensors: Tensor[] = [];
}

const stack: Scope[] = [];

/** Puts a new tensor in the care of the innermost scope. */
export function adopt(t: Tensor): void {
  const scope = stack.at(-1);
  if (!scope) return;
  t.owner = scope;
  scope.tensors.push(t);
}

/**
 * Runs `fn` and frees every tensor made inside except those in its result (a tensor, or arrays, maps and
 * plain objects of them), which pass to the surrounding scope.
 *
 * @example
 * const y = scope(() => x.mul(2).add(1)); // x * 2 is freed, y lives
 */
export function scope<T>(fn: () => T): T {
  const mine = new Scope();
  stack.push(mine);
  try {
    const result = fn();
    close(mine, result);
    return result;
  } catch (error) {
    close(mine, undefined);
    throw error;
  }
}

/** `scope` for a function that awaits. Scopes must end in the reverse order of their beginning. */
export async function asyncScope<T>(fn: () => Promise<T>): Promise<T> {
  const mine = new Scope();
  stack.push(mine);
  try {
    const result = await fn();
    close(mine, result);
    return result;
  } catch (error) {
    close(mine, undefined);
    throw error;
  }
}

/** Takes a tensor out of its scope: it lives until `dispose()`. Parameters and optimizer states are kept. */
export function keep<T extends Tensor>(t: T): T {
  t.owner = null;
  return t;
}

function close(mine: Scope, result: unknown): void {
  if (stack.at(-1) !== mine) {
    stack.splice(stack.indexOf(mine), 1);
  } else {
    stack.pop();
  }
  const returned = new Set<Tensor>();
  collect(result, returned, 0);
  for (const t of mine.tensors) {
    if (t.owner !== mine) continue; // kept, moved or already freed
    if (returned.has(t)) adopt(orphan(t));
    else t.dispose();
  }
}

function orphan(t: Tensor): Tensor {
  t.owner = null;
  return t;
}

/** Finds the tensors in a returned value; four levels deep is as far as results are nested. */
function collect(value: unknown, into: Set<Tensor>, depth: number): void {
  if (typeof value !== "object" || value === null || depth > 4) return;
  if (isTensor(value)) into.add(value);
  else if (Array.isArray(value)) { for (const v of value) collect(v, into, depth + 1); }
  else if (value instanceof Map) { for (const v of value.values()) collect(v, into, depth + 1); }
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const v of Object.values(value)) collect(v, into, depth + 1);
  }
}

// By shape and not by instanceof: tensor.ts imports this file.
function isTensor(value: object): value is Tensor {
  return "storage" in value && "strides" in value && "dispose" in value;
}
