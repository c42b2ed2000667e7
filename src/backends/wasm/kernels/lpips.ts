// The distance of the perceptual loss LPIPS, and its gradient.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { kernel, storeRow } from "./kernel.ts";

/** Pixels of a tile of the LPIPS kernels. */
export const LPIPS_PIXELS = 64;

/**
 * d = sum over c of w_c (a_c / (|a| + 1e-10) - b_c / (|b| + 1e-10))^2 (Zhang et al. 2018), pixel by pixel.
 * arguments: a, b, weight, out, pixels, channels, g
 */
export function addLpips(m: ModuleBuilder): void {
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
  /** The sum over c of term(byte offset of c). */
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
