// What a launch does, read off its arguments: the shape, the operations of the definition (a multiply-add counts two) and
// the bytes that must move at least. For DEBUG=2 and bench/roofline.ts; computing does not depend on it.
import { CONV } from "./kernels/conv_arguments.ts";
import { MAX_RANK } from "./kernels/elementwise.ts";
import { NORM } from "./kernels/norm.ts";

export interface Work {
  readonly what: string;
  readonly flop: number;
  readonly bytes: number;
}

type Arguments = ArrayLike<number>;

/** Of `what`, with so many numbers read or written, and operations. */
const work = (what: string, numbers: number, flop: number): Work => ({ what, flop, bytes: 4 * numbers });

/** A convolution or one of its gradients. */
function conv(args: Arguments): Work {
  const [batch, height, width, inputs, outHeight, outWidth, outputs, kernelHeight, kernelWidth] = ([
    "batch",
    "height",
    "width",
    "inChannels",
    "outHeight",
    "outWidth",
    "outChannels",
    "kernelHeight",
    "kernelWidth",
  ] as const).map((name) => args[CONV[name]]);
  const filters = kernelHeight * kernelWidth * inputs * outputs, places = batch * outHeight * outWidth;
  const what = `${kernelHeight}x${kernelWidth} ${inputs}->${outputs} to ${batch === 1 ? "" : `${batch} x `}`;
  const numbers = batch * height * width * inputs + places * outputs + filters;
  return work(`${what}${outHeight}x${outWidth}`, numbers, 2 * filters * places);
}

/** A transform of Winograd's: one side is 36 / 9 or 36 / 16 times the other. */
function transform(args: Arguments, numbers: number): Work {
  return { ...conv(args), flop: 0, bytes: 4 * numbers };
}
const filters = (args: Arguments) =>
  transform(args, args[CONV.inChannels] * args[CONV.outChannels] * (36 + args[CONV.kernelWidth] ** 2));
const patches = (args: Arguments, channels: number) =>
  transform(args, args[CONV.batch] * args[CONV.blocksDown] * args[CONV.blocksAcross] * channels * 52);

/** Group norm on chunks of pixels: numbers moved and operations for each value of the input. */
const norm = (numbers: number, flop: number) => (args: Arguments, tiles: number): Work => {
  const batch = tiles / args[NORM.chunks], size = batch * args[NORM.pixels] * args[NORM.channels];
  return work(`${batch} x ${args[NORM.pixels]} x ${args[NORM.channels]}`, numbers * size, flop * size);
};
/** What follows on the sums of the chunks. */
const normFinish = (args: Arguments, tiles: number): Work => {
  const sums = (tiles / args[NORM.groups]) * args[NORM.chunks] * args[NORM.channels];
  return work(`${args[NORM.chunks]} chunks x ${args[NORM.channels]}`, 2 * sums, 4 * sums);
};

/** Rows and columns at two places of the arguments: numbers moved and operations for each element. */
const matrix = (rows: number, columns: number, numbers: number, flop: number) => (args: Arguments): Work => {
  const size = args[rows] * args[columns];
  return work(`${args[rows]} x ${args[columns]}`, numbers * size, flop * size);
};
/** The same where a row is a tile. */
const rows = (columns: number, numbers: number, flop: number) => (args: Arguments, tiles: number): Work =>
  work(`${tiles} x ${args[columns]}`, numbers * tiles * args[columns], flop * tiles * args[columns]);

const pool = (gradient: boolean) => (args: Arguments): Work => {
  const [batch, height, width, channels, outHeight, outWidth, size] = Array.from(
    { length: 7 },
    (_, i) => args[3 + i],
  );
  const inputs = batch * height * width * channels, windows = batch * outHeight * outWidth * channels;
  const numbers = (gradient ? 2 : 1) * inputs + windows;
  return work(`${batch} x ${height}x${width} x ${channels}`, numbers, windows * size * size);
};

/** By the kernel's name, or its part before the dot, without Winograd's number of taps. */
const KERNELS: Record<string, (args: Arguments, tiles: number) => Work> = {
  unary: (args) => work(`${args[2]}`, 2 * args[2], args[2]),
  binary: matrix(3, 4, 3, 1),
  copy: (args) => {
    const shape = Array.from({ length: MAX_RANK }, (_, i) => args[4 + i]),
      size = shape.reduce((a, b) => a * b);
    return work(`[${shape.filter((n, i) => n > 1 || i === MAX_RANK - 1)}]`, 2 * size, 0);
  },
  rows: matrix(2, 3, 1, 1),
  columns: matrix(2, 3, 1, 1),
  softmax: rows(2, 2, 5),
  softmaxGrad: rows(2, 3, 5),
  gather: matrix(3, 4, 2, 0),
  scatterAdd: matrix(3, 4, 3, 1),
  adam: (args) => work(`${args[4]}`, 7 * args[4], 12 * args[4]),
  pack: (args) => {
    const [height, width, inputs, outputs] = [args[2], args[3], args[4], args[5]];
    return work(`${height}x${width} ${inputs}->${outputs}`, 2 * height * width * inputs * outputs, 0);
  },
  conv,
  convWeightGrad: conv,
  sumQuads: (args, tiles) =>
    work(`${tiles} x ${args[2]} x ${args[3]}`, 5 * tiles * args[2] * args[3], 3 * tiles * args[2] * args[3]),
  upFilters: (args) => work(`${args[2]}->${args[3]}`, 25 * args[2] * args[3], 10 * args[2] * args[3]),
  winograd: conv,
  winogradSmall: conv,
  winogradGrad: conv,
  winogradGradSmall: conv,
  winogradFilters: filters,
  winogradWayBack: filters,
  winogradInputs: (args) => patches(args, args[CONV.inChannels]),
  winogradGrads: (args) => patches(args, args[CONV.outChannels]),
  "norm.chunk": norm(1, 4),
  "norm.finish": normFinish,
  "norm.apply": norm(2, 6),
  "norm.gradChunk": norm(2, 13),
  "norm.gradFinish": normFinish,
  "norm.gradInput": norm(3, 16),
  maxPool: pool(false),
  maxPoolGrad: pool(true),
  lpips: matrix(4, 5, 2, 9),
  lpipsGrad: matrix(4, 5, 3, 12),
  codeNorms: matrix(6, 5, 1, 2),
  nearestCode: (args) => {
    const [count, channels, codes] = [args[4], args[5], args[6]];
    return work(
      `${count} in ${codes} x ${channels}`,
      (codes + count) * channels,
      2 * count * codes * channels,
    );
  },
};

/** @throws if the kernel is not in the table. */
export function workOf(kernel: string, tiles: number, args: Arguments): Work {
  const name = kernel.replace(/[234]$/, "");
  const of = KERNELS[name] ?? KERNELS[name.split(".")[0]];
  if (!of) throw new Error(`cpu: src/backends/wasm/work.ts does not say what ${kernel} does`);
  return of(args, tiles);
}
