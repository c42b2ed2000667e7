// Convolution and its input gradient as implicit products: the rows of gemm.ts are pixels, read where their taps lie.
// Enlarging and strides leave several small filters, one for each place modulo a period, with weights added up where
// taps fall on the same pixel: an enlarged image is never stored, and a 3x3 filter on it costs 4 taps instead of 9.
import { type Buffer, type ConvSpec, itemBytes } from "../backend.ts";
import { each, fill, groupsOf } from "./elementwise.ts";
import { ceil, type Rows, takesMatrices } from "./gemm.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import type { Taps } from "./pack.ts";
import { loadVector, multiply, partRange, plainRows, storeVector } from "./product.ts";
import { takesWinograd, winograd } from "./winograd.ts";
import { repeat, THREADS, u32s } from "./wgsl.ts";

/** Outputs start + period q, q < size, along one side: tap t reads input q * step + first + t. */
export interface Phase extends Taps {
  readonly start: number;
  readonly period: number;
  readonly size: number;
  readonly step: number;
  readonly first: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Output o takes weight k from input floor((o stride + k - pad) / upsample). */
function forwardPhases(
  outputs: number,
  kernel: number,
  stride: number,
  pad: number,
  upsample: number,
): Phase[] {
  const period = upsample / gcd(stride, upsample);
  return Array.from({ length: Math.min(period, outputs) }, (_, start) => {
    const corner = start * stride - pad;
    const first = Math.floor(corner / upsample);
    return {
      start,
      period,
      size: ceil(outputs - start, period),
      step: (period * stride) / upsample,
      first,
      count: Math.floor((corner + kernel - 1) / upsample) - first + 1,
      from: upsample * first - corner,
      slope: upsample,
      reach: upsample,
      kernel,
    };
  });
}

/** Input i goes with weight k to the outputs (i upsample + j + pad - k) / stride that are whole, for j < upsample. */
function gradPhases(inputs: number, kernel: number, stride: number, pad: number, upsample: number): Phase[] {
  const period = stride / gcd(stride, upsample);
  return Array.from({ length: Math.min(period, inputs) }, (_, start) => {
    const corner = start * upsample + pad;
    const first = ceil(corner - kernel + 1, stride);
    return {
      start,
      period,
      size: ceil(inputs - start, period),
      step: (period * upsample) / stride,
      first,
      count: Math.max(0, Math.floor((corner + upsample - 1) / stride) - first + 1),
      from: corner - stride * first,
      slope: -stride,
      reach: upsample,
      kernel,
    };
  });
}

/** What both directions have in common. */
export interface Job {
  readonly batch: number;
  /** Of the image that is read and of the one that is written. */
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly outStride: number;
  readonly inStride: number;
  /** What both factors are rounded to for matrices, if not to that of the image. */
  readonly dtype?: "f16";
}

/** out = bias + residual + the convolution of x. */
export function conv2d(
  gpu: Gpu,
  x: Buffer,
  w: Buffer,
  bias: Buffer | null,
  residual: Buffer | null,
  out: Buffer,
  spec: ConvSpec,
): void {
  const { inChannels, outChannels, kernel: [kh, kw], stride, padTop, padLeft, upsample } = spec;
  const down = forwardPhases(spec.outHeight, kh, stride, padTop, upsample);
  const across = forwardPhases(spec.outWidth, kw, stride, padLeft, upsample);
  const job = {
    ...spec,
    inputs: inChannels,
    outputs: outChannels,
    outStride: inChannels * kh * kw,
    inStride: kh * kw,
  };
  convolve(gpu, x, w, bias, residual, out, job, down, across);
}

/** The gradient to the input, given that to the output. */
export function conv2dInputGrad(gpu: Gpu, g: Buffer, w: Buffer, out: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outChannels, kernel: [kh, kw], stride, upsample } = spec;
  const down = gradPhases(height, kh, stride, spec.padTop, upsample);
  const across = gradPhases(width, kw, stride, spec.padLeft, upsample);
  // an f32 gradient to an f16 input
  const isRounded = gpu.matrix && dtypeOf(out) === "f16" && takesMatrices(inChannels, ceil(outChannels, 4));
  const job = {
    batch,
    height: spec.outHeight,
    width: spec.outWidth,
    outHeight: height,
    outWidth: width,
    inputs: outChannels,
    outputs: inChannels,
    outStride: kh * kw,
    inStride: inChannels * kh * kw,
    dtype: isRounded ? "f16" as const : undefined,
  };
  if ([...down, ...across].some(({ count }) => count === 0)) {
    fill(gpu, out, batch * height * width * inChannels, 0); // no tap reaches these pixels
  }
  convolve(gpu, g, w, null, null, out, job, down, across);
}

