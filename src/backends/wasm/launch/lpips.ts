// Launches the distance of the perceptual loss LPIPS; a tile is a block of pixels.
import type { Calls } from "../../kernels.ts";
import { LPIPS_PIXELS } from "../kernels/lpips.ts";
import { at, ceil, type Machine } from "../machine.ts";

export function lpipsDistance(machine: Machine, call: Calls["lpipsDistance"]): void {
  const { a, b, weight, out, pixels, channels } = call;
  machine.launch("lpips", ceil(pixels, LPIPS_PIXELS), [...[a, b, weight, out].map(at), pixels, channels]);
}

export function lpipsDistanceGrad(machine: Machine, call: Calls["lpipsDistanceGrad"]): void {
  const { a, b, weight, g, out, pixels, channels } = call;
  const args = [...[a, b, weight, out].map(at), pixels, channels, at(g)];
  machine.launch("lpipsGrad", ceil(pixels, LPIPS_PIXELS), args);
}
