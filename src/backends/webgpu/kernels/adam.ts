// One update of Adam.
import type { Calls } from "../../kernels.ts";
import type { Dispatch } from "./source.ts";
import { ceil, each, groupsOf, THREADS } from "./wgsl.ts";

/** m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p = decay p - step m / (sqrt(v) / correction + eps), in PyTorch's order. */
export function adam({ param, grad, expAvg, expAvgSq, spec }: Calls["adam"]): Dispatch {
  const { lr, beta1, beta2, eps, step, lossScale, decay = 1 } = spec, n = ceil(param.length, 4);
  const isScaled = lossScale !== undefined;
  /** Tests the bits, because drivers may assume that no number is infinite or NaN. */
  const isFinite = "(bitcast<vec4u>(g[i]) & vec4u(0x7f800000u)) != vec4u(0x7f800000u)";
  const keep = (old: string, fresh: string) => isScaled ? `select(${old}, ${fresh}, isFinite)` : fresh;
  return {
    name: isScaled ? "adam unscaled" : "adam",
    operands: [grad, param, expAvg, expAvgSq],
    groups: groupsOf(n),
    params: {
      n,
      c1: 1 - beta1,
      b2: beta2,
      c2: 1 - beta2,
      rate: lr / (1 - beta1 ** step),
      correction: 1 / Math.sqrt(1 - beta2 ** step),
      eps,
      unscale: 1 / (lossScale ?? 1),
      decay,
    },
    source: () => ({
      inputs: { g: "vec4f" },
      outputs: { w: "vec4f", m: "vec4f", s: "vec4f" },
      params: {
        n: "u32",
        c1: "f32",
        b2: "f32",
        c2: "f32",
        rate: "f32",
        correction: "f32",
        eps: "f32",
        unscale: "f32",
        decay: "f32",
      },
      threads: THREADS,
      body: `${each("p.n")}
  ${isScaled ? `let isFinite = ${isFinite};` : ""}
  let grad = ${isScaled ? "g[i] * p.unscale" : "g[i]"};
  let first = m[i] + p.c1 * (grad - m[i]);
  let second = s[i] * p.b2 + (grad * p.c2) * grad;
  let fresh = w[i] * p.decay - (p.rate * first) / (sqrt(second) * p.correction + p.eps);
  m[i] = ${keep("m[i]", "first")};
  s[i] = ${keep("s[i]", "second")};
  w[i] = ${keep("w[i]", "fresh")};`,
    }),
  };
}
