// Chapter 7, the discriminator: `deno run -A docs/book/solutions/7.ts` prints
//   1. loss 0.25, gradients of the real logits 0 -0.25, of the others 0.25 0
//   2. 7.499, and 7500, or 37500 without a limit
//   3. with 0 less than 0.4: true, with 0.8 steeper: true, with 3 more than 1.5: true
import { backward, scope, tensor } from "../../../mod.ts";
import { train } from "../../figures/book/edge.ts";

// 1. Only 0.5 (below 1) and -0.5 (above -1) have a gradient: 1/2 for the half, and 1/2 for the mean of two.
const real = tensor([2, 0.5], [2], { requiresGrad: true }),
  fake = tensor([-0.5, -3], [2], { requiresGrad: true });
const loss = scope(() => real.neg().add(1).relu().mean().add(fake.add(1).relu().mean()).mul(0.5));
const value = (await loss.item()).toFixed(2);
backward(loss);
const texts = async (t: typeof real) =>
  [...await t.grad!.floats()].map((v) => String(v === 0 ? 0 : v)).join(" ");
console.log(
  `1. loss ${value}, gradients of the real logits ${await texts(real)}, of the others ${await texts(fake)}`,
);

// 2. Lengths 5 and 0.5. Without any gradient of the GAN the fraction is 5 / 1e-4 = 50,000, which the program limits to 10,000.
const lambda = (rec: number, gan: number, limit: number) => Math.min(rec / (gan + 1e-4), limit) * 0.75;
console.log(
  `2. ${lambda(5, 0.5, 1e4).toFixed(3)}, and ${lambda(5, 0, 1e4)}, or ${
    lambda(5, 0, Infinity)
  } without a limit`,
);

// 3. The steepest place of an edge from -1 to 1 is 2.
const steepest: number[] = [];
for (const weight of [0, 0.8, 3]) {
  const row = (await train(weight, 600)).subarray(32, 64);
  steepest.push(Math.max(...row.slice(1).map((v, i) => v - row[i])));
}
const [none, weak, strong] = steepest;
console.log(
  `3. with 0 less than 0.4: ${none < 0.4}, with 0.8 steeper: ${weak > none}, with 3 more than 1.5: ${
    strong > 1.5
  }`,
);
