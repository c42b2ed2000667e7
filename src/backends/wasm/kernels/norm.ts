// Group normalisation (Wu & He 2018), followed by swish if it is asked for, and its gradient. The mean and the squared
// deviations of each channel are computed over a chunk of pixels that stays in cache, and then combined in f64 (Chan et al.
// 1983), so that no digits cancel. The normalised values are never stored.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, f64, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { argument, argumentF32 } from "../threads.ts";
import { eachVector, kernel, storeLanes } from "./kernel.ts";
import { sigmoid, swishDerivative } from "./math.ts";

/** The indices of the arguments, for all kernels here. Rows of per-channel values are padded to `stride` floats. */
export const NORM = {
  x: 0,
  weight: 1,
  bias: 2,
  stats: 3, // [batch, groups, 2]: mean, 1 / sqrt(variance + eps)
  out: 4,
  partial: 5, // [batch, chunks, 2, stride]
  pixels: 6,
  channels: 7,
  groups: 8,
  chunkPixels: 9,
  chunks: 10,
  stride: 11, // channels rounded up to 4
  swish: 12,
  g: 13,
  sums: 14, // [batch, 2, stride]: per channel, the sums of dt and of dt times the normalised x
  means: 15, // [batch, groups, 2]: the group means that the gradient of x subtracts
  eps: 16,
} as const;
const arg = (name: keyof typeof NORM) => argument(NORM[name]);

/** Where a tile that is (sample, chunk of pixels) begins and how long it is. */
function chunkOf(f: Fn, tile: Local<"i32">) {
  const sample = f.let(i32.div(tile, arg("chunks")));
  const start = f.let(i32.mul(i32.rem(tile, arg("chunks")), arg("chunkPixels")));
  const pixels = f.let(i32.min(f.let(arg("chunkPixels")), f.let(i32.sub(arg("pixels"), start))));
  const channels = f.let(arg("channels"));
  const rowBytes = f.let(i32.shl(channels, 2));
  const offset = f.let(i32.mul(i32.add(i32.mul(sample, arg("pixels")), start), rowBytes));
  return { sample, pixels, channels, rowBytes, offset };
}

/** Emits body(at) for each pixel; `at` is the byte offset of its row. */
function eachPixel(
  f: Fn,
  pixels: Local<"i32">,
  rowBytes: Local<"i32">,
  body: (at: Local<"i32">) => void,
): void {
  const at = f.local("i32");
  f.set(at, 0);
  const end = f.let(i32.mul(pixels, rowBytes));
  f.while(i32.lt(at, end), () => {
    body(at);
    f.inc(at, rowBytes);
  });
}

/** eachVector() for every row of a chunk; `at` counts from the start of the chunk, `c` from the start of the row. */
function eachChunkVector(
  f: Fn,
  pixels: Local<"i32">,
  channels: Local<"i32">,
  rowBytes: Local<"i32">,
  body: (at: Local<"i32">, c: Local<"i32">, offset: number, left: Local<"i32"> | null) => void,
): void {
  eachPixel(f, pixels, rowBytes, (row) => {
    const at = f.let(row);
    eachVector(f, channels, (c, offset, left) => body(at, c, offset, left), [at]);
  });
}

/** Emits the body twice, with and without swish, so that a tile decides once and not for each vector. */
function withOrWithoutSwish(f: Fn, body: (swish: boolean) => void): void {
  f.if(arg("swish"), () => body(true), () => body(false));
}

