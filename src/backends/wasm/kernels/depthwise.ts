// Depthwise convolution and both gradients: channel c of the output depends only on channel c of the input, with a filter of
// its own. So each tap is a product of whole vectors of channels. Weights are [kernel height, kernel width, channels].
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { type Ex, i32, type Local, v } from "../assembler/expressions.ts";
import { arg } from "./conv_arguments.ts";
import { atLeast, atMost, kernel, storeLanes } from "./kernel.ts";

/** Channels that a tile covers. */
export const DEPTHWISE_CHANNELS = 64;
/** Channels that a tile of the weight gradient covers: two cache lines, whose sums stay in registers. */
export const DEPTHWISE_GRAD_CHANNELS = 32;

/** Calls body(vectors, left) for all channels: `most` vectors at a time, then one; the last may have only `left` lanes. */
function eachColumns(
  f: Fn,
  channels: Local<"i32">,
  most: number,
  body: (vectors: number, left: Local<"i32"> | null) => void,
): void {
  for (const vectors of [most, 1]) {
    f.while(i32.ge(channels, 4 * vectors), () => {
      body(vectors, null);
      f.inc(channels, -4 * vectors);
    });
  }
  f.if(channels, () => body(1, channels));
}

/** The two directions in a picture, with the arguments that hold the sizes along each. */
const DOWN = { size: "height", kernel: "kernelHeight", pad: "padTop" } as const;
const ACROSS = { size: "width", kernel: "kernelWidth", pad: "padLeft" } as const;

/** For one place of the output, the taps that fall inside the picture and what they read. */
interface Reach {
  /** Along one side: the first tap, the one after the last, and the place that the first one reads. */
  readonly taps: (f: Fn, at: Local<"i32">, side: typeof DOWN | typeof ACROSS) => {
    first: Local<"i32">;
    end: Local<"i32">;
    from: Local<"i32">;
  };
  /** The distance from one of these taps to the next, and the distance of the pixels that they read. */
  readonly step: () => Ex<"i32">;
  readonly pixels: 1 | -1;
}

/** Tap t of an output reads at stride - pad + t. */
const forward: Reach = {
  taps: (f, at, { size, kernel, pad }) => {
    const corner = f.let(i32.sub(i32.mul(at, arg("stride")), arg(pad)));
    const first = atLeast(f, 0, i32.sub(0, corner));
    const end = f.let(i32.min(f.let(arg(kernel)), f.let(i32.sub(arg(size), corner))));
    return { first, end, from: f.let(i32.add(corner, first)) };
  },
  step: () => i32.const(1),
  pixels: 1,
};

/** Tap t of an input gradient reads (at + pad - t) / stride, if that is a whole number. */
const backward: Reach = {
  taps: (f, at, { size, kernel, pad }) => {
    const last = f.let(i32.add(at, arg(pad)));
    const from = f.let(i32.min(f.let(i32.sub(arg(size), 1)), f.let(i32.div(last, arg("stride")))));
    const end = f.let(i32.min(f.let(arg(kernel)), f.let(i32.add(last, 1))));
    return { first: f.let(i32.sub(last, i32.mul(from, arg("stride")))), end, from };
  },
  step: () => arg("stride"),
  pixels: -1,
};

/** out = bias + residual + the sum over the taps of x times weight. A tile is a row of the output and a block of channels. */
function addTapSums(m: ModuleBuilder, name: string, { taps, step, pixels }: Reach): void {
  kernel(m, name, (f, tile) => {
    const blocks = f.let(arg("panelBlocks"));
    const block = f.let(i32.mul(i32.rem(tile, blocks), DEPTHWISE_CHANNELS));
    const row = f.let(i32.div(tile, blocks));
    const y = f.let(i32.rem(row, arg("outHeight")));
    const pixelBytes = f.let(i32.shl(arg("outChannels"), 2));
    const rowBytes = f.let(i32.mul(arg("width"), pixelBytes));
    const tapStep = f.let(step());
    const [pixelStep, rowStep] = [pixelBytes, rowBytes].map((bytes) => f.let(i32.mul(bytes, pixels)));
    const weightStep = f.let(i32.mul(tapStep, pixelBytes));
    const weightRowStep = f.let(i32.mul(arg("kernelWidth"), weightStep));
    const down = taps(f, y, DOWN);
    const line = i32.add(i32.mul(i32.div(row, arg("outHeight")), arg("height")), down.from);
    const image = f.let(i32.add(i32.add(arg("x"), i32.mul(line, rowBytes)), i32.shl(block, 2)));
    const filter = i32.mul(i32.mul(down.first, arg("kernelWidth")), pixelBytes);
    const filters = f.let(i32.add(i32.add(arg("weights"), filter), i32.shl(block, 2)));
    const out = f.let(i32.add(i32.mul(i32.mul(row, arg("outWidth")), pixelBytes), i32.shl(block, 2)));
    f.for(0, f.let(arg("outWidth")), 1, (x) => {
      const across = taps(f, x, ACROSS);
      const from = f.let(i32.add(image, i32.mul(across.from, pixelBytes)));
      const weight = f.let(i32.add(filters, i32.mul(across.first, pixelBytes)));
      const [channel, to] = [f.let(block), f.let(out)];
      const channels = atMost(f, DEPTHWISE_CHANNELS, i32.sub(arg("outChannels"), block));
      eachColumns(f, channels, 4, (vectors, left) => {
        const sums = Array.from({ length: vectors }, () => f.let(v.zero()));
        const [xRow, weightRow, r] = [from, weight, down.first].map((start) => f.let(start));
        f.while(i32.lt(r, down.end), () => {
          const [xAt, weightAt, s] = [xRow, weightRow, across.first].map((start) => f.let(start));
          f.while(i32.lt(s, across.end), () => {
            sums.forEach((sum, j) => f.set(sum, f.fma(v.load(xAt, 16 * j), v.load(weightAt, 16 * j), sum)));
            f.inc(xAt, pixelStep);
            f.inc(weightAt, weightStep);
            f.inc(s, tapStep);
          });
          f.inc(xRow, rowStep);
          f.inc(weightRow, weightRowStep);
          f.inc(r, tapStep);
        });
        const addAt = (operand: "bias" | "residual", offset: Ex<"i32">) =>
          f.if(arg(operand), () => {
            const more = f.let(i32.add(arg(operand), offset));
            sums.forEach((sum, j) => f.set(sum, v.add(sum, v.load(more, 16 * j))));
          });
        addAt("bias", i32.shl(channel, 2));
        addAt("residual", to);
        const place = f.let(i32.add(arg("out"), to));
        sums.forEach((sum, j) => storeLanes(f, place, sum, 16 * j, left));
        for (const at of [from, weight, to]) f.inc(at, 16 * vectors);
        f.inc(channel, 4 * vectors);
      });
      f.inc(out, pixelBytes);
    });
  });
}

