// Copies from any strides to any strides.
import { type ModuleBuilder } from "../assembler/assembler.ts";
import { i32 } from "../assembler/expressions.ts";
import { argument } from "../threads.ts";
import { kernel } from "./kernel.ts";

/** The most dimensions of a copy. */
export const MAX_RANK = 6;

/** arguments: from, to, rows, rows per tile, then the size, from-stride and to-stride (bytes) of each of 6 dimensions */
export function addCopy(m: ModuleBuilder): void {
  const size = (d: number) => argument(4 + d);
  const fromStride = (d: number) => argument(4 + MAX_RANK + d);
  const toStride = (d: number) => argument(4 + 2 * MAX_RANK + d);
  const last = MAX_RANK - 1;
  kernel(m, "copy", (f, tile) => {
    const row = f.let(i32.mul(tile, argument(3)));
    const end = f.let(i32.min(f.let(i32.add(row, argument(3))), f.let(argument(2))));
    const n = f.let(size(last));
    const fromStep = f.let(fromStride(last));
    const toStep = f.let(toStride(last));
    f.while(i32.lt(row, end), () => {
      const index = f.let(row);
      const from = f.let(argument(0));
      const to = f.let(argument(1));
      for (let d = last - 1; d >= 0; d--) {
        const i = d === 0 ? index : f.let(i32.remU(index, size(d)));
        f.inc(from, i32.mul(i, fromStride(d)));
        f.inc(to, i32.mul(i, toStride(d)));
        if (d > 0) f.set(index, i32.divU(index, size(d)));
      }
      f.if(i32.and(i32.eq(fromStep, 4), i32.eq(toStep, 4)), () => {
        f.copyBytes(to, from, i32.shl(n, 2));
      }, () => {
        f.for(0, n, 1, () => {
          f.storeI32(to, i32.load(from));
          f.inc(from, fromStep);
          f.inc(to, toStep);
        });
      });
      f.inc(row, 1);
    });
  });
}
