// Convolutions in narrow groups, for all groups at once. For each k, input k of every group is copied to all outputs of its
// group; the convolution is the sum over k of depthwise convolutions of these copies. With one channel per group, no copy
// is needed.
import type { Calls, ConvSpec, GroupedConvSpec } from "../../kernels.ts";
import { type ConvArguments, convArguments } from "../kernels/conv_arguments.ts";
import { DEPTHWISE_CHANNELS, DEPTHWISE_GRAD_CHANNELS } from "../kernels/depthwise.ts";
import { at, ceil, type Machine } from "../machine.ts";
import { atOptional } from "./convolution.ts";
import { copyNumbers } from "./elementwise.ts";
import { columnSums } from "./reduction.ts";

/** Pixels per partial sum of the weight gradient. It does not depend on the machine, so that sums do not either. */
const SPLIT_PIXELS = 512;

/** Channels of one group, taps of a filter, and the pixels of all pictures. */
export function groupSizes({ groups, batch, kernel: [kh, kw], ...s }: GroupedConvSpec) {
  return {
    inputs: s.inChannels / groups,
    outputs: s.outChannels / groups,
    taps: kh * kw,
    inPixels: batch * s.height * s.width,
    outPixels: batch * s.outHeight * s.outWidth,
  };
}

export function narrowConv2d(machine: Machine, call: Calls["groupedConv2d"]): void {
  const { x, weight, bias, residual, out, spec } = call, { groups, outChannels } = spec;
  const { inputs, outputs, taps, inPixels } = groupSizes(spec);
  for (let k = 0; k < inputs; k++) {
    const more = k === 0 ? { bias: atOptional(bias), residual: atOptional(residual) } : { residual: at(out) };
    spread(machine, at(x), inPixels, groups, [inputs, outputs], k, (plane) => {
      machine.with(taps * outChannels * 4, (weights) => {
        const from = at(weight) + k * taps * 4;
        copyNumbers(machine, from, [1, inputs * taps], weights, [outChannels, 1], [taps, outChannels]);
        const operands = { ...more, x: plane, weights, out: at(out) };
        sumTaps(machine, "depthwise", { ...spec, inChannels: outChannels, upsample: 1 }, operands);
      });
    });
  }
}

/** The same with inputs and outputs exchanged: output k of every group is copied to all inputs of its group. */
export function narrowInputGrad(machine: Machine, call: Calls["groupedConv2dInputGrad"]): void {
  const { g, weight, out, spec } = call, { groups, inChannels, height, width, outHeight, outWidth } = spec;
  const { inputs, outputs, taps, outPixels } = groupSizes(spec), filter = inputs * taps;
  const sizes = { height: outHeight, width: outWidth, outHeight: height, outWidth: width };
  const back: ConvSpec = { ...spec, ...sizes, outChannels: inChannels, upsample: 1 };
  for (let k = 0; k < outputs; k++) {
    spread(machine, at(g), outPixels, groups, [outputs, inputs], k, (plane) => {
      machine.with(taps * inChannels * 4, (weights) => {
        const strides = [1, taps, outputs * filter], shape = [taps, inputs, groups];
        copyNumbers(machine, at(weight) + k * filter * 4, strides, weights, [inChannels, 1, inputs], shape);
        const operands = { x: plane, weights, out: at(out), residual: k === 0 ? 0 : at(out) };
        sumTaps(machine, "depthwiseInputGrad", back, operands);
      });
    });
  }
}

export function narrowWeightGrad(machine: Machine, call: Calls["groupedConv2dWeightGrad"]): void {
  const { x, g, out, spec } = call, { groups, batch, outHeight, outWidth, outChannels } = spec;
  const { inputs, outputs, taps, inPixels } = groupSizes(spec), size = taps * outChannels;
  const blockHeight = Math.max(1, Math.floor(SPLIT_PIXELS / outWidth));
  const splits = ceil(batch * outHeight, blockHeight);
  const panelBlocks = ceil(outChannels, DEPTHWISE_GRAD_CHANNELS);
  for (let k = 0; k < inputs; k++) {
    spread(machine, at(x), inPixels, groups, [inputs, outputs], k, (plane) => {
      machine.with((splits + 1) * size * 4, (sums) => {
        const partial = sums + size * 4;
        const operands = { x: plane, weights: at(g), out: partial, blockHeight, panelBlocks };
        const args = convArguments({ ...spec, upsample: 1 }, operands);
        machine.launch("depthwiseWeightGrad", splits * panelBlocks, args);
        columnSums(machine, partial, sums, splits, size);
        const to = at(out) + k * taps * 4;
        copyNumbers(machine, sums, [outChannels, 1], to, [1, inputs * taps], [taps, outChannels]);
      });
    });
  }
}

/** Launches a kernel whose tiles are a row and a block of channels. */
function sumTaps(machine: Machine, kernel: string, spec: ConvSpec, operands: ConvArguments): void {
  const panelBlocks = ceil(spec.outChannels, DEPTHWISE_CHANNELS);
  const args = convArguments(spec, { ...operands, panelBlocks });
  machine.launch(kernel, spec.batch * spec.outHeight * panelBlocks, args);
}

/** Runs `body` with channel k of the `from` channels of each group, repeated `to` times. */
function spread(
  machine: Machine,
  x: number,
  pixels: number,
  groups: number,
  [from, to]: readonly [from: number, to: number],
  k: number,
  body: (plane: number) => void,
): void {
  if (from === 1 && to === 1) return body(x);
  machine.with(pixels * groups * to * 4, (plane) => {
    // there are many groups, so they make the inner loop
    const strides = [0, groups * from, from], planeStrides = [1, groups * to, to];
    copyNumbers(machine, x + k * 4, strides, plane, planeStrides, [to, pixels, groups]);
    body(plane);
  });
}
