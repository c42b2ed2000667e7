// The quantizer: the nearest code, and rows of a table by index.
import type { Calls } from "../../kernels.ts";
import { CODE_ROWS } from "../kernels/codebook.ts";
import { PANEL } from "../kernels/micro_kernel.ts";
import { at, ceil, type Machine } from "../machine.ts";
import { packed } from "./pack.ts";

export function nearestCode(machine: Machine, call: Calls["nearestCode"]): void {
  const { z, codebook, out, count, codes, channels } = call;
  const panels = ceil(codes, PANEL);
  packed(machine, at(codebook), [1, 1, channels, codes], [channels * 4, 4, 0, 0], (weights) => {
    machine.with(panels * PANEL * 4, (norms) => {
      const args = [at(z), weights, norms, at(out), count, channels, codes];
      machine.launch("codeNorms", panels, args);
      machine.launch("nearestCode", ceil(count, CODE_ROWS), args);
    });
  });
}

export function gather(machine: Machine, { indices, table, out, columns }: Calls["gather"]): void {
  machine.launch("gather", indices.length, [at(indices), at(table), at(out), indices.length, columns]);
}

export function scatterAdd(machine: Machine, { indices, rows, table, columns }: Calls["scatterAdd"]): void {
  machine.launch("scatterAdd", 1, [at(indices), at(rows), at(table), indices.length, columns]);
}
