// Matrix products and attention.
import type { Tensor } from "../array.ts";
import { record } from "../autograd.ts";
import { type DType, itemBytes, type Slot } from "../backends/buffer.ts";
import { checkOptions, flag, type Rules } from "../check.ts";
import { checkFloats } from "../operands.ts";
import { isGradEnabled } from "../scope.ts";
import { copyInto, plain } from "./broadcast.ts";
import { permute, slice } from "./shape.ts";

/** The most bytes of scores that attention holds at a time when nothing is recorded. */
const SCORES = 16 * 2 ** 20;

/** How the operands of `matmul` are stored. */
export interface MatmulOptions {
  /** Whether a is stored as [k, m] instead of [m, k]. Default false. */
  readonly transposeA?: boolean;
  /** Whether b is stored as [n, k] instead of [k, n]. Default false. */
  readonly transposeB?: boolean;
}

const rules: Rules<MatmulOptions> = { transposeA: flag, transposeB: flag };

/** [m, k] x [k, n] for each matrix of a batch; b may be stored as [n, k]. */
function product(
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

const transpose = (x: Tensor): Tensor => permute(x, x.ndim === 3 ? [0, 2, 1] : [1, 0]);

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

/**
 * softmax(q k^T / sqrt(C)) v for q, k, v of shape [B, T, C]: single-head attention (Vaswani et al. 2017), as in
 * taming's AttnBlock. The scores are always f32, because sums over C could overflow f16.
 * @returns [B, T, C]
 * @throws if the three shapes are not the same [B, T, C]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor): Tensor {
  checkFloats("attention", q, k, v);
  for (const [name, t] of [["k", k], ["v", v]] as const) {
    if (q.ndim !== 3 || `${t.shape}` !== `${q.shape}`) {
      throw new Error(
        `attention: q, k and v must all be [B, T, C]; q is [${q.shape}], ${name} is [${t.shape}]`,
      );
    }
  }
  const [batch, tokens, channels] = q.shape;
  const scale = channels ** -0.5;
  if (!isGradEnabled() && batch * tokens * tokens * 4 > SCORES) return attentionInBlocks(q, k, v, scale);
  const scores = product(q, k, true, "f32");
  const weights = scores.like(scores.shape);
  const rows = { rows: batch * tokens, columns: tokens, scale };
  q.backend.run("softmax", { x: scores.slot, out: weights.slot, ...rows });
  scores.dispose();
  const out = record(
    "attention",
    product(weights, v, false, v.dtype),
    [q, k, v],
    [q, k, v, weights],
    (g, [q, k, v, w], needs) => {
      const gw = product(g, v, true, "f32");
      const gs = w.like(w.shape);
      w.backend.run("softmaxGrad", { y: w.slot, g: gw.slot, out: gs.slot, ...rows });
      return [
        needs[0] ? product(gs, k) : null,
        needs[1] ? product(transpose(gs), q) : null,
        needs[2] ? product(transpose(w), g) : null,
      ];
    },
  );
  weights.dispose();
  return out;
}

/** The same result, computed for some queries at a time, so that only their scores are held in memory. */
function attentionInBlocks(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  const [batch, tokens] = q.shape;
  const out = q.like(q.shape, v.dtype);
  const rows = Math.max(1, Math.floor(SCORES / 4 / tokens));
  for (let b = 0; b < batch; b++) {
    const part = (t: Tensor, from: number, to: number) => {
      const rows = slice(t, [b, from], [b + 1, to]), copy = plain(rows);
      if (copy !== rows) rows.dispose();
      return copy;
    };
    const [keys, values] = [part(k, 0, tokens), part(v, 0, tokens)];
    for (let from = 0; from < tokens; from += rows) {
      const to = Math.min(tokens, from + rows);
      const queries = part(q, from, to);
      const scores = product(queries, keys, true, "f32");
      const weights = scores.like(scores.shape);
      q.backend.run("softmax", {
        x: scores.slot,
        out: weights.slot,
        rows: to - from,
        columns: tokens,
        scale,
      });
      const mixed = product(weights, values, false, v.dtype);
      copyInto(mixed, out, [b, from]);
      for (const t of [queries, scores, weights, mixed]) t.dispose();
    }
    for (const t of [keys, values]) t.dispose();
  }
  return out;
}
