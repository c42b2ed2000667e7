// Launches group normalisation: cuts the pixels into chunks, and runs its kernels one after another.
import type { Calls, NormSpec } from "../../kernels.ts";
import { CHANNEL_ROWS, NORM } from "../kernels/norm.ts";
import { at, ceil, type Machine, SCRATCH_BYTES } from "../machine.ts";
import { columnSums } from "./reduction.ts";

/** The values (channels times pixels) in a tile. */
const NORM_CHUNK = 32768;

type NormArguments = Partial<Record<keyof typeof NORM, number>>;

export function groupNorm(machine: Machine, { x, weight, bias, out, stats, spec }: Calls["groupNorm"]): void {
  const values = { x: at(x), weight: at(weight), bias: at(bias), out: at(out), stats: at(stats) };
  launch(machine, spec, values, ["norm.chunk", "norm.finish", "norm.apply"]);
}

export function groupNormStats(machine: Machine, { x, stats, spec }: Calls["groupNormStats"]): void {
  launch(machine, spec, { x: at(x), stats: at(stats) }, ["norm.chunk", "norm.finish"]);
}

export function groupNormApply(machine: Machine, call: Calls["groupNormApply"]): void {
  const { x, weight, bias, stats, out, spec } = call;
  const values = { x: at(x), weight: at(weight), bias: at(bias), out: at(out), stats: at(stats) };
  launch(machine, spec, values, ["norm.apply"]);
}

export function groupNormGrad(machine: Machine, call: Calls["groupNormGrad"]): void {
  const { x, weight, bias, stats, g, xGrad, weightGrad, biasGrad, spec } = call;
  const stride = strideOf(spec);
  machine.with(spec.batch * 2 * (stride + spec.groups) * 4 + 2 * stride * 4, (sums) => {
    const means = sums + spec.batch * 2 * stride * 4;
    const totals = means + spec.batch * spec.groups * 2 * 4;
    const values = {
      x: at(x),
      weight: at(weight),
      bias: at(bias),
      stats: at(stats),
      g: at(g),
      out: at(xGrad),
    };
    launch(machine, spec, { ...values, sums, means }, [
      "norm.gradChunk",
      "norm.gradFinish",
      "norm.gradInput",
    ]);
    columnSums(machine, sums, totals, spec.batch, 2 * stride);
    const numbers = (address: number) => machine.look("f32", address, spec.channels);
    numbers(at(biasGrad)).set(numbers(totals));
    numbers(at(weightGrad)).set(numbers(totals + stride * 4));
  });
}

/** The distance from one row of channels to the next, in numbers. */
const strideOf = ({ channels }: NormSpec): number => ceil(channels, 4) * 4;

/** Launches kernels one after another on the same arguments. */
function launch(machine: Machine, spec: NormSpec, values: NormArguments, kernels: readonly string[]): void {
  const { batch, pixels, channels, groups, eps } = spec;
  const stride = strideOf(spec);
  const most = Math.floor(SCRATCH_BYTES / CHANNEL_ROWS / 16) * 4;
  if (stride > most) throw new Error(`groupNorm: ${channels} channels, the CPU takes at most ${most}`);
  const chunkPixels = Math.min(pixels, Math.max(16, Math.floor(NORM_CHUNK / channels)));
  const chunks = ceil(pixels, chunkPixels);
  machine.with(batch * chunks * 2 * stride * 4, (partial) => {
    const all: NormArguments = {
      ...values,
      partial,
      pixels,
      channels,
      groups,
      chunkPixels,
      chunks,
      stride,
      swish: spec.swish ? 1 : 0,
      eps,
    };
    const args = new Float64Array(Object.keys(NORM).length);
    for (const [name, value] of Object.entries(all)) args[NORM[name as keyof typeof NORM]] = value;
    for (const kernel of kernels) {
      const finish = kernel === "norm.finish" || kernel === "norm.gradFinish";
      machine.launch(kernel, batch * (finish ? groups : chunks), args, [NORM.eps]);
    }
  });
}
