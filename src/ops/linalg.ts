// Matrix products.
import type { Tensor } from "../array.ts";
import { record } from "../tape.ts";
import { type DType, itemBytes, type Slot } from "../backends/buffer.ts";
import { checkOptions, flag, type Rules } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { plain } from "./broadcast.ts";
import { permute } from "./shape.ts";

/** How the operands of `matmul` are stored. */
export interface MatmulOptions {
  /** Whether a is stored as [k, m] instead of [m, k]. Default false. */
  readonly transposeA?: boolean;
  /** Whether b is stored as [n, k] instead of [k, n]. Default false. */
  readonly transposeB?: boolean;
}

const rules: Rules<MatmulOptions> = { transposeA: flag, transposeB: flag };

/** [m, k] x [k, n] for each matrix of a batch; b may be stored as [n, k]. */
export function product(
  a: Tensor,
  b: Tensor,
  transposeB = false,
  dtype: DType = a.dtype === b.dtype ? a.dtype : "f32",
): Tensor {
  const [m, k] = a.shape.slice(-2);
  const n = b.shape.at(transposeB ? -2 : -1)!;
  const x = plain(a), y = plain(b);
  const out = a.like([...a.shape.slice(0, -2), m, n], dtype);
  const matrix = (t: Tensor, i: number, length: number): Slot => {
    return { buffer: t.buffer, offset: i * length, length, itemBytes: itemBytes[t.dtype] };
  };
  const batch = a.ndim === 3 ? a.shape[0] : 1;
  for (let i = 0; i < batch; i++) {
    const [left, right, to] = [matrix(x, i, m * k), matrix(y, i, k * n), matrix(out, i, m * n)];
    a.backend.run("matmul", { a: left, b: right, out: to, m, k, n, transposeB });
  }
  if (x !== a) x.dispose();
  if (y !== b) y.dispose();
  return out;
}

export const transpose = (x: Tensor): Tensor => permute(x, x.ndim === 3 ? [0, 2, 1] : [1, 0]);

/**
 * Matrix product of 2-D tensors, or of each pair in two batches [B, m, k] and [B, k, n].
 * @throws if the inner sizes or the batches differ
 * @example The products of each row of one with each row of the other
 * ```ts
 * import { matmul, ones } from "@tessera/vqgan/core";
 *
 * const scores = matmul(ones([1, 4, 8]), ones([1, 6, 8]), { transposeB: true }); // [1, 4, 6], all 8
 * ```
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkFloats("matmul", a, b);
  checkOptions("matmul", options, rules);
  const { transposeA = false, transposeB = false } = options;
  if (a.ndim !== b.ndim || a.ndim < 2 || a.ndim > 3 || (a.ndim === 3 && a.shape[0] !== b.shape[0])) {
    throw new Error(
      `matmul: needs two matrices or two equal batches, got shapes [${a.shape}] and [${b.shape}]`,
    );
  }
  const inner = a.shape.at(transposeA ? -2 : -1), other = b.shape.at(transposeB ? -1 : -2);
  if (inner !== other) {
    throw new Error(
      `matmul: inner sizes ${inner} and ${other} differ (shapes [${a.shape}] and [${b.shape}])`,
    );
  }
  const left = transposeA ? transpose(a) : a;
  const out = product(left, b, transposeB);
  if (transposeA) left.dispose();
  return record("matmul", out, [a, b], [a, b], (g, [a, b], needs) => {
    const da = () =>
      transposeA ? product(transposeB ? transpose(b) : b, g, true) : product(g, b, !transposeB);
    const db = () => {
      const at = transposeA ? a : transpose(a);
      return transposeB ? product(transpose(g), transposeA ? transpose(a) : a) : product(at, g);
    };
    return [needs[0] ? da() : null, needs[1] ? db() : null];
  });
}
