// Packs weights in the order in which the micro-kernel reads them: in panels of output channels.
import { type ModuleBuilder } from "../assembler/assembler.ts";
import { i32 } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { atMost, kernel } from "./kernel.ts";
import { PANEL } from "./micro_kernel.ts";

/**
 * A panel holds PANEL output channels for each (kernel row, kernel column, input channel). A tile is a panel.
 * arguments: from, to, kernel height, kernel width, inputs, outputs, then the byte strides in `from` of output, input,
 * kernel row and kernel column (negative strides flip the filter)
 */
export function addPack(m: ModuleBuilder): void {
  kernel(m, "pack", (f, tile) => {
    const [height, width, inputs] = [2, 3, 4].map((n) => f.let(argument(n)));
    const [outStride, inStride, rowStride, columnStride] = [6, 7, 8, 9].map((n) => f.let(argument(n)));
    const first = f.let(i32.mul(tile, PANEL));
    const lanes = atMost(f, PANEL, i32.sub(argument(5), first));
    const from = f.let(i32.add(argument(0), i32.mul(first, outStride)));
    const bytes = f.let(i32.mul(i32.mul(height, width), i32.mul(inputs, PANEL * 4)));
    const to = f.let(i32.add(argument(1), i32.mul(tile, bytes)));
    f.if(i32.lt(lanes, PANEL), () => f.fillBytes(to, 0, bytes));
    f.for(0, height, 1, (y) => {
      f.for(0, width, 1, (x) => {
        const at = f.let(i32.add(from, i32.add(i32.mul(y, rowStride), i32.mul(x, columnStride))));
        f.for(0, inputs, 1, () => {
          const source = f.let(at);
          f.if(i32.eq(lanes, PANEL), () => {
            for (let j = 0; j < PANEL; j++) {
              f.storeI32(to, i32.load(source), 4 * j);
              f.inc(source, outStride);
            }
          }, () => {
            const lane = f.let(to);
            f.for(0, lanes, 1, () => {
              f.storeI32(lane, i32.load(source));
              f.inc(lane, 4);
              f.inc(source, outStride);
            });
          });
          f.inc(to, PANEL * 4);
          f.inc(at, inStride);
        });
      });
    });
  });
}
