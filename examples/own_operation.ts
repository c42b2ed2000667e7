// How to write your own operation with its gradient, outside Tessera: quick GELU, x * sigmoid(1.702 x), as in CLIP.
//   deno run -A examples/own_operation.ts      (or: bun examples/own_operation.ts)
// Expect the same gradients as autograd computes for its parts, except for rounding (1.9e-6), with two tensors kept instead of
// three.
import { backward, memory, noGrad, Random, record, scope, type Tensor } from "../mod.ts";

/** Made of three operations: the tape keeps what each of them needs. */
const composed = (x: Tensor): Tensor => scope(() => x.mul(x.mul(1.702).sigmoid()));

/** As one operation: `record` takes the result, the inputs, the tensors to keep, and the vector-Jacobian product. */
function quickGelu(x: Tensor): Tensor {
  const out = noGrad(() => composed(x));
  return record("quickGelu", out, [x], [x], (g, [x]) => {
    // with s = sigmoid(1.702 x), the derivative is s + 1.702 x s (1 - s); a vector-Jacobian product is not recorded
    const s = x.mul(1.702).sigmoid();
    return [g.mul(s.add(x.mul(1.702).mul(s).mul(s.neg().add(1))))];
  });
}

async function gradientOf(
  operation: (x: Tensor) => Tensor,
): Promise<{ gradient: Float32Array; kept: number }> {
  const x = new Random(1).normal([64, 1024]);
  x.requiresGrad = true;
  const before = memory().liveBytes;
  const out = scope(() => operation(x.mul(1)));
  const kept = memory().liveBytes - before;
  scope(() => backward(out.square().sum()));
  const gradient = await x.grad!.floats();
  for (const t of [x.grad!, out, x]) t.dispose();
  return { gradient, kept };
}

const [rule, own] = [await gradientOf(composed), await gradientOf(quickGelu)];
const difference = Math.max(...rule.gradient.map((g, i) => Math.abs(g - own.gradient[i])));
console.log(`largest difference of the gradients: ${difference.toExponential(1)}`);
console.log(`bytes kept for backward: ${rule.kept} by the chain rule, ${own.kept} by the operation`);
