// The weight gradient of a convolution: dW[co][ci][ky][kx] = sum over pixels of x[pixel + k][ci] g[pixel][co].
// It is a matrix product whose inner dimension is the pixels; both factors are packed for a block of pixels at a time.
// No two tiles add to the same number, and the pixels are split by the shapes alone, so that results are the same bit for
// bit on every run.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v } from "../assembler/expressions.ts";
import { arg, type CONV } from "./conv_arguments.ts";
import { atMost, kernel } from "./kernel.ts";
import { PANEL, PIXELS, TILE_BYTES } from "./micro_kernel.ts";

/** Pixels packed at a time. */
export const DEPTH = 256;
/** The values of a filter row (kernel width x input channels), and the output channels, that a tile covers. */
export const TILE_ROWS = 192;
export const TILE_CHANNELS = 128;

const SUMS_BYTES = (TILE_ROWS / PIXELS) * (TILE_CHANNELS / PANEL) * TILE_BYTES;
const LEFT = SUMS_BYTES;
const RIGHT = LEFT + TILE_ROWS * DEPTH * 4;
export const WEIGHT_SCRATCH = RIGHT + TILE_CHANNELS * DEPTH * 4;

/**
 * A tile is (part of the pixels, kernel row, block of 192 values of the filter row, block of 128 output channels).
 * Each part of the pixels has a dW of its own; these are added afterwards in a fixed order.
 */
export function addWeightGrad(m: ModuleBuilder): void {
  kernel(m, "convWeightGrad", (f, tile, scratch) => {
    const index = f.let(tile);
    const next = (count: keyof typeof CONV) => {
      const i = f.let(i32.rem(index, arg(count)));
      f.set(index, i32.div(index, arg(count)));
      return i;
    };
    const channel = f.let(i32.mul(next("panelBlocks"), TILE_CHANNELS));
    const rowStart = f.let(i32.mul(next("rowBlocks"), TILE_ROWS));
    const ky = next("kernelHeight");
    const split = index;
    const [stride, outHeight, outWidth, outChannels, inChannels] =
      (["stride", "outHeight", "outWidth", "outChannels", "inChannels"] as const).map((n) => f.let(arg(n)));
    const rows = atMost(f, TILE_ROWS, i32.sub(i32.mul(arg("kernelWidth"), inChannels), rowStart));
    const channels = atMost(f, TILE_CHANNELS, i32.sub(outChannels, channel));
    const up = (n: Local<"i32">, by: number) => f.let(i32.div(i32.add(n, by - 1), by));
    const rowPanels = up(rows, PIXELS);
    const channelPanels = up(channels, PANEL);
    const left = f.let(i32.add(scratch, LEFT));
    const right = f.let(i32.add(scratch, RIGHT));
    const input = f.let(i32.add(scratch, WEIGHT_SCRATCH));
    f.fillBytes(scratch, 0, SUMS_BYTES);
    // lanes after the last row or channel stay zero
    f.fillBytes(left, 0, WEIGHT_SCRATCH - LEFT);
    const pixelBytes = f.let(i32.shl(inChannels, 2));
    const gPixelBytes = f.let(i32.shl(outChannels, 2));
    const blocks = f.let(i32.mul(arg("batch"), arg("blocksDown")));
    const bound = (n: Local<"i32"> | ReturnType<typeof i32.add>) =>
      f.let(i32.div(i32.mul(n, blocks), arg("splits")));
    const [firstBlock, endBlock] = [bound(split), bound(i32.add(split, 1))];
    f.for(firstBlock, endBlock, 1, (block) => {
      const sample = f.let(i32.div(block, arg("blocksDown")));
      const y0 = f.let(i32.mul(i32.sub(block, i32.mul(sample, arg("blocksDown"))), arg("blockHeight")));
      const blockRows = f.let(i32.min(f.let(arg("blockHeight")), f.let(i32.sub(outHeight, y0))));
      f.for(0, outWidth, f.let(arg("blockWidth")), (x0) => {
        const columns = f.let(i32.min(f.let(arg("blockWidth")), f.let(i32.sub(outWidth, x0))));
        const span = f.let(i32.add(i32.mul(i32.sub(columns, 1), stride), arg("kernelWidth")));
        const depth = f.local("i32");
        f.set(depth, 0);
        f.for(0, blockRows, 1, (r) => {
          const y = f.let(i32.add(y0, r));
          f.call(
            "copyInput",
            sample,
            f.let(i32.sub(i32.add(i32.mul(y, stride), ky), arg("padTop"))),
            f.let(i32.sub(i32.mul(x0, stride), arg("padLeft"))),
            f.let(i32.const(1)),
            span,
            input,
          );
          const from = f.let(i32.add(input, i32.shl(rowStart, 2)));
          packPanels(f, from, f.let(i32.mul(pixelBytes, stride)), columns, rows, left, depth, PIXELS);
          const pixel = i32.add(i32.mul(i32.add(i32.mul(sample, outHeight), y), outWidth), x0);
          const g = f.let(
            i32.add(arg("weights"), i32.shl(i32.add(i32.mul(pixel, outChannels), channel), 2)),
          );
          packPanels(f, g, gPixelBytes, columns, channels, right, depth, PANEL);
          f.inc(depth, columns);
        });
        const sums = f.let(scratch);
        const [aBytes, bBytes] = [PIXELS * 4, PANEL * 4].map((n) => f.let(i32.const(n)));
        const a = f.let(left);
        f.for(0, rowPanels, 1, () => {
          const b = f.let(right);
          f.for(0, channelPanels, 1, () => {
            f.call("outer", a, aBytes, b, bBytes, depth, sums);
            f.inc(b, DEPTH * PANEL * 4);
            f.inc(sums, TILE_BYTES);
          });
          f.inc(a, DEPTH * PIXELS * 4);
        });
      });
    });
    storeSums(f, scratch, { rowStart, rows, channel, channels, channelPanels, ky, split });
  });
}