function addStatistics(m: ModuleBuilder): void {
  kernel(m, "norm.chunk", (f, tile) => {
    const { pixels, channels, rowBytes, offset } = chunkOf(f, tile);
    const x = f.let(i32.add(arg("x"), offset));
    const out = f.let(i32.add(arg("partial"), i32.mul(tile, i32.shl(arg("stride"), 3))));
    const deviations = f.let(i32.shl(arg("stride"), 2));
    const inverse = f.let(v.splat(f32.div(1, f32.fromI32(pixels))));
    const columns = (vectors: number) => {
      const sums = Array.from({ length: vectors }, () => f.local("v128"));
      for (const s of sums) f.set(s, v.zero());
      eachPixel(f, pixels, rowBytes, (at) => {
        const from = f.let(i32.add(x, at));
        sums.forEach((s, j) => f.set(s, v.add(s, v.load(from, 16 * j))));
      });
      const means = sums.map((s) => f.let(v.mul(s, inverse)));
      for (const s of sums) f.set(s, v.zero());
      eachPixel(f, pixels, rowBytes, (at) => {
        const from = f.let(i32.add(x, at));
        sums.forEach((s, j) => {
          const d = f.let(v.sub(v.load(from, 16 * j), means[j]));
          f.set(s, f.fma(d, d, s));
        });
      });
      means.forEach((mean, j) => f.store(out, mean, 16 * j));
      sums.forEach((s, j) => f.store(i32.add(out, deviations), s, 16 * j));
      f.inc(x, 16 * vectors);
      f.inc(out, 16 * vectors);
      f.inc(channels, -4 * vectors);
    };
    f.while(i32.ge(channels, 16), () => columns(4));
    f.while(i32.gt(channels, 0), () => columns(1));
  });

  // a tile is (sample, group)
  kernel(m, "norm.finish", (f, tile) => {
    const groups = f.let(arg("groups"));
    const width = f.let(i32.div(arg("channels"), groups));
    const sample = f.let(i32.div(tile, groups));
    const first = f.let(i32.mul(i32.rem(tile, groups), width));
    const strideBytes = f.let(i32.shl(arg("stride"), 2));
    const chunks = f.let(arg("chunks"));
    const base = f.let(
      i32.add(
        arg("partial"),
        i32.add(i32.mul(sample, i32.mul(chunks, i32.shl(strideBytes, 1))), i32.shl(first, 2)),
      ),
    );
    const total = f.let(f64.fromI32(i32.mul(arg("pixels"), width)));
    const each = (body: (at: Local<"i32">, count: Local<"f64">) => void) => {
      f.for(0, chunks, 1, (chunk) => {
        const start = i32.mul(chunk, arg("chunkPixels"));
        const pixels = i32.min(f.let(arg("chunkPixels")), f.let(i32.sub(arg("pixels"), start)));
        const count = f.let(f64.fromI32(pixels));
        const row = f.let(i32.add(base, i32.mul(chunk, i32.shl(strideBytes, 1))));
        f.for(0, f.let(i32.shl(width, 2)), 4, (c) => body(f.let(i32.add(row, c)), count));
      });
    };
    const mean = f.let(f64.const(0));
    f.set(mean, 0);
    each((at, count) => f.set(mean, f64.add(mean, f64.mul(count, f64.fromF32(f32.load(at))))));
    f.set(mean, f64.div(mean, total));
    const deviation = f.local("f64");
    f.set(deviation, 0);
    each((at, count) => {
      const d = f.let(f64.sub(f64.fromF32(f32.load(at)), mean));
      const within = f64.fromF32(f32.load(i32.add(at, strideBytes)));
      f.set(deviation, f64.add(deviation, f64.add(within, f64.mul(count, f64.mul(d, d)))));
    });
    const variance = f64.add(f64.div(deviation, total), f64.fromF32(argumentF32(NORM.eps)));
    const to = f.let(i32.add(arg("stats"), i32.shl(tile, 3)));
    f.storeF32(to, f32.fromF64(mean));
    f.storeF32(to, f32.fromF64(f64.div(1, f64.sqrt(variance))), 4);
  });
}

/** The most rows of per-channel values in scratch memory. */
export const CHANNEL_ROWS = 6;

/**
 * Writes rows of per-channel values to scratch memory: row 0 is the scale and row 1 the shift (t = scale x + shift). For the
 * gradient, rows 2 and 3 are 1/sigma and -mean/sigma (for the normalised x), rows 4 and 5 the two group means.
 * @returns the bytes of a row
 */
function channelRows(f: Fn, sample: Local<"i32">, scratch: Local<"i32">, gradient: boolean): Local<"i32"> {
  const groups = f.let(arg("groups"));
  const width = f.let(i32.div(arg("channels"), groups));
  const row = f.let(i32.shl(arg("stride"), 2));
  const c = f.local("i32");
  f.set(c, 0);
  f.for(0, groups, 1, (group) => {
    const pair = f.let(i32.shl(i32.add(i32.mul(sample, groups), group), 3));
    const stats = f.let(i32.add(arg("stats"), pair));
    const mean = f.let(f32.load(stats));
    const inverse = f.let(f32.load(stats, 4));
    f.for(0, width, 1, () => {
      const scale = f.let(f32.mul(f32.load(i32.add(arg("weight"), c)), inverse));
      const to = f.let(i32.add(scratch, c));
      const put = (value: ReturnType<typeof f32.load>) => {
        f.storeF32(to, value);
        f.inc(to, row);
      };
      put(scale);
      put(f32.sub(f32.load(i32.add(arg("bias"), c)), f32.mul(mean, scale)));
      if (gradient) {
        const means = f.let(i32.add(arg("means"), pair));
        put(inverse);
        put(f32.neg(f32.mul(mean, inverse)));
        put(f32.load(means));
        put(f32.load(means, 4));
      }
      f.inc(c, 4);
    });
  });
  return row;
}

function addApply(m: ModuleBuilder): void {
  kernel(m, "norm.apply", (f, tile, scratch) => {
    const { sample, pixels, channels, rowBytes, offset } = chunkOf(f, tile);
    const row = channelRows(f, sample, scratch, false);
    const x = f.let(i32.add(arg("x"), offset));
    const out = f.let(i32.add(arg("out"), offset));
    withOrWithoutSwish(f, (swish) => {
      eachChunkVector(f, pixels, channels, rowBytes, (at, c, o, left) => {
        const table = i32.add(scratch, c);
        const t = f.let(f.fma(f.load(i32.add(x, at), o), f.load(table, o), f.load(i32.add(table, row), o)));
        storeLanes(f, i32.add(out, at), swish ? v.mul(t, sigmoid(f, t)) : t, o, left);
      });
    });
  });
}

