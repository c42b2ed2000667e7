// Convolution and its input gradient as implicit products: the rows of gemm.ts are pixels, read where their taps lie.
// Enlarging and strides leave several small filters, one for each place modulo a period, with weights added up where
// taps fall on the same pixel: an enlarged image is never stored, and a 3x3 filter on it costs 4 taps instead of 9.
import type { Buffer, ConvSpec } from "../backend.ts";
import { fill } from "./elementwise.ts";
import {
  ceil,
  chooseTile,
  named,
  packed,
  plainRows,
  type Rows,
  type Taps,
  threadsOf,
  type Tile,
  tiledProduct,
  tileMemory,
  tilesOf,
} from "./gemm.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { loadVector, storeVector, wholeVectors } from "./matmul.ts";
import { takesWinograd, winograd } from "./winograd.ts";
import { div, mod } from "./wgsl.ts";

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
  wholeVectors(gpu, x, 0, batch * height * width, inputs, (whole) => {
    for (const down of downs) {
      for (const across of acrosses) {
        if (down.count * across.count > 0) {
          convolvePhase(gpu, whole, w, bias, residual, out, job, down, across);
        }
      }
    }
  });
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
  const weights = filters(job, down, across);
  if (takesWinograd(gpu, job, [down, across])) {
    return winograd(gpu, x, w, bias, residual, out, job, [down, across], weights);
  }
  const { outputs } = job;
  const pixels = job.batch * down.size * across.size;
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const more = [...(bias ? ["bias"] : []), ...(residual ? ["residual"] : [])];
  const name = [
    "conv",
    Object.values([job.batch, job.height, job.width, job.outHeight, job.outWidth, job.inputs, outputs]),
    ...[down, across].map((
      { start, period, size, step, first, count },
    ) => [start, period, size, step, first, count]),
    ...more,
  ].join(" ");
  const kernel = (tile: Tile) =>
    gpu.kernel(named(name, tile), () => ({
      inputs: { a: "vec4f", b: "vec4f", ...Object.fromEntries(more.map((input) => [input, type])) },
      outputs: { out: type },
      threads: threadsOf(tile),
      flops: 2 * pixels * outputs * job.inputs * down.count * across.count,
      globals: tileMemory(tile),
      body: tiledProduct(
        tile,
        pixelRows(job, down, across, pixels),
        pixels,
        outputs,
        {
          columns: (c) => bias ? `  let bias${c} = ${loadVector("bias", `column${c}`, isVector)};` : "",
          row: `    let at = (${outPixel(job, down, across)}) * ${outputs}u;`,
          store: (acc, c) => {
            const more = (bias ? ` + bias${c}` : "") +
              (residual ? ` + ${loadVector("residual", `at + column${c}`, isVector)}` : "");
            return `let value = ${acc}${more}; ${
              storeVector("at", `column${c}`, outputs, isVector, "value")
            }`;
          },
        },
        gpu.madd,
      ),
    }));
  const others = [...(bias ? [bias] : []), ...(residual ? [residual] : []), out];
  const tile = chooseTile(gpu, name, [pixels, outputs, ceil(job.inputs, 4)], kernel, weights, x, others);
  packed(gpu, w, 0, weights, tile, dtypeOf(x), (columns) => {
    gpu.run(kernel(tile), [x, columns, ...others], tilesOf(tile, pixels, outputs));
  });
}

const filters = ({ inputs, outputs, outStride, inStride }: Job, down: Phase, across: Phase) => {
  const taps = ({ count, from, slope, reach, kernel }: Phase): Taps => ({
    count,
    from,
    slope,
    reach,
    kernel,
  });
  return { inputs, outputs, outStride, inStride, down: taps(down), across: taps(across) };
};

/** The pixel of the output that is row `row` of the product. */
function outPixel(job: Job, down: Phase, across: Phase): string {
  if (down.period === 1 && across.period === 1) return "row";
  const line = div("row", across.size);
  const y = `(${mod(line, down.size)} * ${down.period}u + ${down.start}u)`;
  const x = `${mod("row", across.size)} * ${across.period}u + ${across.start}u`;
  return `(${div(line, down.size)} * ${job.outHeight}u + ${y}) * ${job.outWidth}u + ${x}`;
}

/** Pixels with their taps one behind the other. */
function pixelRows(job: Job, down: Phase, across: Phase, pixels: number): Rows {
  const { height, width } = job;
  const channels = ceil(job.inputs, 4), taps = down.count * across.count;
  const isSame = [down, across].every(({ count, first, step, period }) =>
    count === 1 && first === 0 && step === 1 && period === 1
  );
  if (isSame && height === down.size && width === across.size) return plainRows(pixels, channels, "0u");
  return {
    taps,
    channels,
    prepare: (j, row) => {
      const line = div(`row${j}`, across.size);
      // pixels beyond the last lie far above the image
      return `  let row${j} = ${row};
  let base${j} = ${div(line, down.size)} * ${height * width}u;
  let y${j} = select(-0x10000000, i32(${mod(line, down.size)} * ${down.step}u), row${j} < ${pixels}u);
  let x${j} = i32(${mod(`row${j}`, across.size)} * ${across.step}u);`;
    },
    step: `    let dy = i32(${div("tap", across.count)}) + ${down.first};
    let dx = i32(${mod("tap", across.count)}) + ${across.first};`,
    find: (j) =>
      `    let ty${j} = u32(y${j} + dy);
    let tx${j} = u32(x${j} + dx);
    let has${j} = ty${j} < ${height}u && tx${j} < ${width}u;
    let at${j} = select(0u, (base${j} + ty${j} * ${width}u + tx${j}) * ${channels}u, has${j});`,
  };
}
