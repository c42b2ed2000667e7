// Nearest code, max pooling and the LPIPS distance: the kernels of the quantizer and the perceptual loss.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { ACCUMULATORS, PANEL, PANEL_VECTORS, PIXELS } from "./micro_kernel.ts";
import { kernel, storeRow } from "./elementwise.ts";
import { argument } from "../threads.ts";

/** Rows of z in a tile of the nearest-code search. */
export const CODE_ROWS = 48;

export function addVision(m: ModuleBuilder): void {
  addNearestCode(m);
  addMaxPool(m);
  addLpips(m);
}

/**
 * argmin over j of |e_j|^2 - 2 z.e_j, a panel of codes at a time with a running minimum: |z|^2 is the same for all codes,
 * and the matrix of distances is never stored. Strictly smaller wins, so the lowest index wins ties.
 * arguments: z, packed codebook, norms, out, count, channels, codes
 */
function addNearestCode(m: ModuleBuilder): void {
  // norms of a panel's 8 codes; places beyond the last code are infinitely far
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

  const INDICES = PANEL * 4; // a row of running state is a panel of minima and one of indices
  const ROW = 2 * INDICES;
  kernel(m, "nearestCode", (f, tile, scratch) => {
    const channels = f.let(argument(5));
    const rowBytes = f.let(i32.shl(channels, 2));
    const first = f.let(i32.mul(tile, CODE_ROWS));
    const rows = f.let(i32.min(f.let(i32.const(CODE_ROWS)), f.let(i32.sub(argument(4), first))));
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
    const lanes = f.let(i32.add(scratch, PIXELS * PANEL * 4)); // behind the results
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

/** Channels of a pooling tile: one cache line. */
export const POOL_CHANNELS = 16;

/**
 * arguments: x, out, g, batch, height, width, channels, outHeight, outWidth, size, stride, channel blocks.
 * A tile is (sample, block of 16 channels): windows may overlap, channels never do.
 */
function addMaxPool(m: ModuleBuilder): void {
  const windows = (
    name: string,
    body: (f: Fn, w: {
      corner: Local<"i32">;
      rows: Local<"i32">;
      columns: Local<"i32">;
      pixelBytes: Local<"i32">;
      rowBytes: Local<"i32">;
      out: Local<"i32">;
      load: (at: I32Local) => V128;
      store: (at: I32Local, x: V128) => void;
    }) => void,
  ) => {
    kernel(m, name, (f, tile) => {
      const blocks = f.let(argument(11));
      const sample = f.let(i32.div(tile, blocks));
      const channel = f.let(i32.mul(i32.rem(tile, blocks), POOL_CHANNELS));
      const [height, width, channels, outHeight, outWidth, size, stride] = [4, 5, 6, 7, 8, 9, 10].map((n) =>
        f.let(argument(n))
      );
      const pixelBytes = f.let(i32.shl(channels, 2));
      const rowBytes = f.let(i32.mul(width, pixelBytes));
      const base = f.let(i32.mul(sample, i32.mul(height, rowBytes)));
      const until = f.let(i32.min(f.let(i32.add(channel, POOL_CHANNELS)), channels));
      f.for(0, outHeight, 1, (oy) => {
        f.for(0, outWidth, 1, (ox) => {
          const y = f.let(i32.mul(oy, stride));
          const x = f.let(i32.mul(ox, stride));
          const rows = f.let(i32.min(size, f.let(i32.sub(height, y))));
          const columns = f.let(i32.min(size, f.let(i32.sub(width, x))));
          const pixel = i32.add(i32.mul(i32.add(i32.mul(sample, outHeight), oy), outWidth), ox);
          const c = f.let(channel);
          const step = (vector: boolean) => {
            const bytes = f.let(i32.shl(c, 2));
            body(f, {
              corner: f.let(
                i32.add(i32.add(base, i32.add(i32.mul(y, rowBytes), i32.mul(x, pixelBytes))), bytes),
              ),
              rows,
              columns,
              pixelBytes,
              rowBytes,
              out: f.let(i32.add(i32.mul(pixel, pixelBytes), bytes)),
              load: vector ? (at) => v.load(at) : (at) => v.loadSplat(at),
              store: vector ? (at, a) => f.store(at, a) : (at, a) => f.storeF32(at, f32.lane(a, 0)),
            });
            f.inc(c, vector ? 4 : 1);
          };
          f.while(i32.le(i32.add(c, 4), until), () => step(true));
          f.while(i32.lt(c, until), () => step(false));
        });
      });
    });
  };

  windows("maxPool", (f, w) => {
    const best = f.let(f.splat(-Infinity));
    f.for(0, w.rows, 1, (r) => {
      f.for(0, w.columns, 1, (s) => {
        const at = i32.add(w.corner, i32.add(i32.mul(r, w.rowBytes), i32.mul(s, w.pixelBytes)));
        f.set(best, v.max(best, w.load(f.let(i32.add(argument(0), at)))));
      });
    });
    w.store(f.let(i32.add(argument(1), w.out)), best);
  });

  windows("maxPoolGrad", (f, w) => {
    const best = f.let(f.splat(-Infinity));
    const g = f.let(w.load(f.let(i32.add(argument(2), w.out))));
    const open = f.let(v.eq(v.zero(), v.zero())); // lanes whose maximum was not met yet
    const each = (body: (offset: Local<"i32">) => void) =>
      f.for(0, w.rows, 1, (r) => {
        f.for(0, w.columns, 1, (s) => {
          body(f.let(i32.add(w.corner, i32.add(i32.mul(r, w.rowBytes), i32.mul(s, w.pixelBytes)))));
        });
      });
    each((o) => f.set(best, v.max(best, w.load(f.let(i32.add(argument(0), o))))));
    each((o) => {
      const hit = f.let(v.and(open, v.eq(best, w.load(f.let(i32.add(argument(0), o))))));
      const to = f.let(i32.add(argument(1), o));
      w.store(to, v.add(w.load(to), v.and(g, hit)));
      f.set(open, v.andNot(open, hit));
    });
  });
}

type I32Local = Local<"i32">;

/** Pixels of a tile of the LPIPS kernels. */
export const LPIPS_PIXELS = 64;

/**
 * d = sum over c of w_c (a_c / (|a| + 1e-10) - b_c / (|b| + 1e-10))^2 (Zhang et al. 2018), pixel by pixel.
 * arguments: a, b, weight, out, pixels, channels, g
 */
function addLpips(m: ModuleBuilder): void {
  const pixels = (f: Fn, tile: Local<"i32">, body: (p: Local<"i32">, rows: Local<"i32">[]) => void) => {
    const p = f.let(i32.mul(tile, LPIPS_PIXELS));
    const end = f.let(i32.min(f.let(i32.add(p, LPIPS_PIXELS)), f.let(argument(4))));
    const bytes = f.let(i32.shl(argument(5), 2));
    f.while(i32.lt(p, end), () => {
      const row = f.let(i32.mul(p, bytes));
      body(p, [f.let(i32.add(argument(0), row)), f.let(i32.add(argument(1), row)), row]);
      f.inc(p, 1);
    });
  };
  /** Sum over c of term(byte offset of c). */
  const total = (f: Fn, term: (at: Local<"i32">) => V128): Local<"f32"> => {
    const sums = f.let(v.zero());
    const at = f.let(i32.const(0));
    f.set(at, 0);
    const end = f.let(i32.shl(i32.and(argument(5), -4), 2));
    f.while(i32.lt(at, end), () => {
      f.set(sums, v.add(sums, term(at)));
      f.inc(at, 16);
    });
    const sum = f.let(f.sum(sums));
    const left = f.let(i32.and(argument(5), 3));
    f.if(left, () => {
      const last = f.let(term(at));
      for (const lane of [0, 1, 2]) {
        f.if(i32.gt(left, lane), () => f.set(sum, f32.add(sum, f32.lane(last, lane))));
      }
    });
    return sum;
  };
  const norm = (f: Fn, row: Local<"i32">) =>
    f.let(f32.sqrt(total(f, (at) => {
      const x = f.let(v.load(i32.add(row, at)));
      return v.mul(x, x);
    })));
  const inverse = (f: Fn, n: Local<"f32">) => f.let(v.splat(f32.div(1, f32.add(n, 1e-10))));

  kernel(m, "lpips", (f, tile) => {
    pixels(f, tile, (p, [a, b]) => {
      const ia = inverse(f, norm(f, a));
      const ib = inverse(f, norm(f, b));
      const d = total(f, (at) => {
        const difference = f.let(
          v.sub(v.mul(v.load(i32.add(a, at)), ia), v.mul(v.load(i32.add(b, at)), ib)),
        );
        return v.mul(v.mul(difference, difference), v.load(i32.add(argument(2), at)));
      });
      f.storeF32(i32.add(argument(3), i32.shl(p, 2)), d);
    });
  });

  // with q = 2 w (a/|a| - b/|b|): da = g (q - a (q.a) / |a|^2) / |a|, and 0 where |a| is 0
  kernel(m, "lpipsGrad", (f, tile) => {
    pixels(f, tile, (p, [a, b, row]) => {
      const out = f.let(i32.add(argument(3), row));
      const length = norm(f, a);
      f.if(f32.eq(length, 0), () => f.fillBytes(out, 0, i32.shl(argument(5), 2)), () => {
        const ia = inverse(f, length);
        const ib = inverse(f, norm(f, b));
        const q = (at: Local<"i32">, o = 0) => {
          const difference = v.sub(
            v.mul(f.load(i32.add(a, at), o), ia),
            v.mul(f.load(i32.add(b, at), o), ib),
          );
          return v.mul(v.mul(f.splat(2), f.load(i32.add(argument(2), at), o)), difference);
        };
        const dot = total(f, (at) => v.mul(q(at), v.load(i32.add(a, at))));
        const along = f.let(v.mul(v.splat(f32.div(dot, length)), ia));
        const g = f.let(v.mul(v.splat(f32.load(i32.add(argument(6), i32.shl(p, 2)))), ia));
        storeRow(
          f,
          out,
          f.let(argument(5)),
          (at, o) => v.mul(g, v.sub(q(at, o), v.mul(along, f.load(i32.add(a, at), o)))),
        );
      });
    });
  });
}
