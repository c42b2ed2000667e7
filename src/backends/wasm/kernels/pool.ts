// Max and average pooling and their gradients.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, type I32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { kernel } from "./kernel.ts";

/** Channels of a pooling tile: one cache line. */
export const POOL_CHANNELS = 16;

type Int = Local<"i32">;

/** Four channels of a pixel, or a single one of the last channels. */
interface Lanes {
  /** Their byte offset in the pixel. */
  readonly bytes: Int;
  readonly load: (at: Int) => V128;
  readonly store: (at: Int, x: V128) => void;
}

/** A window. `top` or `left` is negative if it begins in the padding. */
interface Window {
  readonly top: Int;
  readonly left: Int;
  /** The size of the part of it that is in the picture, and the offset of its first pixel in x. */
  readonly rows: Int;
  readonly columns: Int;
  readonly corner: Int;
  /** The offset of its pixel in the output. */
  readonly out: Int;
}

/**
 * arguments: x, out, g, batch, height, width, channels, outHeight, outWidth, size, stride, channel blocks, padding, counted.
 * A tile is (sample, block of 16 channels): windows may overlap, channels never do.
 */
export function addPool(m: ModuleBuilder): void {
  const windows = (name: string, body: (t: Tile, w: Window) => void) =>
    kernel(m, name, (f, tile) => {
      const t = tileOf(f, tile);
      eachWindow(t, (w) => body(t, w));
    });

  windows("maxPool", (t, w) => {
    const { f } = t;
    t.eachLanes((c) => {
      const best = f.let(f.splat(-Infinity));
      t.eachPixel(w, c, (o) => f.set(best, v.max(best, c.load(f.let(i32.add(t.x, o))))));
      c.store(f.let(i32.add(t.out, i32.add(w.out, c.bytes))), best);
    });
  });

  windows("maxPoolGrad", (t, w) => {
    const { f } = t;
    t.eachLanes((c) => {
      const best = f.let(f.splat(-Infinity));
      const g = f.let(c.load(f.let(i32.add(t.g, i32.add(w.out, c.bytes)))));
      const open = f.let(v.eq(v.zero(), v.zero())); // the lanes in which the maximum has not been found yet
      t.eachPixel(w, c, (o) => f.set(best, v.max(best, c.load(f.let(i32.add(t.x, o))))));
      t.eachPixel(w, c, (o) => {
        const hit = f.let(v.and(open, v.eq(best, c.load(f.let(i32.add(t.x, o))))));
        const to = f.let(i32.add(t.out, o));
        c.store(to, v.add(c.load(to), v.and(g, hit)));
        f.set(open, v.andNot(open, hit));
      });
    });
  });

  windows("avgPool", (t, w) => {
    const { f } = t, divisor = t.divisor(w.top, w.left);
    t.eachLanes((c) => {
      const sum = f.let(v.zero());
      t.eachPixel(w, c, (o) => f.set(sum, v.add(sum, c.load(f.let(i32.add(t.x, o))))));
      c.store(f.let(i32.add(t.out, i32.add(w.out, c.bytes))), v.div(sum, divisor));
    });
  });

  // each pixel adds up what it receives from the windows that contain it
  kernel(m, "avgPoolGrad", (f, tile) => {
    const t = tileOf(f, tile);
    f.for(0, t.height, 1, (y) => {
      const rows = t.holders(y, t.outHeight);
      f.for(0, t.width, 1, (x) => {
        const columns = t.holders(x, t.outWidth);
        const to = f.let(i32.add(t.out, t.pixel(y, x)));
        t.eachLanes((c) => c.store(f.let(i32.add(to, c.bytes)), v.zero()));
        f.for(rows.from, rows.until, 1, (oy) => {
          f.for(columns.from, columns.until, 1, (ox) => {
            const divisor = t.divisor(t.start(oy), t.start(ox));
            const from = f.let(i32.add(t.g, t.outPixel(oy, ox)));
            t.eachLanes((c) => {
              const at = f.let(i32.add(to, c.bytes));
              const share = v.div(c.load(f.let(i32.add(from, c.bytes))), divisor);
              c.store(at, v.add(c.load(at), share));
            });
          });
        });
      });
    });
  });
}

type Tile = ReturnType<typeof tileOf>;

