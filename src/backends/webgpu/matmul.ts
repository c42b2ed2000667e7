// Matrix products of contiguous views.
import { type Buffer, itemBytes, type View } from "../backend.ts";
import { padRows } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { ONE_TAP } from "./pack.ts";
import { multiply, plainRows, storeVector } from "./product.ts";

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
  const weights = {
    inputs: k,
    outputs: n,
    outStride: transposeB ? k : 1,
    inStride: transposeB ? 1 : n,
    down: ONE_TAP,
    across: ONE_TAP,
  };
  wholeVectors(gpu, a.buffer, a.offset, m, k, (whole, start) => {
    multiply(gpu, whole, b.buffer, b.offset, weights, {
      name: `matmul${isVector ? " of vectors" : ""}`,
      rows: m,
      columns: n,
      quads: ceil(k, 4),
      taps: 1,
      flops: 2 * m * n * k,
      source: plainRows("p.start"),
      store: {
        row: "    let at = p.to + row * p.columns;",
        store: (acc, c) => storeVector("at", `column${c}`, "p.columns", isVector, acc),
      },
      others: [["out", isVector ? "vec4f" : "f32", out.buffer]],
      params: { start, to: out.offset },
    });
  });
}