/**
 * dw[r, s, c] = sum over pixels of x[pixel + (r, s)][c] g[pixel][c]. A tile is a split and a block of channels; a split is
 * `blockHeight` rows of the gradient, and has a dw of its own. As in CONV, `weights` is the gradient of the output.
 */
function addWeightGrad(m: ModuleBuilder): void {
  kernel(m, "depthwiseWeightGrad", (f, tile) => {
    const blocks = f.let(arg("panelBlocks"));
    const block = f.let(i32.mul(i32.rem(tile, blocks), DEPTHWISE_GRAD_CHANNELS));
    const split = f.let(i32.div(tile, blocks));
    const [stride, outHeight, outWidth, width] = (["stride", "outHeight", "outWidth", "width"] as const)
      .map((name) => f.let(arg(name)));
    const firstRow = f.let(i32.mul(split, arg("blockHeight")));
    const rows = f.let(i32.mul(arg("batch"), outHeight));
    const endRow = f.let(i32.min(f.let(i32.add(firstRow, arg("blockHeight"))), rows));
    const pixelBytes = f.let(i32.shl(arg("outChannels"), 2));
    const xStep = f.let(i32.mul(stride, pixelBytes));
    const tapBytes = i32.mul(i32.mul(arg("kernelHeight"), arg("kernelWidth")), pixelBytes);
    const out = f.let(i32.add(i32.add(arg("out"), i32.mul(split, tapBytes)), i32.shl(block, 2)));
    f.for(0, f.let(arg("kernelHeight")), 1, (r) => {
      f.for(0, f.let(arg("kernelWidth")), 1, (s) => {
        // the columns whose tap s is in the picture
        const before = f.let(i32.sub(arg("padLeft"), s));
        const first = atLeast(f, 0, i32.div(i32.add(before, i32.sub(stride, 1)), stride));
        const last = i32.div(i32.add(i32.add(before, i32.sub(width, 1)), stride), stride);
        const end = f.let(i32.min(outWidth, f.let(last)));
        const corner = f.let(i32.sub(i32.mul(first, stride), before));
        const channel = f.let(i32.shl(block, 2)), to = f.let(out);
        const channels = atMost(f, DEPTHWISE_GRAD_CHANNELS, i32.sub(arg("outChannels"), block));
        eachColumns(f, channels, DEPTHWISE_GRAD_CHANNELS / 4, (vectors, left) => {
          const sums = Array.from({ length: vectors }, () => f.let(v.zero()));
          f.for(firstRow, endRow, 1, (row) => {
            const y = f.let(i32.add(i32.sub(i32.mul(i32.rem(row, outHeight), stride), arg("padTop")), r));
            f.if(i32.ltU(y, arg("height")), () => {
              const line = i32.add(i32.mul(i32.div(row, outHeight), arg("height")), y);
              const pixel = i32.add(i32.mul(line, width), corner);
              const x = f.let(i32.add(i32.add(arg("x"), i32.mul(pixel, pixelBytes)), channel));
              const gPixel = i32.add(i32.mul(row, outWidth), first);
              const g = f.let(i32.add(i32.add(arg("weights"), i32.mul(gPixel, pixelBytes)), channel));
              f.for(first, end, 1, () => {
                sums.forEach((sum, j) => f.set(sum, f.fma(v.load(x, 16 * j), v.load(g, 16 * j), sum)));
                f.inc(x, xStep);
                f.inc(g, pixelBytes);
              });
            });
          });
          sums.forEach((sum, j) => storeLanes(f, to, sum, 16 * j, left));
          for (const at of [channel, to]) f.inc(at, 16 * vectors);
        });
        f.inc(out, pixelBytes);
      });
    });
  });
}

export function addDepthwise(m: ModuleBuilder): void {
  addTapSums(m, "depthwise", forward);
  addTapSums(m, "depthwiseInputGrad", backward);
  addWeightGrad(m);
}
