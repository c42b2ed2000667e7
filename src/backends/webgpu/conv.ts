// Convolution and its input gradient as implicit products: the rows of gemm.ts are pixels, read where their taps lie.
// Enlarging and strides leave several small filters, one for each place modulo a period, with weights added up where
// taps fall on the same pixel: an enlarged image is never stored, and a 3x3 filter on it costs 4 taps instead of 9.
import { type Buffer, type ConvSpec, itemBytes } from "../backend.ts";
import { each, fill, groupsOf } from "./elementwise.ts";
import {
  ceil,
  named,
  plainRows,
  type Rows,
  threadsOf,
  type Tile,
  tiledProduct,
  tileMemory,
  tilesOf,
} from "./gemm.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { storeVector, wholeVectors } from "./matmul.ts";
import { chooseTile, packed, type Taps } from "./pack.ts";
import { div, mod, repeat, THREADS } from "./wgsl.ts";

/** Outputs start + period q, q < size, along one side: tap t reads input q * step + first + t. */
interface Phase extends Taps {
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
interface Job {
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
  const dtype = dtypeOf(x), pixels = job.batch * down.size * across.size;
  const kernel = gpu.kernel(phaseName("patches", { ...job, outputs: 0 }, down, across), () => {
    const { prepare, step, find } = pixelRows(job, down, across, pixels, inputs);
    const load = (tap: number, c: number) => {
      const k = tap * inputs + c;
      return `    v${k >> 2}[${k & 3}] = select(0.0, f32(x[at0 + ${c}u]), has0);`;
    };
    return {
      inputs: { x: "f32" },
      outputs: { out: "vec4f" },
      threads: THREADS,
      body: `${each(`${pixels}u`)}
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
  gpu.with(pixels * quads * 4 * itemBytes[dtype], (rows) => {
    gpu.run(kernel, [x, rows], groupsOf(pixels));
    body(rows);
  }, dtype);
}

/** Tells apart what differs in its taps. */
function phaseName(kind: string, job: Job, down: Phase, across: Phase): string {
  const { batch, height, width, outHeight, outWidth, inputs, outputs } = job;
  const places = [down, across].map((
    { start, period, size, step, first, count },
  ) => [start, period, size, step, first, count]);
  return [kind, [batch, height, width, outHeight, outWidth, inputs, outputs], ...places].join(" ");
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
  const { outputs } = job;
  const pixels = job.batch * down.size * across.size;
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const more = [...(bias ? ["bias"] : []), ...(residual ? ["residual"] : [])];
  const name = [phaseName("conv", job, down, across), ...more].join(" ");
  const isDense = isPatched(job, down, across), taps = down.count * across.count;
  const quads = ceil(isDense ? taps * job.inputs : job.inputs, 4);
  const rows = isDense ? plainRows(pixels, quads, "0u") : pixelRows(job, down, across, pixels, quads);
  /** Four numbers from element `at` of a buffer that is read. */
  const four = (buffer: string, at: string) =>
    isVector
      ? `vec4f(${buffer}[(${at}) >> 2u])`
      : `vec4f(${
        [0, 1, 2, 3].map((e) => `f32(${buffer}[min(${at} + ${e}u, arrayLength(&${buffer}) - 1u)])`).join(", ")
      })`;
  const kernel = (tile: Tile) =>
    gpu.kernel(named(name, tile), () => ({
      inputs: { a: "vec4f", b: "vec4f", ...Object.fromEntries(more.map((input) => [input, type])) },
      outputs: { out: type },
      threads: threadsOf(tile),
      flops: 2 * pixels * outputs * job.inputs * taps,
      globals: tileMemory(tile),
      body: tiledProduct(
        tile,
        rows,
        pixels,
        outputs,
        {
          columns: (c) => bias ? `  let bias${c} = ${four("bias", `column${c}`)};` : "",
          row: `    let at = (${outPixel(job, down, across)}) * ${outputs}u;`,
          store: (acc, c) => {
            const more = (bias ? ` + bias${c}` : "") +
              (residual ? ` + ${four("residual", `at + column${c}`)}` : "");
            return `let value = ${acc}${more}; ${
              storeVector("at", `column${c}`, outputs, isVector, "value")
            }`;
          },
        },
        gpu.madd,
      ),
    }));
  const weights = { ...filters(job, down, across), isDense };
  const others = [...(bias ? [bias] : []), ...(residual ? [residual] : []), out];
  const tile = chooseTile(gpu, name, [pixels, outputs, quads], kernel, weights, x, others);
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

/** Pixels of `channels` items each, with their taps one behind the other. */
function pixelRows(job: Job, down: Phase, across: Phase, pixels: number, channels: number): Rows {
  const { height, width } = job, taps = down.count * across.count;
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
