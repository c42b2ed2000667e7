// Helpers for writing kernels: adding one to the module, and loops over a row of numbers in vectors.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { type Ex, f32, i32, type Local, type V128 } from "../assembler/expressions.ts";
import { ABREAST } from "../wide.ts";

/** Adds a kernel: a function of (tile, scratch) that reads its arguments from the control block. */
export function kernel(
  m: ModuleBuilder,
  name: string,
  body: (f: Fn, tile: Local<"i32">, scratch: Local<"i32">) => void,
): void {
  m.fn(name, ["i32", "i32"], [], (f) => body(f, f.param(0, "i32"), f.param(1, "i32")));
}

/** The smaller of `left` and `limit`. */
export const atMost = (f: Fn, limit: number, left: Ex<"i32">): Local<"i32"> =>
  f.let(i32.min(f.let(left), f.let(i32.const(limit))));

/** The larger of `value` and `limit`. */
export const atLeast = (f: Fn, limit: number, value: Ex<"i32">): Local<"i32"> => {
  const x = f.let(value);
  return f.let(i32.select(x, limit, i32.gt(x, limit)));
};

/**
 * Emits body(at, offset, left) for each vector of a row of n floats; the vector is at byte at + offset. `left` is null for a
 * whole vector, or the number of lanes of the last one, 1 to 3. The locals `along` are increased together with `at`.
 */
export function eachVector(
  f: Fn,
  n: Local<"i32">,
  body: (at: Local<"i32">, offset: number, left: Local<"i32"> | null) => void,
  along: readonly Local<"i32">[] = [],
): void {
  const at = f.local("i32");
  f.set(at, 0);
  const steps = (offsets: readonly number[]) => {
    const bytes = 16 * offsets.length;
    const end = f.let(i32.and(i32.shl(n, 2), -bytes));
    f.while(i32.lt(at, end), () => {
      f.abreast(offsets, (offset) => body(at, offset, null));
      for (const each of [at, ...along]) f.inc(each, bytes);
    });
  };
  steps(ABREAST);
  if (ABREAST.length > 1) steps([0]);
  const left = f.let(i32.and(n, 3));
  f.if(left, () => body(at, 0, left));
}

/** Stores a whole vector, or only the lanes that belong to the row. */
export function storeLanes(
  f: Fn,
  to: Ex<"i32">,
  value: V128,
  offset: number,
  left: Local<"i32"> | null,
): void {
  if (!left) return f.store(to, value, offset);
  const last = f.let(value), at = f.let(to);
  f.storeF32(at, f32.lane(last, 0));
  for (const lane of [1, 2]) f.if(i32.gt(left, lane), () => f.storeF32(at, f32.lane(last, lane), 4 * lane));
}

/** out[i] = value(at, offset) for i < n, where at + offset is the byte offset of i. Nothing after the row is written. */
export function storeRow(
  f: Fn,
  out: Local<"i32">,
  n: Local<"i32">,
  value: (at: Local<"i32">, offset: number) => V128,
): void {
  eachVector(f, n, (at, o, left) => storeLanes(f, i32.add(out, at), value(at, o), o, left));
}
