// Launches sums and softmax. Long rows and columns are summed in passes, whose sizes depend on the shapes alone.
import type { Calls } from "../../kernels.ts";
import { CHUNK } from "../kernels/elementwise.ts";
import { COLUMN_ROWS, ROW_CHUNK } from "../kernels/reduce.ts";
import { at, ceil, type Machine } from "../machine.ts";

export function sumRows(machine: Machine, { x, out, rows, columns }: Calls["sumRows"]): void {
  rowSums(machine, at(x), at(out), rows, columns);
}

function rowSums(machine: Machine, x: number, out: number, rows: number, columns: number): void {
  const chunks = ceil(columns, ROW_CHUNK);
  const rowsPerTile = Math.max(1, Math.floor(CHUNK / Math.max(1, Math.min(columns, ROW_CHUNK))));
  const pass = (to: number) =>
    machine.launch("rows.sum", ceil(rows * chunks, rowsPerTile), [x, to, rows, columns, chunks, rowsPerTile]);
  if (chunks === 1) return pass(out);
  machine.with(rows * chunks * 4, (partial) => {
    pass(partial);
    rowSums(machine, partial, out, rows, chunks);
  });
}

export function sumColumns(machine: Machine, { x, out, rows, columns }: Calls["sumColumns"]): void {
  columnSums(machine, at(x), at(out), rows, columns);
}

/** The sum of each column of the numbers at address `x`. */
export function columnSums(machine: Machine, x: number, out: number, rows: number, columns: number): void {
  if (rows === 0) return void machine.look("f32", out, columns).fill(0);
  const blocks = ceil(rows, COLUMN_ROWS);
  const pass = (to: number) => machine.launch("columns.sum", blocks, [x, to, rows, columns]);
  if (blocks === 1) return pass(out);
  machine.with(blocks * columns * 4, (partial) => {
    pass(partial);
    columnSums(machine, partial, out, blocks, columns);
  });
}

export function softmax(machine: Machine, { x, out, rows, columns, scale }: Calls["softmax"]): void {
  machine.launch("softmax", rows, [at(x), at(out), columns, scale], [3]);
}

export function argmax(machine: Machine, { x, out, rows, columns }: Calls["argmax"]): void {
  machine.launch("argmax", rows, [at(x), at(out), columns]);
}

export function softmaxGrad(
  machine: Machine,
  { y, g, out, rows, columns, scale }: Calls["softmaxGrad"],
): void {
  machine.launch("softmaxGrad", rows, [at(y), at(out), columns, scale, at(g)], [3]);
}
