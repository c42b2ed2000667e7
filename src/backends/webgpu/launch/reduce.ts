// Launches sums of rows and columns. Sums that are too long for one workgroup are cut, and the sums of the parts are added.
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { columnSums, columnTiles, rowSumsByTeams, rowSumsByThreads } from "../kernels/reduce.ts";
import { ceil } from "../kernels/wgsl.ts";

/** One thread sums a row of up to `SHORT` elements, or up to `MIDDLE` if there are `ENOUGH` rows to keep all threads busy. */
const SHORT = 32, MIDDLE = 1024, ENOUGH = 1024;
/** How many elements of a long row a workgroup adds up. */
const LONG = 16384;

export function sumRows(gpu: Gpu, { x, out, rows, columns }: Calls["sumRows"]): void {
  if (columns <= SHORT || columns <= MIDDLE && rows >= ENOUGH) {
    return gpu.run(rowSumsByThreads(x, out, rows, columns));
  }
  const parts = ceil(columns, LONG);
  const run = (to: Slot) => gpu.run(rowSumsByTeams(gpu.team, x, to, rows, columns, parts));
  if (parts === 1) return run(out);
  gpu.with(rows * parts, (partial) => {
    run(partial);
    sumRows(gpu, { x: partial, out, rows, columns: parts });
  });
}

/** How many rows one row of a workgroup's threads adds up: the least, and the most if one workgroup is then enough. */
const COLUMN_STEPS = 8, LAST_STEPS = 32;
/** The most stretches of rows. */
const COLUMN_PARTS = 256;

export function sumColumns(gpu: Gpu, { x, out, rows, columns }: Calls["sumColumns"]): void {
  const { down } = columnTiles(columns % 4 === 0 ? columns / 4 : columns, gpu.team);
  const part = rows <= down * LAST_STEPS ? rows : Math.max(down * COLUMN_STEPS, ceil(rows, COLUMN_PARTS));
  const parts = ceil(rows, part);
  const run = (to: Slot) => gpu.run(columnSums(gpu.team, x, to, rows, columns, part));
  if (parts === 1) return run(out);
  gpu.with(parts * columns, (partial) => {
    run(partial);
    sumColumns(gpu, { x: partial, out, rows: parts, columns });
  });
}
