// Convolutions by their definition. Weights are packed in panels of output channels, and 6 pixels are computed at a time
// (micro_kernel.ts). A tile first copies its block of the input, with padding and enlargement, to scratch memory, so that
// the inner loop has no borders to check. 1x1 convolutions and matrix products read the input in place.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { arg, type CONV } from "./conv_arguments.ts";
import { atLeast, kernel, storeRow } from "./kernel.ts";
import { ACCUMULATORS, PANEL, PANEL_VECTORS, PIXELS } from "./micro_kernel.ts";

/**
 * copyInput(sample, y, x, rows, columns, to) copies a block of the padded or enlarged input, whose upper left corner is
 * (y, x). What is outside the input becomes 0.
 */
export function addCopyInput(m: ModuleBuilder): void {
  m.fn("copyInput", ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [sample, top, left, rows, columns, to] = [0, 1, 2, 3, 4, 5].map((n) => f.param(n, "i32"));
    const up = f.let(arg("upShift"));
    const [height, width] = (["height", "width"] as const).map((n) => f.let(i32.shl(arg(n), up)));
    const pixelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const rowBytes = f.let(i32.mul(arg("width"), pixelBytes));
    const base = f.let(i32.add(arg("x"), i32.mul(sample, i32.mul(arg("height"), rowBytes))));
    const outRow = f.let(i32.mul(columns, pixelBytes));
    f.for(0, rows, 1, (r) => {
      const y = f.let(i32.add(top, r));
      f.if(i32.ltU(y, height), () => {
        const row = f.let(i32.add(base, i32.mul(i32.shrU(y, up), rowBytes)));
        f.if(i32.eqz(up), () => {
          // a row is zeros, then pixels, then zeros; there may be no pixels
          const right = f.let(i32.add(left, columns));
          const from = f.let(i32.min(atLeast(f, 0, left), right));
          const pixels = atLeast(f, 0, i32.sub(i32.min(right, width), from));
          const before = f.let(i32.mul(i32.sub(from, left), pixelBytes));
          const run = f.let(i32.mul(pixels, pixelBytes));
          f.if(before, () => f.fillBytes(to, 0, before));
          f.if(run, () => f.copyBytes(i32.add(to, before), i32.add(row, i32.mul(from, pixelBytes)), run));
          const end = f.let(i32.add(before, run));
          f.if(i32.lt(end, outRow), () => f.fillBytes(i32.add(to, end), 0, i32.sub(outRow, end)));
        }, () => {
          f.for(0, columns, 1, (c) => {
            const x = f.let(i32.add(left, c));
            const at = f.let(i32.add(to, i32.mul(c, pixelBytes)));
            f.if(
              i32.ltU(x, width),
              () => f.copyBytes(at, i32.add(row, i32.mul(i32.shrU(x, up), pixelBytes)), pixelBytes),
              () => f.fillBytes(at, 0, pixelBytes),
            );
          });
        });
      }, () => f.fillBytes(to, 0, outRow));
      f.inc(to, outRow);
    });
  });
}

/** The scratch memory of a tile holds the accumulators, the input and output offset of each pixel, and the input block. */
export const TABLE_PIXELS = 4096;
const INPUT_TABLE = ACCUMULATORS;
const OUTPUT_TABLE = INPUT_TABLE + TABLE_PIXELS * 4;
export const CONV_SCRATCH = OUTPUT_TABLE + TABLE_PIXELS * 4;

