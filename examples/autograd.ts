// Gradient descent in a few lines: a straight line is fitted to points. `backward` computes how the loss changes with each
// parameter (its gradient, in `.grad`), and every step moves the parameters a little against their gradients.
//   deno run -A examples/autograd.ts      (or: bun examples/autograd.ts)
// Expect "slope 2.000, offset -1.000" after 200 steps.
import { backward, Random, scope, tensor } from "../mod.ts";

const x = new Random(1).uniform([100], -1, 1);
const y = x.mul(2).sub(1);

const slope = tensor([0], [1], { requiresGrad: true });
const offset = tensor([0], [1], { requiresGrad: true });

for (let step = 0; step < 200; step++) {
  scope(() => { // frees every tensor that is made in here, except the gradients
    const loss = x.mul(slope).add(offset).sub(y).square().mean();
    backward(loss);
    for (const p of [slope, offset]) {
      p.assign(p.detach().sub(p.grad!.mul(0.2))); // detach: this update is not itself to be differentiated
      p.grad!.dispose();
      p.grad = null;
    }
  });
}
console.log(`slope ${(await slope.item()).toFixed(3)}, offset ${(await offset.item()).toFixed(3)}`);
