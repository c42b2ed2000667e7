// Reductions of any length: long rows and columns are reduced in passes, whose sizes depend on shapes alone.
import { CHUNK } from "../kernels/elementwise.ts";
import { ceil, type Machine } from "../machine.ts";
import { COLUMN_ROWS, ROW_CHUNK } from "../kernels/reduce.ts";

/** Sum or maximum of each row of x [rows, columns]. */
export function reduceRows(
  machine: Machine,
  op: "sum" | "max",
  x: number,
  out: number,
  rows: number,
  columns: number,
): void {
  const chunks = ceil(columns, ROW_CHUNK);
  const rowsPerTile = Math.max(1, Math.floor(CHUNK / Math.max(1, Math.min(columns, ROW_CHUNK))));
  const pass = (to: number) =>
    machine.launch(`rows.${op}`, ceil(rows * chunks, rowsPerTile), [
      x,
      to,
      rows,
      columns,
      chunks,
      rowsPerTile,
    ]);
  if (chunks === 1) return pass(out);
  machine.with(rows * chunks * 4, (partial) => {
    pass(partial);
    reduceRows(machine, op, partial, out, rows, chunks);
  });
}

/** Sum of each column of x [rows, columns]. */
export function sumColumns(machine: Machine, x: number, out: number, rows: number, columns: number): void {
  const blocks = ceil(rows, COLUMN_ROWS);
  const pass = (to: number) => machine.launch("columns.sum", blocks, [x, to, rows, columns]);
  if (blocks === 1) return pass(out);
  machine.with(blocks * columns * 4, (partial) => {
    pass(partial);
    sumColumns(machine, partial, out, blocks, columns);
  });
}