/** to[panel][depth + pixel][0..width) = from[pixel][panel * width ..]; panels are DEPTH pixels long. */
function packPanels(
  f: Fn,
  from: Local<"i32">,
  pixelStride: Local<"i32">,
  pixels: Local<"i32">,
  values: Local<"i32">,
  to: Local<"i32">,
  depth: Local<"i32">,
  width: number,
): void {
  const panel = f.let(i32.add(to, i32.mul(depth, width * 4)));
  const source = f.let(from);
  f.for(0, values, width, (i) => {
    const left = f.let(i32.sub(values, i));
    const [p, q] = [f.let(source), f.let(panel)];
    f.if(i32.ge(left, width), () => {
      f.for(0, pixels, 1, () => {
        for (let lane = 0; lane + 4 <= width; lane += 4) f.store(q, v.load(p, 4 * lane), 4 * lane);
        for (let lane = width & -4; lane < width; lane++) f.storeI32(q, i32.load(p, 4 * lane), 4 * lane);
        f.inc(p, pixelStride);
        f.inc(q, width * 4);
      });
    }, () => {
      f.for(0, pixels, 1, () => {
        f.for(0, f.let(i32.shl(left, 2)), 4, (o) => f.storeI32(i32.add(q, o), i32.load(i32.add(p, o))));
        f.inc(p, pixelStride);
        f.inc(q, width * 4);
      });
    });
    f.inc(source, width * 4);
    f.inc(panel, DEPTH * width * 4);
  });
}

type Part = Record<
  "rowStart" | "rows" | "channel" | "channels" | "channelPanels" | "ky" | "split",
  Local<"i32">
>;

/** Writes the sums to this part's dW, in OIHW order. */
function storeSums(f: Fn, sums: Local<"i32">, part: Part): void {
  const { rowStart, rows, channel, channels, channelPanels, ky, split } = part;
  const [height, width, inChannels] = (["kernelHeight", "kernelWidth", "inChannels"] as const).map((n) =>
    f.let(arg(n))
  );
  const filterBytes = f.let(i32.shl(i32.mul(i32.mul(height, width), inChannels), 2));
  f.for(0, rows, 1, (i) => {
    const value = f.let(i32.add(rowStart, i));
    const kx = f.let(i32.div(value, inChannels));
    const ci = f.let(i32.sub(value, i32.mul(kx, inChannels)));
    const tap = i32.add(i32.mul(i32.add(i32.mul(ci, height), ky), width), kx);
    const filter = i32.add(i32.mul(split, arg("outChannels")), channel);
    const to = f.let(i32.add(i32.add(arg("out"), i32.shl(tap, 2)), i32.mul(filter, filterBytes)));
    const panel = f.let(i32.div(i, PIXELS));
    const lane = f.let(i32.sub(i, i32.mul(panel, PIXELS)));
    const row = f.let(i32.add(i32.mul(i32.mul(panel, channelPanels), TILE_BYTES), i32.mul(lane, PANEL * 4)));
    f.for(0, channels, 1, (j) => {
      const at = i32.add(i32.mul(i32.div(j, PANEL), TILE_BYTES), i32.shl(i32.and(j, PANEL - 1), 2));
      f.storeF32(to, f32.load(i32.add(sums, i32.add(row, at))));
      f.inc(to, filterBytes);
    });
  });
}
