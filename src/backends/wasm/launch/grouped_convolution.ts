// Convolutions in groups. Wide groups are convolutions one after another. Narrow groups would waste most of a micro-kernel;
// they go all at once: input k of every group is spread to the outputs of the group, and these planes are depthwise.
import type { Calls, ConvSpec, GroupedConvSpec } from "../../kernels.ts";
import { type ConvArguments, convArguments } from "../kernels/conv_arguments.ts";
import { DEPTHWISE_CHANNELS, DEPTHWISE_GRAD_CHANNELS } from "../kernels/depthwise.ts";
import { at, ceil, type Machine } from "../machine.ts";
import { atOptional, forward, inputGrad, weightGrad } from "./convolution.ts";
import { copyNumbers } from "./elementwise.ts";
import { columnSums } from "./reduction.ts";

/** Groups with fewer inputs or outputs are narrow. */
const WIDE_GROUP = 8;
/** Pixels over which a weight gradient is summed at a time. By shapes alone, so that sums are the same on any machine. */
const SPLIT_PIXELS = 512;

export function groupedConv2d(machine: Machine, call: Calls["groupedConv2d"]): void {
  const { x, weight, bias, residual, out, spec } = call, s = sizesOf(spec);
  const operands = { out: at(out), bias: atOptional(bias), residual: atOptional(residual) };
  if (!s.isWide) {
    for (let k = 0; k < s.inputs; k++) {
      spread(machine, at(x), s.inPixels, s.groups, { from: s.inputs, k, to: s.outputs }, (plane) => {
        machine.with(s.taps * spec.outChannels * 4, (weights) => {
          const strides = [1, s.inputs * s.taps], shape = [s.taps, spec.outChannels];
          copyNumbers(machine, at(weight) + k * s.taps * 4, strides, weights, [spec.outChannels, 1], shape);
          const sum = k === 0 ? operands : { out: operands.out, residual: operands.out };
          tapSums(machine, "depthwise", { ...spec, upsample: 1 }, { ...sum, x: plane, weights });
        });
      });
    }
    return;
  }
  const outPixel = spec.outChannels * 4,
    outRow = spec.outWidth * outPixel,
    outImage = spec.outHeight * outRow;
  for (let group = 0; group < s.groups; group++) {
    const first = group * s.outputs * 4, later = (address: number) => address && address + first;
    part(machine, at(x), s.inPixels, s.groups, s.inputs, group, (x) => {
      forward(machine, at(weight) + group * s.weightBytes, s.part, {
        x,
        out: later(operands.out),
        bias: later(operands.bias),
        residual: later(operands.residual),
        outPixel,
        outRow,
        outImage,
      });
    });
  }
}

export function groupedConv2dInputGrad(
  machine: Machine,
  { g, weight, out, spec }: Calls["groupedConv2dInputGrad"],
): void {
  const s = sizesOf(spec), { inChannels, height, width, outHeight, outWidth } = spec;
  if (!s.isWide) {
    for (let k = 0; k < s.outputs; k++) {
      spread(machine, at(g), s.outPixels, s.groups, { from: s.outputs, k, to: s.inputs }, (plane) => {
        machine.with(s.taps * inChannels * 4, (weights) => {
          const filter = s.inputs * s.taps, strides = [1, s.taps, s.outputs * filter];
          const shape = [s.taps, s.inputs, s.groups], from = at(weight) + k * filter * 4;
          copyNumbers(machine, from, strides, weights, [inChannels, 1, s.inputs], shape);
          const turned = { height: outHeight, width: outWidth, outHeight: height, outWidth: width };
          const shapes = { ...spec, ...turned, inChannels, outChannels: inChannels, upsample: 1 } as const;
          const residual = k === 0 ? 0 : at(out);
          tapSums(machine, "depthwiseInputGrad", shapes, { x: plane, weights, out: at(out), residual });
        });
      });
    }
    return;
  }
  for (let group = 0; group < s.groups; group++) {
    part(machine, at(g), s.outPixels, s.groups, s.outputs, group, (g) => {
      machine.with(s.inPixels * s.inputs * 4, (own) => {
        inputGrad(machine, g, at(weight) + group * s.weightBytes, own, s.part);
        const to = at(out) + group * s.inputs * 4;
        copyNumbers(machine, own, [s.inputs, 1], to, [inChannels, 1], [s.inPixels, s.inputs]);
      });
    });
  }
}

