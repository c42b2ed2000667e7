// Attention, at once or in blocks of queries.
import type { Tensor } from "../array.ts";
import { record } from "../tape.ts";
import { checkFloats } from "../operands.ts";
import { finish, type Parts } from "../parts.ts";
import { isGradEnabled } from "../scope.ts";
import { copyInto, plain } from "./broadcast.ts";
import { product, transpose } from "./linalg.ts";
import { slice } from "./shape.ts";

/** The most bytes of scores that attention holds at a time when nothing is recorded. */
const SCORES = 16 * 2 ** 20;

/**
 * softmax(q k^T / sqrt(C)) v for q, k, v of shape [B, T, C]: single-head attention (Vaswani et al. 2017), as in
 * taming's AttnBlock. The scores are always f32, because sums over C could overflow f16.
 * @returns [B, T, C]
 * @throws if the three shapes are not the same [B, T, C]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor): Tensor {
  return finish(attentionParts(q, k, v));
}

/** `attention` in parts. */
export function* attentionParts(q: Tensor, k: Tensor, v: Tensor): Parts<Tensor> {
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
  if (!isGradEnabled() && batch * tokens * tokens * 4 > SCORES) {
    return yield* attentionInBlocks(q, k, v, scale);
  }
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
function* attentionInBlocks(q: Tensor, k: Tensor, v: Tensor, scale: number): Parts<Tensor> {
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
      yield;
    }
    for (const t of [keys, values]) t.dispose();
  }
  return out;
}
