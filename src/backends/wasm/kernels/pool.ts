// Max pooling and its gradient.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { kernel } from "./kernel.ts";

/** Channels of a pooling tile: one cache line. */
export const POOL_CHANNELS = 16;

/**
 * arguments: x, out, g, batch, height, width, channels, outHeight, outWidth, size, stride, channel blocks.
 * A tile is (sample, block of 16 channels): windows may overlap, channels never do.
 */
export function addMaxPool(m: ModuleBuilder): void {
  const windows = (
    name: string,
    body: (f: Fn, w: {
      corner: Local<"i32">;
      rows: Local<"i32">;
      columns: Local<"i32">;
      pixelBytes: Local<"i32">;
      rowBytes: Local<"i32">;
      out: Local<"i32">;
      load: (at: Local<"i32">) => V128;
      store: (at: Local<"i32">, x: V128) => void;
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
    const open = f.let(v.eq(v.zero(), v.zero())); // lanes in which the maximum has not come yet
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
