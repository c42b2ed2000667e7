// Convolutions in groups, and both gradients. A thread computes a vector of four channels of one pixel (or of one tap) if
// these are all in one group, or if each channel is a group of its own. Otherwise it computes one channel.
import type { Slot } from "../../buffer.ts";
import type { Calls, GroupedConvSpec } from "../../kernels.ts";
import type { Dispatch } from "./source.ts";
import { ceil, div, each, groupsOf, mod, THREADS } from "./wgsl.ts";

/** Channels of one group, and taps of a filter. */
const groupSizes = ({ groups, inChannels, outChannels, kernel: [kh, kw] }: GroupedConvSpec) => ({
  inputs: inChannels / groups,
  outputs: outChannels / groups,
  taps: kh * kw,
});

/**
 * How channels are divided among threads, and where a thread finds the channels that its own depend on. A group has `own`
 * channels on the side that is computed, and `others` on the side that is read.
 */
function lanesOf(groups: number, own: number, others: number) {
  const isDepthwise = own === 1 && others === 1;
  const lanes = own % 4 === 0 || (isDepthwise && groups % 4 === 0) ? 4 : 1;
  const type = lanes === 4 ? "vec4f" : "f32";
  return {
    type,
    /** The vectors per pixel. */
    columns: groups * own / lanes,
    /** For the side that is read: its element type, its elements per pixel, and the first one that `column` depends on. */
    otherType: isDepthwise ? type : "f32",
    otherColumns: isDepthwise ? groups / lanes : groups * others,
    first: isDepthwise ? "column" : `${div(`column * ${lanes}u`, own)} * ${others}u`,
  };
}

/** Everything that the texts depend on. */
const nameOf = (s: GroupedConvSpec) =>
  `${s.height} x ${s.width} x ${s.inChannels} to ${s.outHeight} x ${s.outWidth} x ${s.outChannels} in ${s.groups}: ` +
  `${s.kernel} / ${s.stride} - ${s.padTop},${s.padLeft}`;

/** Copies the weights to the layout that `groupedConv2d` reads: [taps, inputs of a group, outputs]. */
export function packedForward(weight: Slot, out: Slot, spec: GroupedConvSpec): Calls["copy"] {
  const { inputs, taps } = groupSizes(spec), { outChannels } = spec;
  return {
    x: weight,
    xStrides: [1, taps, inputs * taps],
    out,
    outStrides: [inputs * outChannels, outChannels, 1],
    shape: [taps, inputs, outChannels],
  };
}

/** Copies the weights to the layout that `groupedConv2dInputGrad` reads: [taps, outputs of a group, inputs]. */
export function packedBackward(weight: Slot, out: Slot, spec: GroupedConvSpec): Calls["copy"] {
  const { inputs, outputs, taps } = groupSizes(spec), { groups, inChannels } = spec;
  return {
    x: weight,
    xStrides: [1, inputs * taps, outputs * inputs * taps, taps],
    out,
    outStrides: [outputs * inChannels, inChannels, inputs, 1],
    shape: [taps, outputs, groups, inputs],
  };
}

/** Copies [taps, inputs of a group, outputs] back to the layout of weights. */
export function unpacked(packed: Slot, weight: Slot, spec: GroupedConvSpec): Calls["copy"] {
  const { xStrides, outStrides, shape } = packedForward(weight, packed, spec);
  return { x: packed, xStrides: outStrides, out: weight, outStrides: xStrides, shape };
}

/** @param weight packed */
export function groupedConv2d(
  { x, bias, residual, out, spec }: Calls["groupedConv2d"],
  weight: Slot,
): Dispatch {
  const { inputs, outputs } = groupSizes(spec), { stride, padTop, padLeft } = spec;
  const lanes = lanesOf(spec.groups, outputs, inputs), { type } = lanes;
  const { batch, height, width, outHeight, outWidth } = spec;
  const sums = tapSums(spec, lanes, inputs, [batch, outHeight, outWidth], [height, width], {
    find: `let y = oy * ${stride}u + r - ${padTop}u;
      let has = y < ${height}u;`,
    findAcross: `let x = ox * ${stride}u + s - ${padLeft}u;
        let hasAcross = x < ${width}u;`,
  });
  const more = { ...(bias && { bias }), ...(residual && { residual }) };
  return {
    name: `groupedConv ${Object.keys(more)} ${nameOf(spec)}`,
    operands: [x, weight, ...Object.values(more), out],
    groups: groupsOf(sums.n),
    params: { n: sums.n },
    source: () => ({
      inputs: {
        source: lanes.otherType,
        weight: type,
        ...Object.fromEntries(Object.keys(more).map((name) => [name, type])),
      },
      outputs: { out: type },
      params: { n: "u32" },
      threads: THREADS,
      body: `${sums.text}
${bias ? `  total += ${type}(bias[column]);` : ""}
${residual ? `  total += ${type}(residual[i]);` : ""}
  out[i] = out_t(total);`,
    }),
  };
}

