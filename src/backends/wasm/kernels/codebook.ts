// The kernels of the quantizer: the nearest code, and rows of a table by index.
import { type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, v } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { atMost, kernel, storeRow } from "./kernel.ts";
import { ACCUMULATORS, PANEL, PANEL_VECTORS, PIXELS, TILE_BYTES } from "./micro_kernel.ts";

/** Rows of z in a tile of the nearest-code search. */
export const CODE_ROWS = 48;

export function addCodebook(m: ModuleBuilder): void {
  addRowMoves(m);
  addNearestCode(m);
}

/**
 * argmin over j of |e_j|^2 - 2 z.e_j. |z|^2 is left out, because it is the same for all codes. It takes a panel of codes at
 * a time and keeps a running minimum, so the matrix of distances is never stored. A later code must be strictly nearer,
 * so the lowest index wins ties.
 * arguments: z, packed codebook, norms, out, count, channels, codes
 */
function addNearestCode(m: ModuleBuilder): void {
  // the norms of a panel's codes; places after the last code get infinity, so that they are never nearest
  kernel(m, "codeNorms", (f, tile) => {
    const channels = f.let(argument(5));
    const panel = f.let(i32.add(argument(1), i32.mul(tile, i32.mul(channels, PANEL * 4))));
    const sums = PANEL_VECTORS.map(() => f.let(v.zero()));
    f.for(0, channels, 1, () => {
      sums.forEach((s, j) => {
        const e = f.let(v.load(panel, 16 * j));
        f.set(s, f.fma(e, e, s));
      });
      f.inc(panel, PANEL * 4);
    });
    const out = f.let(i32.add(argument(2), i32.mul(tile, PANEL * 4)));
    sums.forEach((s, j) => f.store(out, s, 16 * j));
    f.for(0, PANEL, 1, (j) => {
      f.if(
        i32.ge(i32.add(i32.mul(tile, PANEL), j), argument(6)),
        () => f.storeF32(i32.add(out, i32.shl(j, 2)), Infinity),
      );
    });
  });

  const INDICES = PANEL * 4; // a row of running state is a panel of minima, then a panel of indices
  const ROW = 2 * INDICES;
  kernel(m, "nearestCode", (f, tile, scratch) => {
    const channels = f.let(argument(5));
    const rowBytes = f.let(i32.shl(channels, 2));
    const first = f.let(i32.mul(tile, CODE_ROWS));
    const rows = atMost(f, CODE_ROWS, i32.sub(argument(4), first));
    const table = f.let(i32.add(scratch, ACCUMULATORS));
    const state = f.let(i32.add(table, CODE_ROWS * 4));
    f.for(0, CODE_ROWS, 1, (r) => {
      const row = i32.add(first, i32.min(r, f.let(i32.sub(rows, 1))));
      f.storeI32(i32.add(table, i32.shl(r, 2)), i32.add(argument(0), i32.mul(row, rowBytes)));
      const at = f.let(i32.add(state, i32.mul(r, ROW)));
      for (const j of PANEL_VECTORS) {
        f.store(at, f.splat(Infinity), j);
        f.store(at, v.zero(), INDICES + j);
      }
    });
    const panel = f.let(argument(1));
    const norms = f.let(argument(2));
    const codes = f.let(argument(6));
    const one = f.let(i32.const(1));
    const lanes = f.let(i32.add(scratch, TILE_BYTES)); // after the results
    for (let lane = 0; lane < PANEL; lane++) f.storeI32(lanes, lane, 4 * lane);
    f.for(0, codes, PANEL, (code) => {
      const norm = PANEL_VECTORS.map((j) => f.let(v.load(norms, j)));
      const index = PANEL_VECTORS.map((j) => f.let(v.addI32(v.splatI32(code), v.load(lanes, j))));
      f.for(0, rows, PIXELS, (r) => {
        f.call("micro", f.let(i32.add(table, i32.shl(r, 2))), panel, one, rowBytes, rowBytes, scratch);
        const at = f.let(i32.add(state, i32.mul(r, ROW)));
        for (let p = 0; p < PIXELS; p++) {
          for (const [j, offset] of PANEL_VECTORS.entries()) {
            const dot = v.load(scratch, p * PANEL * 4 + offset);
            const score = f.let(f.fma(dot, f.splat(-2), norm[j]));
            const minimum = p * ROW + offset, code = minimum + INDICES;
            const best = f.let(v.load(at, minimum));
            const closer = f.let(v.lt(score, best));
            f.store(at, v.select(score, best, closer), minimum);
            f.store(at, v.select(index[j], v.load(at, code), closer), code);
          }
        }
      });
      f.inc(norms, PANEL * 4);
      f.set(panel, i32.add(panel, i32.mul(rowBytes, PANEL)));
    });
    f.for(0, rows, 1, (r) => {
      const at = f.let(i32.add(state, i32.mul(r, ROW)));
      const best = f.let(f32.load(at));
      const index = f.let(i32.load(at, INDICES));
      f.for(4, PANEL * 4, 4, (j) => {
        const lane = f.let(i32.add(at, j));
        const score = f.let(f32.load(lane));
        const candidate = f.let(i32.load(lane, INDICES));
        const tie = i32.and(f32.eq(score, best), i32.lt(candidate, index));
        f.if(i32.or(f32.lt(score, best), tie), () => {
          f.set(best, score);
          f.set(index, candidate);
        });
      });
      f.storeI32(i32.add(argument(3), i32.shl(i32.add(first, r), 2)), index);
    });
  });
}

/** arguments: indices, table or rows, out, count, columns */
function addRowMoves(m: ModuleBuilder): void {
  kernel(m, "gather", (f, tile) => {
    const bytes = f.let(i32.shl(argument(4), 2));
    const index = i32.load(i32.add(argument(0), i32.shl(tile, 2)));
    f.copyBytes(
      i32.add(argument(2), i32.mul(tile, bytes)),
      i32.add(argument(1), i32.mul(index, bytes)),
      bytes,
    );
  });
  // a single tile, so that rows are added in the order of the indices
  kernel(m, "scatterAdd", (f) => {
    const columns = f.let(argument(4));
    const bytes = f.let(i32.shl(columns, 2));
    const from = f.let(argument(1));
    f.for(0, f.let(argument(3)), 1, (i) => {
      const index = i32.load(i32.add(argument(0), i32.shl(i, 2)));
      const to = f.let(i32.add(argument(2), i32.mul(index, bytes)));
      storeRow(f, to, columns, (at, o) => v.add(f.load(i32.add(to, at), o), f.load(i32.add(from, at), o)));
      f.inc(from, bytes);
    });
  });
}
