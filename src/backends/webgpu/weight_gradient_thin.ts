// Weight gradients of filters to a few channels: the decoder's last, and the discriminator's. A thread has all taps of a
// vector of input channels, and walks along the lines of the picture: of a window it loads one column at a time.
import type { Buffer, ConvSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { LONGEST } from "./weight_gradient_kernel.ts";
import { repeat, THREADS, u32s } from "./wgsl.ts";

/** Sums of a thread at most, vectors of input channels at least, and parts: shapes alone decide. */
const SUMS = 32, VECTORS = 8, PARTS = 128, PARTS_OF_SOFTWARE = 16;

export function isThin({ inChannels, outChannels, kernel: [kh, kw], stride, upsample }: ConvSpec): boolean {
  return outChannels <= 4 && kh * kw * outChannels <= SUMS && kw > 1 && stride === 1 && upsample === 1 &&
    inChannels >= 4 * VECTORS;
}

export function thinParts(gpu: Gpu, { batch, outHeight, outWidth }: ConvSpec): number {
  const lines = batch * outHeight, most = gpu.report.isSoftware ? PARTS_OF_SOFTWARE : PARTS;
  return ceil(lines, ceil(lines, Math.max(most, ceil(lines * outWidth, LONGEST))));
}

/** Computes the parts [part, tap, input, output] of x and g, whose pixels are whole vectors. */
export function thinWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, partial: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, padTop, padLeft } = spec;
  const { kernel: [kh, kw] } = spec, inputs = ceil(inChannels, 4), lines = batch * outHeight;
  const parts = thinParts(gpu, spec), n = inputs * parts, part = ceil(lines, parts);
  const params = { n, part, lines, height, width, inputs, outHeight, outWidth, padTop, padLeft };
  const taps = (text: (ky: number, kx: number) => string) =>
    repeat(kh, (ky) => repeat(kw, (kx) => text(ky, kx)));
  const kernel = gpu.kernel(`weightGrad thin ${kh}x${kw} to ${outChannels}`, () => {
    const lanes = (ky: number, kx: number, e: number) =>
      [0, 1, 2, 3].map((o) => o < outChannels ? `acc${ky}_${kx}_${o}[${e}]` : "0.0").join(", ");
    /** Declares column `x` of the window's line `ky`. Without branches, which a CPU's compiler takes minutes for. */
    const load = (ky: number, kx: number, x: string, declare: "let" | "var") => {
      const has = `has${ky}_${kx}`;
      return `    let ${has} = has${ky} & (${x} < p.width);
    ${declare} x${ky}_${kx} = select(vec4f(), vec4f(a[select(0u, line${ky} + ${x} * p.inputs, ${has})]), ${has});`;
    };
    return {
      inputs: { a: "vec4f", g: "vec4f" },
      outputs: { out: "vec4f" },
      params: u32s(params),
      threads: THREADS,
      body: `${each("p.n")}
  let channel = i % p.inputs;
  let part = i / p.inputs;
${taps((ky, kx) => repeat(outChannels, (o) => `  var acc${ky}_${kx}_${o} = vec4f();`))}
  let end = min((part + 1u) * p.part, p.lines);
  for (var line = part * p.part; line < end; line++) {
    // lines and columns before the first wrap round to huge ones
    let top = line % p.outHeight - p.padTop;
    let image = line / p.outHeight * p.height;
${
        repeat(kh, (ky) =>
          `    let has${ky} = top + ${ky}u < p.height;
    let line${ky} = (image + top + ${ky}u) * p.width * p.inputs + channel;
${repeat(kw - 1, (kx) => load(ky, kx, `(${kx}u - p.padLeft)`, "var"))}`)
      }
    for (var x = 0u; x < p.outWidth; x++) {
      let right = x + ${kw - 1}u - p.padLeft;
      let slope = vec4f(g[line * p.outWidth + x]);
${repeat(kh, (ky) => load(ky, kw - 1, "right", "let"))}
${
        taps((ky, kx) =>
          repeat(outChannels, (o) => {
            const sum = `acc${ky}_${kx}_${o}`;
            return `      ${sum} = ${gpu.madd(sum, `slope[${o}]`, `x${ky}_${kx}`)};`;
          })
        )
      }
${taps((ky, kx) => kx < kw - 1 ? `      x${ky}_${kx} = x${ky}_${kx + 1};` : "")}
    }
  }
${
        taps((ky, kx) =>
          `  {
    let to = ((part * ${kh * kw}u + ${ky * kw + kx}u) * p.inputs + channel) * 4u;
${repeat(4, (e) => `    out[to + ${e}u] = vec4f(${lanes(ky, kx, e)});`)}
  }`
        )
      }`,
    };
  });
  gpu.run(
    kernel,
    [x, g, partial],
    groupsOf(n),
    params,
    2 * lines * outWidth * kh * kw * inChannels * outChannels,
  );
}