/** out = conv(x) + bias + residual. A tile is a block of output pixels times a block of panels. */
export function addConv(m: ModuleBuilder): void {
  kernel(m, "conv", (f, tile, scratch) => {
    const index = f.let(tile);
    const next = (count: keyof typeof CONV) => {
      const i = f.let(i32.rem(index, arg(count)));
      f.set(index, i32.div(index, arg(count)));
      return i;
    };
    const panelBlock = next("panelBlocks");
    const blockX = next("blocksAcross");
    const blockY = next("blocksDown");
    const sample = index;
    const stride = f.let(arg("stride"));
    const pixelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const [outPixel, outRow] = (["outPixel", "outRow"] as const).map((n) => f.let(arg(n)));
    const clip = (block: Local<"i32">, size: "blockHeight" | "blockWidth", all: "outHeight" | "outWidth") => {
      const start = f.let(i32.mul(block, arg(size)));
      return [start, f.let(i32.min(f.let(arg(size)), f.let(i32.sub(arg(all), start))))];
    };
    const [y0, rows] = clip(blockY, "blockHeight", "outHeight");
    const [x0, columns] = clip(blockX, "blockWidth", "outWidth");
    const input = f.local("i32");
    const rowBytes = f.local("i32");
    f.if(arg("direct"), () => {
      f.set(rowBytes, i32.mul(arg("width"), pixelBytes));
      const start = i32.add(
        i32.mul(i32.add(i32.mul(sample, arg("height")), i32.mul(y0, stride)), arg("width")),
        i32.mul(x0, stride),
      );
      f.set(input, i32.add(arg("x"), i32.mul(start, pixelBytes)));
    }, () => {
      const span = (n: Local<"i32">, k: "kernelHeight" | "kernelWidth") =>
        f.let(i32.add(i32.mul(i32.sub(n, 1), stride), arg(k)));
      const width = span(columns, "kernelWidth");
      f.set(rowBytes, i32.mul(width, pixelBytes));
      f.set(input, i32.add(scratch, CONV_SCRATCH));
      f.call(
        "copyInput",
        sample,
        f.let(i32.sub(i32.mul(y0, stride), arg("padTop"))),
        f.let(i32.sub(i32.mul(x0, stride), arg("padLeft"))),
        span(rows, "kernelHeight"),
        width,
        input,
      );
    });
    // the table of pixels; the last one is repeated until their number is a multiple of 6
    const count = f.let(i32.mul(rows, columns));
    const padded = f.let(i32.mul(i32.div(i32.add(count, PIXELS - 1), PIXELS), PIXELS));
    const outStart = f.let(
      i32.add(i32.mul(sample, arg("outImage")), i32.add(i32.mul(y0, outRow), i32.mul(x0, outPixel))),
    );
    const entry = f.let(scratch);
    const addEntry = (from: Local<"i32">, to: Local<"i32">) => {
      f.storeI32(entry, from, INPUT_TABLE);
      f.storeI32(entry, to, OUTPUT_TABLE);
      f.inc(entry, 4);
    };
    const [from, to] = [f.local("i32"), f.local("i32")];
    const step = f.let(i32.mul(stride, pixelBytes));
    f.for(0, rows, 1, (y) => {
      f.set(from, i32.add(input, i32.mul(i32.mul(y, stride), rowBytes)));
      f.set(to, i32.add(outStart, i32.mul(y, outRow)));
      f.for(0, columns, 1, () => {
        addEntry(from, to);
        f.inc(from, step);
        f.inc(to, outPixel);
      });
    });
    f.set(from, i32.sub(from, step));
    f.set(to, i32.sub(to, outPixel));
    f.for(count, padded, 1, () => addEntry(from, to));
    const runBytes = f.let(i32.mul(arg("kernelWidth"), pixelBytes));
    const runs = f.let(arg("kernelHeight"));
    const panelBytes = f.let(i32.mul(i32.mul(runBytes, runs), PANEL));
    const channel = f.let(i32.mul(panelBlock, i32.mul(arg("blockPanels"), PANEL)));
    const panelEnd = i32.add(channel, i32.mul(arg("blockPanels"), PANEL));
    const end = f.let(i32.min(f.let(panelEnd), f.let(arg("outChannels"))));
    const panel = f.let(i32.add(arg("weights"), i32.mul(i32.div(channel, PANEL), panelBytes)));
    const [bias, residual, out] = [arg("bias"), arg("residual"), arg("out")].map((a) => f.let(a));
    f.while(i32.lt(channel, end), () => {
      const lanes = f.let(i32.sub(arg("outChannels"), channel));
      f.for(0, padded, PIXELS, (p) => {
        const at = f.let(i32.add(scratch, i32.shl(p, 2)));
        f.call("micro", f.let(i32.add(at, INPUT_TABLE)), panel, runs, runBytes, rowBytes, scratch);
        for (let q = 0; q < PIXELS; q++) {
          const offset = f.let(i32.add(i32.load(at, OUTPUT_TABLE + 4 * q), i32.shl(channel, 2)));
          storePixel(f, scratch, q * PANEL * 4, offset, channel, lanes, bias, residual, out);
        }
      });
      f.inc(channel, PANEL);
      f.inc(panel, panelBytes);
    });
  });
}

/** Adds bias and residual to one pixel's panel of channels, which is at `acc` + `at`, and stores the channels that exist. */
export function storePixel(
  f: Fn,
  acc: Local<"i32">,
  at: number,
  offset: Local<"i32">,
  channel: Local<"i32">,
  lanes: Local<"i32">,
  bias: Local<"i32">,
  residual: Local<"i32">,
  out: Local<"i32">,
): void {
  const a = PANEL_VECTORS.map((o) => f.let(v.load(acc, at + o)));
  f.if(bias, () => {
    const at = f.let(i32.add(bias, i32.shl(channel, 2)));
    a.forEach((x, j) => f.set(x, v.add(x, v.load(at, 16 * j))));
  });
  f.if(residual, () => {
    const at = f.let(i32.add(residual, offset));
    a.forEach((x, j) => f.set(x, v.add(x, v.load(at, 16 * j))));
  });
  const to = f.let(i32.add(out, offset));
  f.if(i32.ge(lanes, PANEL), () => a.forEach((x, j) => f.store(to, x, 16 * j)), () => {
    for (let lane = 0; lane < PANEL - 1; lane++) {
      f.if(i32.gt(lanes, lane), () => f.storeF32(to, f32.lane(a[lane >> 2], lane & 3), 4 * lane));
    }
  });
}

/**
 * out = sums of 2x2 pixels of x, which is the gradient of nearest-neighbour enlargement.
 * arguments: x, out, width, channels. A tile is an output row.
 */
export function addSumQuads(m: ModuleBuilder): void {
  kernel(m, "sumQuads", (f, tile) => {
    const n = f.let(argument(3));
    const bytes = f.let(i32.shl(n, 2));
    const rowBytes = f.let(i32.mul(argument(2), bytes));
    const out = f.let(i32.add(argument(1), i32.mul(tile, rowBytes)));
    const x = f.let(i32.add(argument(0), i32.mul(tile, i32.shl(rowBytes, 2))));
    const below = f.let(i32.add(x, i32.shl(rowBytes, 1)));
    f.for(0, f.let(argument(2)), 1, () => {
      const pair = (row: Local<"i32">, at: Local<"i32">, o: number) =>
        v.add(f.load(i32.add(row, at), o), f.load(i32.add(i32.add(row, bytes), at), o));
      storeRow(f, out, n, (at, o) => v.add(pair(x, at, o), pair(below, at, o)));
      f.inc(out, bytes);
      f.inc(x, i32.shl(bytes, 1));
      f.inc(below, i32.shl(bytes, 1));
    });
  });
}