function convolve(
  gpu: Gpu,
  x: Buffer,
  w: Buffer,
  bias: Buffer | null,
  residual: Buffer | null,
  out: Buffer,
  job: Job,
  downs: readonly Phase[],
  acrosses: readonly Phase[],
): void {
  const { batch, height, width, inputs } = job;
  const phases = downs.flatMap((down) => acrosses.map((across) => ({ down, across })))
    .filter(({ down, across }) => down.count * across.count > 0);
  for (const { down, across } of phases) {
    const product = (rows: Buffer) => convolvePhase(gpu, rows, w, bias, residual, out, job, down, across);
    if (isPatched(job, down, across)) patches(gpu, x, job, down, across, product);
    else wholeVectors(gpu, x, 0, batch * height * width, inputs, product);
  }
}

/**
 * Whether a pixel's taps are laid out one behind the other first: the three channels of a picture fill a vector badly, and
 * would be looked for once a tap. Where they become many channels, the memory does not count.
 */
function isPatched({ inputs, outputs }: Job, down: Phase, across: Phase): boolean {
  const taps = down.count * across.count;
  return inputs < 4 && taps > 1 && outputs >= taps * inputs;
}

/** The taps of each pixel [pixels, taps * inputs] in whole vectors, for the length of `body`. */
function patches(
  gpu: Gpu,
  x: Buffer,
  job: Job,
  down: Phase,
  across: Phase,
  body: (rows: Buffer) => void,
): void {
  const { inputs } = job, taps = down.count * across.count, quads = ceil(taps * inputs, 4);
  const dtype = dtypeOf(x), rows = job.batch * down.size * across.size;
  const params = { rows, ...numbersOf(job, down, across) };
  const kernel = gpu.kernel(`patches of ${taps} x ${inputs}`, () => {
    const { prepare, step, find } = pixelRows(`${inputs}u`);
    const load = (tap: number, c: number) => {
      const k = tap * inputs + c;
      return `    v${k >> 2}[${k & 3}] = select(0.0, f32(x[at0 + ${c}u]), has0);`;
    };
    return {
      inputs: { x: "f32" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: THREADS,
      body: `${each("p.rows")}
${prepare(0, "i")}
${repeat(quads, (q) => `  var v${q} = vec4f();`)}
${
        repeat(taps, (tap) =>
          `  {
    let tap = ${tap}u;
${step}
${find(0)}
${repeat(inputs, (c) => load(tap, c))}
  }`)
      }
${repeat(quads, (q) => `  out[i * ${quads}u + ${q}u] = out_t(v${q});`)}`,
    };
  });
  gpu.with(rows * quads * 4 * itemBytes[dtype], (to) => {
    gpu.run(kernel, [x, to], groupsOf(rows), params);
    body(to);
  }, dtype);
}

function convolvePhase(
  gpu: Gpu,
  x: Buffer,
  w: Buffer,
  bias: Buffer | null,
  residual: Buffer | null,
  out: Buffer,
  job: Job,
  down: Phase,
  across: Phase,
): void {
  const { batch, inputs, outputs, outStride, inStride, dtype } = job;
  if (takesWinograd(gpu, job, [down, across])) {
    return winograd(gpu, x, w, bias, residual, out, job, [down, across]);
  }
  const rows = batch * down.size * across.size, taps = down.count * across.count;
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const isDense = isPatched(job, down, across), isPlain = isDense || isSame(job, down, across);
  const isSpread = down.period > 1 || across.period > 1;
  const words = { plain: isPlain, spread: isSpread, "of vectors": isVector, bias, residual };
  const at = (row: string) => isSpread ? outPixel(row) : row;
  multiply(gpu, x, w, 0, { inputs, outputs, outStride, inStride, down, across, isDense }, {
    name: ["conv", ...Object.entries(words).filter(([, is]) => is).map(([word]) => word)].join(" "),
    rows,
    columns: outputs,
    quads: ceil(isDense ? taps * inputs : inputs, 4),
    taps: isDense ? 1 : taps,
    flops: 2 * rows * outputs * inputs * taps,
    dtype,
    source: isPlain ? plainRows("0u") : pixelRows("p.quads"),
    store: {
      columns: (c) => bias ? `  let bias${c} = ${loadVector("bias", `column${c}`, isVector)};` : "",
      row: `    let at = (${at("row")}) * p.columns;`,
      store: (acc, c) => {
        const more = (bias ? ` + bias${c}` : "") +
          (residual ? ` + ${loadVector("residual", `at + column${c}`, isVector)}` : "");
        const store = storeVector("at", `column${c}`, "p.columns", isVector, "value");
        return `let value = ${acc}${more}; ${store}`;
      },
    },
    others: [
      ...(bias ? [["bias", type, bias] as const] : []),
      ...(residual ? [["residual", type, residual] as const] : []),
      ["out", type, out],
    ],
    params: numbersOf(job, down, across),
    partsName: isStrip(job, down) ? undefined : `conv${isPlain ? " plain" : ""} in parts`,
  });
}

/** Whether it may be a strip of a large picture, which is to have the bits that it has in the whole. */
function isStrip({ height, outHeight }: Job, { kernel, period, step }: Phase): boolean {
  return kernel === 3 && period === 1 && step === 1 && height !== outHeight;
}

/** What the texts below read of a shape. Numbers below 0 wrap round, and so do the sums that they are in. */
function numbersOf({ height, width, outHeight, outWidth }: Job, down: Phase, across: Phase) {
  return {
    height,
    width,
    outHeight,
    outWidth,
    taps: down.count * across.count,
    tapsAcross: across.count,
    downSize: down.size,
    downStep: down.step,
    downFirst: down.first,
    downStart: down.start,
    downPeriod: down.period,
    acrossSize: across.size,
    acrossStep: across.step,
    acrossFirst: across.first,
    acrossStart: across.start,
    acrossPeriod: across.period,
  };
}

/** Whether each output is of the input at the same place, and of no other. */
function isSame({ height, width }: Job, down: Phase, across: Phase): boolean {
  return height === down.size && width === across.size &&
    [down, across].every(({ count, first, step, period }) =>
      count === 1 && first === 0 && step === 1 && period === 1
    );
}

/** The pixel of the output that is a row of the product. */
function outPixel(row: string): string {
  const line = `${row} / p.acrossSize`;
  const y = `${line} % p.downSize * p.downPeriod + p.downStart`;
  const x = `${row} % p.acrossSize * p.acrossPeriod + p.acrossStart`;
  return `(${line} / p.downSize * p.outHeight + ${y}) * p.outWidth + ${x}`;
}

/** Pixels of `channels` items each, with their taps one behind the other. */
function pixelRows(channels: string): Rows {
  return {
    ...partRange(`p.taps * ${channels}`),
    channels,
    // pixels beyond the last lie far below the image
    prepare: (j, row) =>
      `  let row${j} = ${row};
  let line${j} = row${j} / p.acrossSize;
  let base${j} = line${j} / p.downSize * p.height;
  let y${j} = select(0x10000000u, line${j} % p.downSize * p.downStep, row${j} < p.rows);
  let x${j} = row${j} % p.acrossSize * p.acrossStep;`,
    step: `    let dy = tap / p.tapsAcross + p.downFirst;
    let dx = tap % p.tapsAcross + p.acrossFirst;`,
    find: (j) =>
      `    let ty${j} = y${j} + dy;
    let tx${j} = x${j} + dx;
    let has${j} = ty${j} < p.height && tx${j} < p.width;
    let at${j} = select(0u, ((base${j} + ty${j}) * p.width + tx${j}) * ${channels}, has${j});`,
  };
}
