// Convolutions in groups. Wide groups are computed one after another, each as a convolution of its own channels, which are
// copied together first. Narrow groups would waste most of a micro-kernel, and are computed all at once (depthwise.ts).
import type { Calls, ConvSpec, GroupedConvSpec } from "../../kernels.ts";
import { at, type Machine } from "../machine.ts";
import { atOptional, forward, inputGrad, weightGrad } from "./convolution.ts";
import { groupSizes, narrowConv2d, narrowInputGrad, narrowWeightGrad } from "./depthwise.ts";
import { copyNumbers } from "./elementwise.ts";

/** Groups with fewer inputs or outputs than this are narrow. */
const WIDE = 8;

function isNarrow(spec: GroupedConvSpec): boolean {
  const { inputs, outputs } = groupSizes(spec);
  return inputs * outputs > 0 && Math.min(inputs, outputs) < WIDE; // without channels, only bias and residual are added
}

export function groupedConv2d(machine: Machine, call: Calls["groupedConv2d"]): void {
  const { x, weight, bias, residual, out, spec } = call;
  if (isNarrow(spec)) return narrowConv2d(machine, call);
  const { outputs, inPixels } = groupSizes(spec);
  const outPixel = spec.outChannels * 4, outRow = spec.outWidth * outPixel;
  eachGroup(spec, (group, own, filters) => {
    const first = group * outputs * 4;
    /** The address of the group's first channel in an operand that has all channels. */
    const later = (address: number) => address && address + first;
    channelsOf(machine, at(x), inPixels, spec.groups, own.inChannels, group, (x) => {
      forward(machine, at(weight) + filters, own, {
        x,
        bias: later(atOptional(bias)),
        residual: later(atOptional(residual)),
        out: later(at(out)),
        outPixel,
        outRow,
        outImage: spec.outHeight * outRow,
      });
    });
  });
}

export function groupedConv2dInputGrad(machine: Machine, call: Calls["groupedConv2dInputGrad"]): void {
  const { g, weight, out, spec } = call;
  if (isNarrow(spec)) return narrowInputGrad(machine, call);
  const { inputs, outputs, inPixels, outPixels } = groupSizes(spec);
  eachGroup(spec, (group, own, filters) => {
    channelsOf(machine, at(g), outPixels, spec.groups, outputs, group, (g) => {
      machine.with(inPixels * inputs * 4, (gradient) => {
        inputGrad(machine, g, at(weight) + filters, gradient, own);
        const to = at(out) + group * inputs * 4;
        copyNumbers(machine, gradient, [inputs, 1], to, [spec.inChannels, 1], [inPixels, inputs]);
      });
    });
  });
}

export function groupedConv2dWeightGrad(machine: Machine, call: Calls["groupedConv2dWeightGrad"]): void {
  const { x, g, out, spec } = call;
  if (isNarrow(spec)) return narrowWeightGrad(machine, call);
  const { inputs, outputs, inPixels, outPixels } = groupSizes(spec);
  eachGroup(spec, (group, own, filters) => {
    channelsOf(machine, at(x), inPixels, spec.groups, inputs, group, (x) => {
      channelsOf(machine, at(g), outPixels, spec.groups, outputs, group, (g) => {
        weightGrad(machine, x, g, at(out) + filters, own);
      });
    });
  });
}

/** Calls `body` with each group, its convolution, and the bytes from the first weight to its weights. */
function eachGroup(
  spec: GroupedConvSpec,
  body: (group: number, own: ConvSpec, filters: number) => void,
): void {
  const { inputs, outputs, taps } = groupSizes(spec);
  const own: ConvSpec = { ...spec, inChannels: inputs, outChannels: outputs, upsample: 1 };
  for (let group = 0; group < spec.groups; group++) body(group, own, group * outputs * inputs * taps * 4);
}

/** Runs `body` with the channels of one group of x, without gaps. */
function channelsOf(
  machine: Machine,
  x: number,
  pixels: number,
  groups: number,
  channels: number,
  group: number,
  body: (own: number) => void,
): void {
  machine.with(pixels * channels * 4, (own) => {
    const from = x + group * channels * 4;
    copyNumbers(machine, from, [groups * channels, 1], own, [channels, 1], [pixels, channels]);
    body(own);
  });
}
