// The notebook of chapter 2: `deno task notebooks 2-gradients` makes 2-gradients.ipynb of this file.

// %% [markdown]
/*
# 2. Gradients

*Record what you compute, and you can compute all derivatives by going backwards.* This notebook belongs to
[chapter 2](../book/2-gradients.md). You will walk downhill at several speeds, see why Adam is quicker than
plain descent, and watch a network learn a curve.
*/

// %%
import {
  Adam,
  backward,
  grad,
  matmul,
  type Picture,
  plotCurves,
  Random,
  scope,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { palette, Sketch } from "../figures/book/sketch.ts";

// %% [markdown]
/*
## One derivative, three ways

The loss (3a − 6)² at a = −1. By hand its derivative is 2 · (3a − 6) · 3 = −54. The tape finds the same. The
third way needs no rules at all: move a by a little, and see how much the loss changes.
*/

// %%
const loss = (a: Tensor) => a.mul(3).sub(6).square();
const a = tensor([-1], [], { requiresGrad: true });
const [slope] = grad([loss(a)], [a]);
const [above, below] = [await loss(tensor([-0.99], [])).item(), await loss(tensor([-1.01], [])).item()];
console.log("by hand", 2 * (3 * -1 - 6) * 3);
console.log("by the tape", await slope.item());
console.log("by trying", ((above - below) / 0.02).toFixed(2));

// %% [markdown]
/*
## Experiment: how large may a step be?

Points lie on the line y = 2 x, and gradient descent looks for the 2, starting from −1. The curves show the
loss after each step, for four rates, on a logarithmic scale: a straight line downwards means that each step
removes the same share of the error. Expect 0.1 to be slow, 1 to be quick, 2.5 to jump from one side of the
valley to the other and still arrive, and 3.3 to climb out of it.
*/

// %%
const xs = new Random(1).uniform([50], -1, 1), ys = xs.mul(2);

async function descend(rate: number, steps: number): Promise<number[]> {
  const line = tensor([-1], [1], { requiresGrad: true }), losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const error = scope(() => xs.mul(line).sub(ys).square().mean());
    losses.push(await error.item());
    backward(error);
    line.assign(line.detach().sub(line.grad!.mul(rate)));
    line.grad = null;
  }
  return losses;
}

const rates = [0.1, 1, 2.5, 3.3], steps = Array.from({ length: 15 }, (_, i) => i);
const descents = await Promise.all(rates.map((rate) => descend(rate, steps.length)));
await plotCurves([{
  title: "Loss",
  logScale: true,
  series: rates.map((rate, i) => ({ name: `rate ${rate}`, steps, values: descents[i] })),
}], { width: 720, height: 360 });

// %% [markdown]
/*
## Experiment: a narrow valley

Two numbers, and the loss 100 p² + q²: steep in one direction, flat in the other. Plain descent may only take
steps that are safe in the steep direction, so it creeps along the flat one. Adam divides by the size of each
number's own gradient, and moves both at the same speed. Expect plain descent to be at about 0.15 after 60
steps, and Adam far below 0.001.
*/

// %%
const valley = (at: Tensor) => at.square().mul(tensor([100, 1])).sum();

async function walk(update: (at: Tensor) => void): Promise<number[]> {
  const at = tensor([1, 1], [2], { requiresGrad: true }), losses: number[] = [];
  for (let step = 0; step < 60; step++) {
    const height = valley(at);
    losses.push(await height.item());
    backward(height);
    update(at);
    at.grad = null;
  }
  return losses;
}

const plain = await walk((at) => at.assign(at.detach().sub(at.grad!.mul(0.008))));
let adam: Adam | undefined;
const quick = await walk((at) => {
  adam ??= new Adam(new Map([["at", at]]), { lr: 0.1, betas: [0.5, 0.9] });
  adam.step();
});
console.log(
  `after 60 steps: plain descent ${plain[59].toFixed(2)}, Adam ${
    quick[59] < 0.001 ? "below 0.001" : quick[59].toFixed(3)
  }`,
);
await plotCurves([{
  title: "Height in the valley",
  logScale: true,
  series: [["plain descent", plain], ["Adam", quick]].map(([name, values]) => ({
    name: name as string,
    steps: plain.map((_, i) => i),
    values: values as number[],
  })),
}], { width: 720, height: 360, smoothing: 0 });

// %% [markdown]
/*
## Watch a network learn

A network of two layers: 24 copies of tanh, each of them stretched and shifted, and a weighted sum of those.
Its 73 weights learn to follow the dots. The picture changes while the cell runs: `Deno.jupyter.display` shows
a value under a name, and with `update` replaces what was shown there. Expect a flat line that bends into one
wave after the other, and a loss below 0.01 at the end. (The cell takes about two seconds, most of them for
drawing.)
*/

// %%
const random = new Random(3), hidden = 24;
const positions = Array.from({ length: 80 }, (_, i) => -1 + i / 39.5);
const heights = positions.map((x) => 0.7 * Math.sin(7 * x) + 0.08 * random.gaussian());
const input = tensor(positions, [80, 1]), target = tensor(heights, [80, 1]);
const weights = {
  stretch: random.normal([1, hidden], 0, 4),
  shift: random.normal([hidden], 0, 3),
  share: random.normal([hidden, 1], 0, 0.1),
  height: random.normal([1]),
};
for (const each of Object.values(weights)) each.requiresGrad = true;
const network = (x: Tensor) =>
  matmul(x.mul(weights.stretch).add(weights.shift).tanh(), weights.share).add(weights.height);

async function drawFit(step: number, loss: number): Promise<Picture> {
  const sketch = await Sketch.of(640, 280), line = await network(input).floats();
  const at = (x: number, y: number) => [320 + 310 * x, 150 - 110 * y] as const;
  for (const [i, x] of positions.entries()) sketch.dot(...at(x, heights[i]), palette.soft, 3);
  sketch.line(positions.map((x, i) => at(x, line[i])), palette.red);
  sketch.text(`step ${step}: loss ${loss.toFixed(3)}`, 10, 20, { bold: true });
  return await sketch.render();
}

const learner = new Adam(new Map(Object.entries(weights)), { lr: 0.02, betas: [0.9, 0.99] });
for (let step = 0; step <= 600; step++) {
  const error = scope(() => network(input).sub(target).square().mean());
  if (step % 50 === 0) {
    const picture = await drawFit(step, await error.item());
    await Deno.jupyter.display(picture, { display_id: "fit", update: step > 0 });
  }
  backward(error);
  learner.step();
  learner.zeroGrad();
}

// %% [markdown]
/*
## Try next

- In the valley, which is the largest rate at which plain descent still arrives? Try 0.0101. (The steep
  direction multiplies p by 1 − 200 · rate.)
- Give the network 4 copies of tanh instead of 24. Which waves does it give up?
- Fit a step instead of a wave: `positions.map((x) => x > 0 ? 0.7 : -0.7)`. Where are the errors that remain?
- Replace `Adam` by plain descent with the largest rate that works. How many steps does it need?

[Chapter 2](../book/2-gradients.md) · [All notebooks](README.md) · next: [Convolutions](3-convolutions.ipynb)
*/
