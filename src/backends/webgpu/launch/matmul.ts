// Launches matrix products.
import type { Calls } from "../../kernels.ts";
import type { Gpu } from "../device/gpu.ts";
import { matrixWeights } from "../kernels/pack.ts";
import { plainRows } from "../kernels/product.ts";
import { ceil, storeVector } from "../kernels/wgsl.ts";
import { wholeVectors } from "./factors.ts";
import { multiply } from "./product.ts";

export function matmul(gpu: Gpu, { a, b, out, m, k, n, transposeB }: Calls["matmul"]): void {
  const isVector = n % 4 === 0 && out.offset % 4 === 0;
  wholeVectors(gpu, a, m, k, (whole) => {
    multiply(gpu, whole, b, matrixWeights(k, n, transposeB), {
      name: `matmul${isVector ? " of vectors" : ""}`,
      rows: m,
      columns: n,
      quads: ceil(k, 4),
      taps: 1,
      source: plainRows("p.start"),
      store: {
        row: "    let at = p.to + row * p.columns;",
        store: (acc, c) => storeVector("at", `column${c}`, "p.columns", isVector, acc),
      },
      others: [["out", isVector ? "vec4f" : "f32", out]],
      params: { start: whole.offset / 4, to: out.offset },
    });
  });
}
