// Convolutions, and their input gradients, as implicit matrix products: a row of the first factor is an output pixel, and its
// elements are read directly from the input pixels under the taps.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import { isPatched, isSame, isStrip, type Job, tapsOf } from "./phases.ts";
import { partRange, plainRows, type Product } from "./product.ts";
import { type Dispatch, u32s } from "./source.ts";
import type { Rows } from "./tile.ts";
import { ceil, each, groupsOf, loadVector, repeat, storeVector, THREADS } from "./wgsl.ts";

/** The product that computes a job: out = bias + residual + the convolution. */
export function convProduct(job: Job, { bias, residual, out }: Calls["conv2d"]): Product {
  const { batch, inputs, outputs, down, across } = job, taps = tapsOf(job);
  const isVector = outputs % 4 === 0, type = isVector ? "vec4f" : "f32";
  const isDense = isPatched(job), isPlain = isDense || isSame(job);
  const isSpread = down.period > 1 || across.period > 1;
  const words = { plain: isPlain, spread: isSpread, "of vectors": isVector, bias, residual };
  return {
    name: ["conv", ...Object.entries(words).filter(([, is]) => is).map(([word]) => word)].join(" "),
    rows: batch * down.size * across.size,
    columns: outputs,
    quads: ceil(isDense ? taps * inputs : inputs, 4),
    taps: isDense ? 1 : taps,
    source: isPlain ? plainRows("0u") : pixelRows("p.quads"),
    store: {
      columns: (c) => bias ? `  let bias${c} = ${loadVector("bias", `column${c}`, isVector)};` : "",
      row: `    let at = (${isSpread ? outPixel("row") : "row"}) * p.columns;`,
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
    params: numbersOf(job),
    partsName: isStrip(job) ? undefined : `conv${isPlain ? " plain" : ""} in parts`,
  };
}

/** The number of vectors of a patch, which is all taps of a pixel, one after another. */
export const patchQuads = (job: Job): number => ceil(tapsOf(job) * job.inputs, 4);

/** Writes the taps of each pixel one after another, as [pixels, taps * inputs] in whole vectors. */
export function patches(job: Job, x: Slot, out: Slot): Dispatch {
  const { batch, inputs, down, across } = job, taps = tapsOf(job), quads = patchQuads(job);
  const rows = batch * down.size * across.size, params = { rows, ...numbersOf(job) };
  return {
    name: `patches of ${taps} x ${inputs}`,
    operands: [x, out],
    groups: groupsOf(rows),
    params,
    source: () => {
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
    },
  };
}

/**
 * The params of a shape that the texts below read. Negative numbers wrap around as u32, and sums with them come out right.
 */
function numbersOf({ height, width, outHeight, outWidth, down, across }: Job) {
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

/** The output pixel that corresponds to a row of the product. */
function outPixel(row: string): string {
  const line = `${row} / p.acrossSize`;
  const y = `${line} % p.downSize * p.downPeriod + p.downStart`;
  const x = `${row} % p.acrossSize * p.acrossPeriod + p.acrossStart`;
  return `(${line} / p.downSize * p.outHeight + ${y}) * p.outWidth + ${x}`;
}

/** The rows of a product whose `a` is an image with `channels` items per pixel: the taps of each pixel, one after another. */
function pixelRows(channels: string): Rows {
  return {
    ...partRange(`p.taps * ${channels}`),
    channels,
    // pixels after the last one are placed far below the image, so that they read zeros
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
