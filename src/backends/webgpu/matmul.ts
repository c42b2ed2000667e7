// Matrix products of contiguous views, by the product of gemm.ts.
import { type Buffer, itemBytes, type View } from "../backend.ts";
import { padRows } from "./elementwise.ts";
import {
  ceil,
  chooseTile,
  named,
  ONE_TAP,
  packed,
  plainRows,
  threadsOf,
  type Tile,
  tiledProduct,
  tileMemory,
  tilesOf,
} from "./gemm.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { repeat } from "./wgsl.ts";

/** x as whole vectors a row, and the vector it starts at: itself where it is so already, else a copy. */
export function wholeVectors(
  gpu: Gpu,
  x: Buffer,
  offset: number,
  rows: number,
  columns: number,
  body: (x: Buffer, start: number) => void,
): void {
  if (columns % 4 === 0 && offset % 4 === 0) return body(x, offset / 4);
  const dtype = dtypeOf(x);
  gpu.with(rows * ceil(columns, 4) * 4 * itemBytes[dtype], (whole) => {
    padRows(gpu, x, offset, whole, rows, columns);
    body(whole, 0);
  }, dtype);
}

/** Four numbers from element `at` of a buffer that is read. */
export function loadVector(buffer: string, at: string, isVector: boolean): string {
  if (isVector) return `vec4f(${buffer}[(${at}) >> 2u])`;
  const numbers = [0, 1, 2, 3].map((e) => `f32(${buffer}[min(${at} + ${e}u, arrayLength(&${buffer}) - 1u)])`);
  return `vec4f(${numbers.join(", ")})`;
}

/** The statements that store vector `value` in columns `column` to `column` + 3 of the row that begins at element `at` of out. */
export function storeVector(
  at: string,
  column: string,
  columns: number,
  isVector: boolean,
  value: string,
): string {
  if (isVector) return `out[(${at} + ${column}) >> 2u] = out_t(${value});`;
  return repeat(
    4,
    (e) =>
      `if (${column} + ${e}u < ${columns}u) { out[${at} + ${column} + ${e}u] = out_t((${value})[${e}]); }`,
  );
}

/** out [m, n] = a [m, k] b, where b is [k, n], or [n, k] if transposeB. */
export function matmul(
  gpu: Gpu,
  a: View,
  b: View,
  out: View,
  m: number,
  k: number,
  n: number,
  transposeB: boolean,
): void {
  const isVector = n % 4 === 0 && out.offset % 4 === 0;
  const name = `matmul ${m} ${k} ${n} ${isVector}`;
  const kernel = (tile: Tile) =>
    gpu.kernel(named(name, tile), () => ({
      inputs: { a: "vec4f", b: "vec4f" },
      outputs: { out: isVector ? "vec4f" : "f32" },
      params: { start: "u32", to: "u32" },
      threads: threadsOf(tile),
      flops: 2 * m * n * k,
      globals: tileMemory(tile),
      body: tiledProduct(
        tile,
        plainRows(m, ceil(k, 4), "p.start"),
        m,
        n,
        {
          row: `    let at = p.to + row * ${n}u;`,
          store: (acc, c) => storeVector("at", `column${c}`, n, isVector, acc),
        },
        gpu.madd,
      ),
    }));
  const weights = {
    inputs: k,
    outputs: n,
    outStride: transposeB ? k : 1,
    inStride: transposeB ? 1 : n,
    down: ONE_TAP,
    across: ONE_TAP,
  };
  wholeVectors(gpu, a.buffer, a.offset, m, k, (whole, from) => {
    const tile = chooseTile(gpu, name, [m, n, ceil(k, 4)], kernel, weights, whole, [out.buffer]);
    packed(gpu, b.buffer, b.offset, weights, tile, dtypeOf(a.buffer), (columns) => {
      gpu.run(kernel(tile), [whole, columns, out.buffer], tilesOf(tile, m, n), [from, out.offset]);
    });
  });
}
