// Sums of rows and columns, and softmax. Every sum has a fixed order, so that results are the same bit for bit whichever
// thread computes which tile.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { argument, argumentF32 } from "../threads.ts";
import { atMost, kernel, storeRow } from "./kernel.ts";
import { exp } from "./math.ts";

/** The most columns in a tile of a row sum; longer rows are summed in two passes. */
export const ROW_CHUNK = 8192;
/** The rows in a tile of a column sum. */
export const COLUMN_ROWS = 256;

/** Combines the n floats at `from`: vectors in two accumulators, then their lanes, then the remaining floats. */
function reduce(
  f: Fn,
  from: Local<"i32">,
  n: Local<"i32">,
  start: number,
  vector: (acc: V128, x: V128) => V128,
  scalar: (acc: Local<"f32">, x: Local<"f32">) => ReturnType<typeof f32.add>,
): Local<"f32"> {
  const a = f.let(v.splat(start));
  const b = f.let(v.splat(start));
  const at = f.let(from);
  const end8 = f.let(i32.add(from, i32.shl(i32.and(n, -8), 2)));
  f.while(i32.ltU(at, end8), () => {
    f.set(a, vector(a, v.load(at)));
    f.set(b, vector(b, v.load(at, 16)));
    f.inc(at, 32);
  });
  f.set(a, vector(a, b));
  const total = f.let(f32.lane(a, 0));
  for (let lane = 1; lane < 4; lane++) f.set(total, scalar(total, f.let(f32.lane(a, lane))));
  const end = f.let(i32.add(from, i32.shl(n, 2)));
  f.while(i32.ltU(at, end), () => {
    f.set(total, scalar(total, f.let(f32.load(at))));
    f.inc(at, 4);
  });
  return total;
}

const sum = (f: Fn, from: Local<"i32">, n: Local<"i32">) => reduce(f, from, n, 0, v.add, f32.add);
const max = (f: Fn, from: Local<"i32">, n: Local<"i32">) => reduce(f, from, n, -Infinity, v.max, f32.max);

export function addReductions(m: ModuleBuilder): void {
  // arguments: x, out, rows, columns, chunks per row, rows per tile; out is [rows, chunks]
  kernel(m, "rows.sum", (f, tile) => {
    const chunks = f.let(argument(4));
    const unit = f.let(i32.mul(tile, argument(5)));
    const end = f.let(i32.min(f.let(i32.add(unit, argument(5))), f.let(i32.mul(argument(2), chunks))));
    const columns = f.let(argument(3));
    f.while(i32.lt(unit, end), () => {
      const start = f.let(i32.mul(i32.rem(unit, chunks), ROW_CHUNK));
      const n = atMost(f, ROW_CHUNK, i32.sub(columns, start));
      const at = i32.add(i32.mul(i32.div(unit, chunks), columns), start);
      const from = f.let(i32.add(argument(0), i32.shl(at, 2)));
      f.storeF32(i32.add(argument(1), i32.shl(unit, 2)), sum(f, from, n));
      f.inc(unit, 1);
    });
  });
  // arguments: x, out, rows, columns; out is [tiles, columns]
  kernel(m, "columns.sum", (f, tile) => {
    const columns = f.let(argument(3));
    const bytes = f.let(i32.shl(columns, 2));
    const row = f.let(i32.mul(tile, COLUMN_ROWS));
    const end = f.let(i32.min(f.let(i32.add(row, COLUMN_ROWS)), f.let(argument(2))));
    const from = f.let(i32.add(argument(0), i32.mul(row, bytes)));
    const out = f.let(i32.add(argument(1), i32.mul(tile, bytes)));
    f.copyBytes(out, from, bytes);
    f.inc(row, 1);
    f.while(i32.lt(row, end), () => {
      f.inc(from, bytes);
      storeRow(f, out, columns, (at, o) => v.add(f.load(i32.add(out, at), o), f.load(i32.add(from, at), o)));
      f.inc(row, 1);
    });
  });
  addSoftmax(m);
}

/** arguments: x or y, out, columns, scale, g; a tile is a row */
function addSoftmax(m: ModuleBuilder): void {
  const row = (f: Fn, tile: Local<"i32">, n: number, columns: Local<"i32">) =>
    f.let(i32.add(argument(n), i32.mul(tile, i32.shl(columns, 2))));
  kernel(m, "softmax", (f, tile) => {
    const n = f.let(argument(2));
    const x = row(f, tile, 0, n);
    const out = row(f, tile, 1, n);
    const scale = f.let(v.splat(argumentF32(3)));
    const top = f.let(v.splat(max(f, x, n)));
    storeRow(f, out, n, (at, o) => exp(f, v.mul(scale, v.sub(f.load(i32.add(x, at), o), top))));
    const inverse = f.let(v.splat(f32.div(1, sum(f, out, n))));
    storeRow(f, out, n, (at, o) => v.mul(inverse, f.load(i32.add(out, at), o)));
  });
  // arguments: x, out, columns; the row is searched from its end, so that the lowest index wins ties
  kernel(m, "argmax", (f, tile) => {
    const n = f.let(argument(2));
    const x = row(f, tile, 0, n);
    const top = max(f, x, n);
    const best = f.let(i32.const(0));
    f.for(1, i32.add(n, 1), 1, (back) => {
      const column = f.let(i32.sub(n, back));
      const value = f.let(f32.load(i32.add(x, i32.shl(column, 2))));
      f.if(f32.eq(value, top), () => f.set(best, column));
    });
    f.storeI32(i32.add(argument(1), i32.shl(tile, 2)), best);
  });
  // dx = scale y (g - sum(g y))
  kernel(m, "softmaxGrad", (f, tile) => {
    const n = f.let(argument(2));
    const y = row(f, tile, 0, n);
    const out = row(f, tile, 1, n);
    const g = row(f, tile, 4, n);
    storeRow(f, out, n, (at, o) => v.mul(f.load(i32.add(y, at), o), f.load(i32.add(g, at), o)));
    const dot = f.let(v.splat(sum(f, out, n)));
    const scale = f.let(v.splat(argumentF32(3)));
    storeRow(
      f,
      out,
      n,
      (at, o) => v.mul(v.mul(scale, f.load(i32.add(y, at), o)), v.sub(f.load(i32.add(g, at), o), dot)),
    );
  });
}
