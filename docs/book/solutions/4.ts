// Chapter 4, autoencoders: `deno run -A docs/book/solutions/4.ts` prints
//   1. squared: 3.00, absolute: 0.00
//   2. error with n = 2: 0.000, with n = 1 more than 0.1: true
//   3. 3 times fewer numbers, 439 times fewer bits
import { adamStep, backward, matmul, Random, scope, type Tensor, tensor, zeros } from "../../../mod.ts";

const parameter = (t: Tensor): Tensor => {
  t.requiresGrad = true;
  return t;
};

/** Adam for a few parameters; returns the last loss. The rate falls to 0. */
async function descend(
  parameters: readonly Tensor[],
  rate: number,
  steps: number,
  loss: () => Tensor,
): Promise<number> {
  const states = parameters.map((p) => ({ p, mean: zeros(p.shape), square: zeros(p.shape) }));
  let last = zeros([]);
  for (let step = 1; step <= steps; step++) {
    last = scope(() => {
      const value = loss();
      backward(value);
      return value.detach();
    });
    for (const { p, mean, square } of states) {
      const lr = rate * (1 - step / steps);
      adamStep(p, p.grad!, mean, square, { lr, beta1: 0.9, beta2: 0.99, eps: 1e-8, step });
      p.grad!.dispose();
      p.grad = null;
    }
  }
  return await last.item();
}

// 1. The mean is 3 and the median is 0.
const values = tensor([0, 0, 9]), d = parameter(tensor([5])), e = parameter(tensor([5]));
await descend([d], 0.3, 400, () => values.sub(d).square().mean());
await descend([e], 0.3, 400, () => values.sub(e).abs().mean());
console.log(`1. squared: ${(await d.item()).toFixed(2)}, absolute: ${Math.abs(await e.item()).toFixed(2)}`);

// 2. Two numbers are enough to say how much of each pattern there is. One number is not, whatever it means.
const random = new Random(1);
const pictures = scope(() => matmul(random.normal([64, 2]), random.normal([2, 8])));
async function error(n: number): Promise<number> {
  const encoder = parameter(random.normal([8, n])), decoder = parameter(random.normal([n, 8]));
  const loss = () => matmul(matmul(pictures, encoder), decoder).sub(pictures).square().mean();
  return await descend([encoder, decoder], 0.03, 1500, loss);
}
const [two, one] = [await error(2), await error(1)];
console.log(`2. error with n = 2: ${two.toFixed(3)}, with n = 1 more than 0.1: ${one > 0.1}`);

// 3. 256 x 256 x 3 numbers of 8 bits, against 16 x 16 tokens of 14 bits.
const numbers = 256 * 256 * 3, tokens = 16 * 16;
const bits = Math.round(numbers * 8 / (tokens * 14));
console.log(`3. ${numbers / (tokens * 256)} times fewer numbers, ${bits} times fewer bits`);
