// Launches max and average pooling; a tile is a sample and a block of its channels.
import type { AvgPoolSpec, Calls } from "../../kernels.ts";
import { POOL_CHANNELS } from "../kernels/pool.ts";
import { at, ceil, type Machine } from "../machine.ts";

/** Max pooling has no padding. */
const unpadded = { padding: 0, counted: 0 };

export function maxPool2d(machine: Machine, { x, out, spec }: Calls["maxPool2d"]): void {
  launch(machine, "maxPool", at(x), at(out), 0, { ...spec, ...unpadded });
}

export function maxPool2dGrad(machine: Machine, { x, g, out, spec }: Calls["maxPool2dGrad"]): void {
  machine.look("f32", at(out), out.length).fill(0); // the kernel adds to it
  launch(machine, "maxPoolGrad", at(x), at(out), at(g), { ...spec, ...unpadded });
}

export function avgPool2d(machine: Machine, { x, out, spec }: Calls["avgPool2d"]): void {
  launch(machine, "avgPool", at(x), at(out), 0, spec);
}

export function avgPool2dGrad(machine: Machine, { g, out, spec }: Calls["avgPool2dGrad"]): void {
  launch(machine, "avgPoolGrad", 0, at(out), at(g), spec);
}

function launch(machine: Machine, kernel: string, x: number, out: number, g: number, s: AvgPoolSpec): void {
  const blocks = ceil(s.channels, POOL_CHANNELS);
  const sizes = [s.batch, s.height, s.width, s.channels, s.outHeight, s.outWidth, s.size, s.stride];
  machine.launch(kernel, s.batch * blocks, [x, out, g, ...sizes, blocks, s.padding, s.counted]);
}