function addGradient(m: ModuleBuilder): void {
  /** The gradient before the activation: dt = g, or g swish'(t). */
  const beforeSwish = (f: Fn, x: V128, g: V128, scale: V128, shift: V128, swish: boolean) =>
    swish ? f.let(v.mul(g, swishDerivative(f, f.fma(x, scale, shift)))) : f.let(g);

  // the sums of dt and of dt times the normalised x, for each chunk and channel
  kernel(m, "norm.gradChunk", (f, tile, scratch) => {
    const { sample, pixels, channels, rowBytes, offset } = chunkOf(f, tile);
    const row = channelRows(f, sample, scratch, true);
    const x = f.let(i32.add(arg("x"), offset));
    const g = f.let(i32.add(arg("g"), offset));
    const out = f.let(i32.add(arg("partial"), i32.mul(tile, i32.shl(arg("stride"), 3))));
    const rows = [0, 1, 2, 3].map((n) => f.let(i32.add(scratch, i32.mul(row, n))));
    f.fillBytes(out, 0, i32.shl(row, 1));
    const dots = f.let(i32.add(out, row));
    withOrWithoutSwish(f, (swish) => {
      eachChunkVector(f, pixels, channels, rowBytes, (at, c, o) => {
        const [scale, shift, inverse, offsets] = rows.map((r) => f.load(i32.add(r, c), o));
        const xs = f.let(f.load(i32.add(x, at), o));
        const dt = beforeSwish(f, xs, f.load(i32.add(g, at), o), scale, shift, swish);
        const [sum, dot] = [out, dots].map((to) => i32.add(to, c));
        f.store(sum, v.add(f.load(sum, o), dt), o);
        f.store(dot, f.fma(dt, f.fma(xs, inverse, offsets), f.load(dot, o)), o);
      });
    });
  });

  // sums over the chunks, and their weighted means over a group; a tile is (sample, group)
  kernel(m, "norm.gradFinish", (f, tile) => {
    const groups = f.let(arg("groups"));
    const width = f.let(i32.div(arg("channels"), groups));
    const sample = f.let(i32.div(tile, groups));
    const first = f.let(i32.mul(i32.rem(tile, groups), width));
    const row = f.let(i32.shl(arg("stride"), 2));
    const chunks = f.let(arg("chunks"));
    const total = f.let(f64.fromI32(i32.mul(arg("pixels"), width)));
    const means = [0, 1].map((kind) => {
      const group = f.local("f64");
      f.set(group, 0);
      f.for(0, width, 1, (i) => {
        const c = f.let(i32.shl(i32.add(first, i), 2));
        const kindRow = i32.mul(row, kind);
        const start = i32.add(i32.mul(i32.mul(sample, chunks), i32.shl(row, 1)), i32.add(c, kindRow));
        const at = f.let(i32.add(arg("partial"), start));
        const sum = f.local("f64");
        f.set(sum, 0);
        f.for(0, chunks, 1, () => {
          f.set(sum, f64.add(sum, f64.fromF32(f32.load(at))));
          f.inc(at, i32.shl(row, 1));
        });
        const to = i32.add(i32.mul(sample, i32.shl(row, 1)), i32.add(c, kindRow));
        f.storeF32(i32.add(arg("sums"), to), f32.fromF64(sum));
        f.set(group, f64.add(group, f64.mul(sum, f64.fromF32(f32.load(i32.add(arg("weight"), c))))));
      });
      return f.let(f64.div(group, total));
    });
    const to = f.let(i32.add(arg("means"), i32.shl(tile, 3)));
    means.forEach((mean, kind) => f.storeF32(to, f32.fromF64(mean), 4 * kind));
  });

  // dx = (weight dt - mean(weight dt) - xhat mean(weight dt xhat)) / sigma
  kernel(m, "norm.gradInput", (f, tile, scratch) => {
    const { sample, pixels, channels, rowBytes, offset } = chunkOf(f, tile);
    const row = channelRows(f, sample, scratch, true);
    const [x, g, out] = (["x", "g", "out"] as const).map((n) => f.let(i32.add(arg(n), offset)));
    const rows = [0, 1, 2, 3, 4, 5].map((n) => f.let(i32.add(scratch, i32.mul(row, n))));
    withOrWithoutSwish(f, (swish) => {
      eachChunkVector(f, pixels, channels, rowBytes, (at, c, o, left) => {
        const [scale, shift, inverse, offsets, mean, dot] = rows.map((r) => f.load(i32.add(r, c), o));
        const xs = f.let(f.load(i32.add(x, at), o));
        const dt = beforeSwish(f, xs, f.load(i32.add(g, at), o), scale, shift, swish);
        const sigma = f.let(inverse);
        const rest = v.mul(sigma, f.fma(f.fma(xs, sigma, offsets), dot, mean));
        storeLanes(f, i32.add(out, at), v.sub(v.mul(scale, dt), rest), o, left);
      });
    });
  });
}

export function addNorm(m: ModuleBuilder): void {
  addStatistics(m);
  addApply(m);
  addGradient(m);
}