export function groupedConv2dWeightGrad(
  machine: Machine,
  { x, g, out, spec }: Calls["groupedConv2dWeightGrad"],
): void {
  const s = sizesOf(spec), { outChannels } = spec;
  if (!s.isWide) {
    const blockHeight = Math.max(1, Math.floor(SPLIT_PIXELS / spec.outWidth));
    const splits = ceil(spec.batch * spec.outHeight, blockHeight), size = s.taps * outChannels;
    const panelBlocks = ceil(outChannels, DEPTHWISE_GRAD_CHANNELS);
    for (let k = 0; k < s.inputs; k++) {
      spread(machine, at(x), s.inPixels, s.groups, { from: s.inputs, k, to: s.outputs }, (plane) => {
        machine.with((splits + 1) * size * 4, (sums) => {
          const partial = sums + size * 4;
          const operands = { x: plane, weights: at(g), out: partial, blockHeight, panelBlocks };
          const args = convArguments({ ...spec, upsample: 1 }, operands);
          machine.launch("depthwiseWeightGrad", splits * panelBlocks, args);
          columnSums(machine, partial, sums, splits, size);
          const to = at(out) + k * s.taps * 4, strides = [1, s.inputs * s.taps];
          copyNumbers(machine, sums, [outChannels, 1], to, strides, [s.taps, outChannels]);
        });
      });
    }
    return;
  }
  for (let group = 0; group < s.groups; group++) {
    part(machine, at(x), s.inPixels, s.groups, s.inputs, group, (x) => {
      part(machine, at(g), s.outPixels, s.groups, s.outputs, group, (g) => {
        weightGrad(machine, x, g, at(out) + group * s.weightBytes, s.part);
      });
    });
  }
}

function sizesOf(spec: GroupedConvSpec) {
  const { groups, batch, kernel: [height, width] } = spec;
  const inputs = spec.inChannels / groups, outputs = spec.outChannels / groups, taps = height * width;
  const one: ConvSpec = { ...spec, inChannels: inputs, outChannels: outputs, upsample: 1 };
  return {
    groups,
    /** Channels of a group. */
    inputs,
    outputs,
    taps,
    isWide: Math.min(inputs, outputs) >= WIDE_GROUP,
    inPixels: batch * spec.height * spec.width,
    outPixels: batch * spec.outHeight * spec.outWidth,
    /** The convolution of one group, and the bytes of its weights. */
    part: one,
    weightBytes: outputs * inputs * taps * 4,
  };
}

/** Launches a kernel on tiles of a row and a block of channels. */
function tapSums(machine: Machine, kernel: string, spec: ConvSpec, operands: ConvArguments): void {
  const panelBlocks = ceil(spec.outChannels, DEPTHWISE_CHANNELS);
  const args = convArguments(spec, { ...operands, panelBlocks });
  machine.launch(kernel, spec.batch * spec.outHeight * panelBlocks, args);
}

/** Runs `body` with the channels of one group, without gaps. */
function part(
  machine: Machine,
  x: number,
  pixels: number,
  groups: number,
  channels: number,
  group: number,
  body: (part: number) => void,
): void {
  machine.with(pixels * channels * 4, (own) => {
    const from = x + group * channels * 4;
    copyNumbers(machine, from, [groups * channels, 1], own, [channels, 1], [pixels, channels]);
    body(own);
  });
}

/** Runs `body` with channel `k` of the `from` of each group, `to` times side by side: x itself where that is the same. */
function spread(
  machine: Machine,
  x: number,
  pixels: number,
  groups: number,
  { from, k, to }: { from: number; k: number; to: number },
  body: (plane: number) => void,
): void {
  if (from === 1 && to === 1) return body(x);
  machine.with(pixels * groups * to * 4, (plane) => {
    // the groups come last, since there are many of them
    const xStrides = [0, groups * from, from], strides = [1, groups * to, to];
    copyNumbers(machine, x + k * 4, xStrides, plane, strides, [to, pixels, groups]);
    body(plane);
  });
}
