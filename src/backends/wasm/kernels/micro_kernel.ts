// The micro-kernels, in which nearly all time is spent, after Goto's GEMM. V8 offers 15 vector registers: twelve hold the sums
// of 6 rows x 8 (16) columns, two hold the right factor, and one holds the left factor, broadcast from memory.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { WIDE } from "../wide.ts";

export const PIXELS = 6;
/** Columns of a micro-kernel: two registers. */
export const PANEL = WIDE ? 16 : 8;
/** Byte offsets of the vectors of a panel's row. */
export const PANEL_VECTORS = Array.from({ length: PANEL / 4 }, (_, j) => 16 * j);
/** Bytes of a micro-kernel's sums. */
export const TILE_BYTES = PIXELS * PANEL * 4;
/** Bytes at the start of a worker's scratch memory, for the results of the micro-kernel and 16 more numbers. */
export const ACCUMULATORS = TILE_BYTES + 64;

/**
 * micro(table, panel, runs, run bytes, input row bytes, out) computes 6 pixels of a panel of channels. `table` has the
 * addresses of the first input value of the 6 pixels. A run is what one row of the filter reads: kernel width x channels
 * values, which are contiguous in NHWC. `out` is 6 x PANEL floats.
 */
export function addMicroKernels(m: ModuleBuilder): void {
  m.fn("micro", ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [table, panel, runs, runBytes, rowBytes, out] = [0, 1, 2, 3, 4, 5].map((n) => f.param(n, "i32"));
    const pixel = Array.from({ length: PIXELS }, (_, p) => f.let(i32.load(table, 4 * p)));
    const acc = accumulators(f);
    const b = panelRow(f);
    const k = f.local("i32");
    const bulk = f.let(i32.and(runBytes, -16));
    const step = (unroll: number) => {
      for (let u = 0; u < unroll; u++) {
        multiply(f, acc, b, panel, u * PANEL * 4, (p) => v.loadSplat(i32.add(pixel[p], k), u * 4));
      }
      f.inc(k, 4 * unroll);
      f.inc(panel, unroll * PANEL * 4);
    };
    f.while(runs, () => {
      f.set(k, 0);
      f.if(bulk, () => f.doWhile(() => step(4), () => i32.lt(k, bulk)));
      f.while(i32.lt(k, runBytes), () => step(1));
      for (const p of pixel) f.inc(p, rowBytes);
      f.inc(runs, -1);
    });
    store(f, acc, out);
  });

  // rows(a, row bytes, panel, bytes, out, more) does the same for 6 rows of `bytes` at a distance of `row bytes`. With `more`
  // the products are added to the values in `out`.
  m.fn("rows", ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [a, rowBytes, panel, bytes, out, more] = [0, 1, 2, 3, 4, 5].map((n) => f.param(n, "i32"));
    const row = [a];
    for (let p = 1; p < PIXELS; p++) row.push(f.let(i32.add(row[p - 1], rowBytes)));
    const acc = accumulators(f);
    f.if(more, () => load(f, acc, out));
    const b = panelRow(f);
    const k = f.local("i32");
    f.doWhile(() => {
      for (let u = 0; u < 4; u++) {
        multiply(f, acc, b, panel, u * PANEL * 4, (p) => v.loadSplat(i32.add(row[p], k), u * 4));
      }
      f.inc(k, 16);
      f.inc(panel, 4 * PANEL * 4);
    }, () => i32.lt(k, bytes));
    store(f, acc, out);
  });

  // outer(a, a bytes, b, b bytes, count, out) computes out[6][panel] += sum over k < count of a[k][6] b[k][panel]. The rows
  // of a are at a distance of `a bytes`, those of b at a distance of `b bytes`.
  m.fn("outer", ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [a, aBytes, b, bBytes, count, out] = [0, 1, 2, 3, 4, 5].map((n) => f.param(n, "i32"));
    const acc = accumulators(f);
    load(f, acc, out);
    const row = panelRow(f);
    const step = (unroll: number) => {
      for (let u = 0; u < unroll; u++) {
        multiply(f, acc, row, b, 0, (p) => v.loadSplat(a, p * 4));
        f.inc(a, aBytes);
        f.inc(b, bBytes);
      }
      f.inc(count, -unroll);
    };
    f.while(i32.ge(count, 4), () => step(4));
    f.while(count, () => step(1));
    store(f, acc, out);
  });
}

const panelRow = (f: Fn): Local<"v128">[] => PANEL_VECTORS.map(() => f.local("v128"));
const accumulators = (f: Fn): Local<"v128">[][] => Array.from({ length: PIXELS }, () => panelRow(f));

function load(f: Fn, acc: readonly Local<"v128">[][], from: Local<"i32">): void {
  acc.forEach((row, p) => row.forEach((x, j) => f.set(x, v.load(from, p * PANEL * 4 + j * 16))));
}
function store(f: Fn, acc: readonly Local<"v128">[][], to: Local<"i32">): void {
  acc.forEach((row, p) => row.forEach((x, j) => f.store(to, x, p * PANEL * 4 + j * 16)));
}

/** acc[p] += left(p) * the panel's row at `right` + `offset`, which is loaded into the registers `row`. */
function multiply(
  f: Fn,
  acc: readonly Local<"v128">[][],
  row: readonly Local<"v128">[],
  right: Local<"i32">,
  offset: number,
  left: (p: number) => V128,
): void {
  row.forEach((b, j) => f.set(b, v.load(right, offset + 16 * j)));
  acc.forEach((sums, p) => {
    const a = f.let(left(p));
    sums.forEach((sum, j) => f.set(sum, f.fma(a, row[j], sum)));
  });
}
