// Launches the kernels that pass over memory once: elementwise operations, copies and Adam.
import type { Shape } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import { MAX_RANK } from "../kernels/copy.ts";
import { CHUNK } from "../kernels/elementwise.ts";
import { at, ceil, type Machine } from "../machine.ts";

export function fill(machine: Machine, { out, value }: Calls["fill"]): void {
  machine.look("f32", at(out), out.length).fill(value);
}

export function unary(machine: Machine, { op, x, out, p0, p1 }: Calls["unary"]): void {
  machine.launch(`unary.${op}`, ceil(out.length, CHUNK), [at(x), at(out), out.length, p0, p1], [3, 4]);
}

export function binary(machine: Machine, call: Calls["binary"]): void {
  const { op, a, aWalk, b, bWalk, out, outer, inner, p0 } = call;
  // with one element per row, strides 0 and 1 are the same
  const aInner = inner === 1 && bWalk.inner === 0 ? 1 : aWalk.inner;
  const rows = Math.max(1, Math.floor(CHUNK / Math.max(1, inner)));
  const chunks = ceil(inner, CHUNK);
  machine.launch(
    `binary.${op}.${aInner}${bWalk.inner}`,
    ceil(outer, rows) * chunks,
    [at(a), at(b), at(out), outer, inner, aWalk.outer, bWalk.outer, rows, chunks, p0],
    [9],
  );
}

export function copy(machine: Machine, { x, xStrides, out, outStrides, shape }: Calls["copy"]): void {
  copyNumbers(machine, at(x), xStrides, at(out), outStrides, shape);
}

/** Copies between addresses. */
export function copyNumbers(
  machine: Machine,
  x: number,
  xStrides: readonly number[],
  out: number,
  outStrides: readonly number[],
  shape: Shape,
): void {
  const [sizes, from, to] = collapse(shape, xStrides, outStrides);
  if (sizes.length > MAX_RANK) {
    throw new Error(`copy: shape [${shape}] has more than ${MAX_RANK} dimensions`);
  }
  const rows = sizes.slice(0, -1).reduce((a, b) => a * b, 1);
  const columns = sizes.at(-1)!;
  if (rows * columns === 0) return;
  const rowsPerTile = Math.max(1, Math.floor(CHUNK / columns));
  const padded = (list: readonly number[], value: number) => [
    ...new Array<number>(MAX_RANK - list.length).fill(value),
    ...list,
  ];
  machine.launch("copy", ceil(rows, rowsPerTile), [
    x,
    out,
    rows,
    rowsPerTile,
    ...padded(sizes, 1),
    ...padded(from.map((s) => s * 4), 0),
    ...padded(to.map((s) => s * 4), 0),
  ]);
}

/** Joins neighbouring dimensions that are contiguous in both tensors, so that inner loops are long. */
function collapse(shape: Shape, a: readonly number[], b: readonly number[]): [number[], number[], number[]] {
  const sizes: number[] = [], from: number[] = [], to: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && from[last] === shape[i] * a[i] && to[last] === shape[i] * b[i]) {
      sizes[last] *= shape[i];
      from[last] = a[i];
      to[last] = b[i];
    } else {
      sizes.push(shape[i]);
      from.push(a[i]);
      to.push(b[i]);
    }
  }
  return sizes.length === 0 ? [[shape.includes(0) ? 0 : 1], [1], [1]] : [sizes, from, to];
}

export function adam(machine: Machine, { param, grad, expAvg, expAvgSq, spec }: Calls["adam"]): void {
  const { lr, beta1, beta2, eps, step, decay = 1 } = spec;
  const rate = lr / (1 - beta1 ** step), correction = 1 / Math.sqrt(1 - beta2 ** step);
  const [p, g, m, v] = [at(param), at(grad), at(expAvg), at(expAvgSq)];
  machine.launch(
    "adam",
    ceil(param.length, CHUNK),
    [p, g, m, v, param.length, 1 - beta1, beta2, 1 - beta2, rate, correction, eps, decay],
    [5, 6, 7, 8, 9, 10, 11],
  );
}
