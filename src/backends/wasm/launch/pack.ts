// Packs weights into panels for one kernel.
import { PANEL } from "../kernels/micro_kernel.ts";
import { ceil, type Machine } from "../machine.ts";

/** Runs `body` with the weights at `from`, packed. */
export function packed(
  machine: Machine,
  from: number,
  [height, width, inputs, outputs]: readonly [height: number, width: number, inputs: number, outputs: number],
  /** The distances in bytes to the next output, input, row and column. */
  strides: readonly [output: number, input: number, row: number, column: number],
  body: (weights: number) => void,
): void {
  const panels = ceil(outputs, PANEL);
  machine.with(panels * PANEL * height * width * inputs * 4, (weights) => {
    machine.launch("pack", panels, [from, weights, height, width, inputs, outputs, ...strides]);
    body(weights);
  });
}