/** The operands and sizes of a tile, and what the kernels compute from them. */
function tileOf(f: Fn, tile: Int) {
  const blocks = f.let(argument(11));
  const sample = f.let(i32.div(tile, blocks));
  const channel = f.let(i32.mul(i32.rem(tile, blocks), POOL_CHANNELS));
  const [x, out, g] = [0, 1, 2].map((n) => f.let(argument(n)));
  const [height, width, channels, outHeight, outWidth] = [4, 5, 6, 7, 8].map((n) => f.let(argument(n)));
  const [size, stride, padding, counted] = [9, 10, 12, 13].map((n) => f.let(argument(n)));
  const pixelBytes = f.let(i32.shl(channels, 2));
  const rowBytes = f.let(i32.mul(width, pixelBytes));
  const until = f.let(i32.min(f.let(i32.add(channel, POOL_CHANNELS)), channels));

  const pixelOf = (height: Int, width: Int) => (y: Int, x: Int) =>
    i32.mul(i32.add(i32.mul(i32.add(i32.mul(sample, height), y), width), x), pixelBytes);

  /**
   * Which of the `size` places from `start` on are within a side of `length` that is longer by `border` at both ends: the
   * first one, and how many there are.
   */
  const covered = (start: Int, length: Int, border: I32) => {
    const least = f.let(i32.sub(0, border));
    const from = f.let(i32.max(start, least));
    const until = f.let(i32.min(f.let(i32.add(start, size)), f.let(i32.add(length, border))));
    return { from, count: f.let(i32.sub(until, from)) };
  };

  return {
    f,
    x,
    out,
    g,
    height,
    width,
    outHeight,
    outWidth,
    covered,
    /** The offset of a pixel in the picture, and in the output. */
    pixel: pixelOf(height, width),
    outPixel: pixelOf(outHeight, outWidth),
    /** The place on a side where window `o` begins. */
    start: (o: Int) => f.let(i32.sub(i32.mul(o, stride), padding)),
    /** The windows along a side that contain place `at`: the first, and the one after the last. */
    holders: (at: Int, windows: Int) => {
      const place = f.let(i32.add(at, padding));
      const beyond = f.let(i32.sub(place, size)); // windows that begin here or before end too early
      const from = f.let(i32.select(i32.add(i32.div(beyond, stride), 1), 0, i32.ge(beyond, 0)));
      return { from, until: f.let(i32.min(f.let(i32.add(i32.div(place, stride), 1)), windows)) };
    },
    /** The divisor of a window's sum. */
    divisor: (top: Int, left: Int) => {
      const rows = covered(top, height, counted).count, columns = covered(left, width, counted).count;
      return f.let(v.splat(f32.fromI32(i32.mul(rows, columns))));
    },
    /** Emits `body` for the tile's channels. */
    eachLanes: (body: (c: Lanes) => void) => {
      const c = f.let(channel);
      const step = (vector: boolean) => {
        body({
          bytes: f.let(i32.shl(c, 2)),
          load: vector ? (at) => v.load(at) : (at) => v.loadSplat(at),
          store: vector ? (at, a) => f.store(at, a) : (at, a) => f.storeF32(at, f32.lane(a, 0)),
        });
        f.inc(c, vector ? 4 : 1);
      };
      f.while(i32.le(i32.add(c, 4), until), () => step(true));
      f.while(i32.lt(c, until), () => step(false));
    },
    /** Emits `body` for the window's pixels in the picture, with the offset of these channels in each. */
    eachPixel: (w: Window, c: Lanes, body: (offset: Int) => void) => {
      const corner = f.let(i32.add(w.corner, c.bytes));
      f.for(0, w.rows, 1, (r) => {
        f.for(0, w.columns, 1, (s) => {
          body(f.let(i32.add(corner, i32.add(i32.mul(r, rowBytes), i32.mul(s, pixelBytes)))));
        });
      });
    },
  };
}

/** Emits `body` for each window of the tile's sample. */
function eachWindow(t: Tile, body: (w: Window) => void): void {
  const { f } = t;
  f.for(0, t.outHeight, 1, (oy) => {
    const top = t.start(oy), rows = t.covered(top, t.height, 0);
    f.for(0, t.outWidth, 1, (ox) => {
      const left = t.start(ox), columns = t.covered(left, t.width, 0);
      const corner = f.let(t.pixel(rows.from, columns.from));
      body({ top, left, rows: rows.count, columns: columns.count, corner, out: f.let(t.outPixel(oy, ox)) });
    });
  });
}