/** @param weight packed */
export function groupedConv2dInputGrad(
  { g, out, spec }: Calls["groupedConv2dInputGrad"],
  weight: Slot,
): Dispatch {
  const { inputs, outputs } = groupSizes(spec), { stride, padTop, padLeft } = spec;
  const lanes = lanesOf(spec.groups, inputs, outputs);
  const { batch, height, width, outHeight, outWidth } = spec;
  const sums = tapSums(spec, lanes, outputs, [batch, height, width], [outHeight, outWidth], {
    find: `let down = oy + ${padTop}u - r;
      let y = ${div("down", stride)};
      let has = ${mod("down", stride)} == 0u && y < ${outHeight}u;`,
    findAcross: `let across = ox + ${padLeft}u - s;
        let x = ${div("across", stride)};
        let hasAcross = ${mod("across", stride)} == 0u && x < ${outWidth}u;`,
  });
  return {
    name: `groupedConvInputGrad ${nameOf(spec)}`,
    operands: [g, weight, out],
    groups: groupsOf(sums.n),
    params: { n: sums.n },
    source: () => ({
      inputs: { source: lanes.otherType, weight: lanes.type },
      outputs: { out: lanes.type },
      params: { n: "u32" },
      threads: THREADS,
      body: `${sums.text}
  out[i] = out_t(total);`,
    }),
  };
}

/**
 * The text that computes `total`, the sum over the taps of source times weight, for pixel (oy, ox) of `made`.
 * @param summed how many channels of a source pixel each sum takes
 * @param texts declare the place (y, x) that tap (r, s) reads, and whether it exists; negative numbers wrap around to huge ones
 */
function tapSums(
  { kernel: [kh, kw] }: GroupedConvSpec,
  { type, columns, otherType, otherColumns, first }: ReturnType<typeof lanesOf>,
  summed: number,
  made: readonly [batch: number, height: number, width: number],
  source: readonly [height: number, width: number],
  { find, findAcross }: { find: string; findAcross: string },
): { n: number; text: string } {
  const [batch, madeHeight, madeWidth] = made, [height, width] = source;
  return {
    n: batch * madeHeight * madeWidth * columns,
    text: `${each("p.n")}
  let column = ${mod("i", columns)};
  let pixel = ${div("i", columns)};
  let ox = ${mod("pixel", madeWidth)};
  let line = ${div("pixel", madeWidth)};
  let oy = ${mod("line", madeHeight)};
  let sample = ${div("line", madeHeight)};
  let first = ${first};
  var total = ${type}();
  for (var r = 0u; r < ${kh}u; r++) {
      ${find}
      if (!has) { continue; }
      for (var s = 0u; s < ${kw}u; s++) {
        ${findAcross}
        if (!hasAcross) { continue; }
        let at = ((sample * ${height}u + y) * ${width}u + x) * ${otherColumns}u + first;
        let tap = (r * ${kw}u + s) * ${summed * columns}u + column;
        for (var k = 0u; k < ${summed}u; k++) {
          total += ${type}(${otherType}(source[at + k])) * weight[tap + k * ${columns}u];
        }
      }
  }`,
  };
}

/** The weight gradient of each of `parts` parts of the pixels: partial is [parts, taps, inputs of a group, outputs]. */
export function groupedGradParts(
  { x, g, spec }: Calls["groupedConv2dWeightGrad"],
  parts: number,
  partial: Slot,
): Dispatch {
  const { inputs, outputs, taps } = groupSizes(spec), { batch, height, width, outHeight, outWidth } = spec;
  const { stride, padTop, padLeft, kernel: [, kw] } = spec;
  const { type, columns, otherType, otherColumns, first } = lanesOf(spec.groups, outputs, inputs);
  const n = parts * taps * inputs * columns, pixels = batch * outHeight * outWidth;
  return {
    name: `groupedConvWeightGrad ${nameOf(spec)}`,
    operands: [x, g, partial],
    groups: groupsOf(n),
    params: { n, pixels, part: ceil(pixels, parts) },
    source: () => ({
      inputs: { source: otherType, g: type },
      outputs: { partial: type },
      params: { n: "u32", pixels: "u32", part: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
  let column = ${mod("i", columns)};
  let row = ${div("i", columns)};
  let tap = ${mod(div("row", inputs), taps)};
  let start = ${div("row", inputs * taps)} * p.part;
  let end = min(start + p.part, p.pixels);
  let dy = ${div("tap", kw)} - ${padTop}u;
  let dx = ${mod("tap", kw)} - ${padLeft}u;
  let first = ${first} + ${mod("row", inputs)};
  var total = ${type}();
  for (var pixel = start; pixel < end; pixel++) {
    let line = ${div("pixel", outWidth)};
    let y = ${mod("line", outHeight)} * ${stride}u + dy;
    let x = ${mod("pixel", outWidth)} * ${stride}u + dx;
    if (y < ${height}u && x < ${width}u) {
      let at = ((${div("line", outHeight)} * ${height}u + y) * ${width}u + x) * ${otherColumns}u + first;
      total += ${type}(${otherType}(source[at])) * ${type}(g[pixel * ${columns}u + column]);
    }
  }
  partial[i] = total;`,
    }),
  };
}
