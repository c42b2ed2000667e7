// The kernel of weight gradients for few output channels, such as those of the last convolution of the decoder and of the
// discriminator. A thread computes all taps of a vector of input channels, and goes along the lines of the picture; at each
// step it loads one column of its window.
import type { Slot } from "../../buffer.ts";
import type { ConvSpec } from "../../kernels.ts";
import { type Dispatch, u32s } from "./source.ts";
import type { Madd } from "./tile.ts";
import { ceil, each, groupsOf, repeat, THREADS } from "./wgsl.ts";

/** Computes the parts [part, tap, input, output] from x and g, whose pixels are whole vectors. A part is some lines. */
export function thinGradParts(
  spec: ConvSpec,
  parts: number,
  madd: Madd,
  x: Slot,
  g: Slot,
  partial: Slot,
): Dispatch {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, padTop, padLeft } = spec;
  const { kernel: [kh, kw] } = spec, inputs = ceil(inChannels, 4), lines = batch * outHeight;
  const n = inputs * parts;
  const params = {
    n,
    part: ceil(lines, parts),
    lines,
    height,
    width,
    inputs,
    outHeight,
    outWidth,
    padTop,
    padLeft,
  };
  const taps = (text: (ky: number, kx: number) => string) =>
    repeat(kh, (ky) => repeat(kw, (kx) => text(ky, kx)));
  return {
    name: `weightGrad thin ${kh}x${kw} to ${outChannels}`,
    operands: [x, g, partial],
    groups: groupsOf(n),
    params,
    source: () => {
      const lanes = (ky: number, kx: number, e: number) =>
        [0, 1, 2, 3].map((o) => o < outChannels ? `acc${ky}_${kx}_${o}[${e}]` : "0.0").join(", ");
      /**
       * Declares column `x` of the window's line `ky`. It has no branches, because with them a software GPU takes minutes to
       * compile it.
       */
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
              return `      ${sum} = ${madd(sum, `slope[${o}]`, `x${ky}_${kx}`)};`;
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
${
              repeat(4, (e) =>
                `    out[to + ${e}u] = vec4f(${lanes(ky, kx, e)});`)
            }
  }`
          )
        }`,
      };
    },
  };
}
