// The notebook of chapter 4: `deno task notebooks 4-autoencoder` makes 4-autoencoder.ipynb of this file.

// %% [markdown]
/*
# 4. An autoencoder, and why it blurs

*If the decoder has to guess where an edge is, grey costs least.* This notebook belongs to
[chapter 4](../book/4-autoencoder.md). Gradient descent will draw the best answer to a question that has five,
and then you train an autoencoder with a bottleneck of your choice.
*/

// %%
import {
  Adam,
  backward,
  concat,
  conv2d,
  cropPicture,
  drawCartoonFace,
  Picture,
  plotCurves,
  Random,
  scope,
} from "../../mod.ts";
import { type Tensor, tensor, toFloats } from "../../mod.ts";

const whole = new Picture(96, 96, await drawCartoonFace(8, 96)), side = 44;
const eyes = [-8, -4, 0, 4, 8].map((shift) => cropPicture(whole, 22 + shift, 32, side, side));
const possible = concat(eyes.map(({ pixels }) => tensor(toFloats(pixels), [1, side, side, 3])), 0);
possible;

// %% [markdown]
/*
## Experiment: let descent draw the best answer

Suppose that a token says "there is an eye about here", and five pictures are possible. The decoder has to
draw one. Start with grey, and let Adam move the pixels so that the mean error over all five gets smaller: the
squared error on the left, the absolute error on the right. Nobody tells it to blur. Expect the mean of the
five on the left, and on the right their median, in which the pupil is gone.
*/

// %%
const starts = [0, 1].map(() =>
  tensor(new Float32Array(side * side * 3), [1, side, side, 3], { requiresGrad: true })
);
const painters = starts.map((start) =>
  new Adam(new Map([["pixels", start]]), { lr: 0.05, betas: [0.9, 0.99] })
);
for (let step = 0; step <= 60; step++) {
  if (step % 6 === 0) {
    const now = concat(starts.map((start) => start.detach()), 0);
    await Deno.jupyter.display(now, { display_id: "answers", update: step > 0 });
  }
  scope(() => {
    backward(possible.sub(starts[0]).square().mean());
    backward(possible.sub(starts[1]).abs().mean());
  });
  for (const painter of painters) {
    painter.step();
    painter.zeroGrad();
  }
}

// %% [markdown]
/*
The numbers say the same: each answer is the best by its own measure, and one of the five pictures, which any
person would prefer, is the worst by squared error.
*/

// %%
const sharp = possible.slice([2, 0, 0, 0], [3, side, side, 3]);
for (const [name, answer] of [["mean", starts[0]], ["median", starts[1]], ["one of them", sharp]] as const) {
  const difference = possible.sub(answer.detach());
  const [squared, absolute] = [await difference.square().mean().item(), await difference.abs().mean().item()];
  console.log(`${name}: squared error ${squared.toFixed(3)}, absolute error ${absolute.toFixed(3)}`);
}

// %% [markdown]
/*
## Experiment: how narrow may a bottleneck be?

Now a real autoencoder, small enough to train while you wait. It turns cartoon faces of 32×32×3 = 3,072
numbers into 4×4 vectors, and the vectors into a face again. The function below trains one whose vectors have
`channels` numbers.
*/

// %%
const size = 32, batch = 16;
const bytes = await Promise.all(Array.from({ length: 96 }, (_, seed) => drawCartoonFace(seed, size)));
const faces = tensor(Float32Array.from(bytes.flatMap((each) => [...toFloats(each)])), [96, size, size, 3]);
const unseen = faces.slice([88, 0, 0, 0], [96, size, size, 3]); // the last eight are kept back

/** Layers of convolutions: each pair says how many channels a layer takes and makes. Swish bends all but the last. */
function layers(random: Random, pairs: readonly (readonly [number, number])[], options: object) {
  const weights = pairs.map(([from, to]) => {
    const bound = 1 / Math.sqrt(9 * from);
    return random.uniform([to, from, 3, 3], -bound, bound);
  });
  const last = weights.length - 1;
  const run = (x: Tensor) =>
    weights.reduce((at, weight, i) => {
      const out = conv2d(at, weight, null, { padding: 1, ...options });
      return i === last ? out : out.swish();
    }, x);
  return { weights, run };
}

async function train(
  channels: number,
  steps: number,
  watch: (step: number, loss: number, copies: Tensor) => Promise<void>,
) {
  const random = new Random(1);
  const encoder = layers(random, [[3, 24], [24, 48], [48, channels]], { stride: 2 });
  const decoder = layers(random, [[channels, 48], [48, 24], [24, 24]], { upsample: 2 });
  const last = layers(random, [[24, 3]], {});
  const weights = [encoder, decoder, last].flatMap((part) => part.weights);
  for (const weight of weights) weight.requiresGrad = true;
  const again = (x: Tensor) => last.run(decoder.run(encoder.run(x)).swish());
  const adam = new Adam(new Map(weights.map((weight, i) => [String(i), weight])), {
    lr: 3e-3,
    betas: [0.9, 0.99],
  });
  for (let step = 0; step <= steps; step++) {
    const first = batch * random.integer(5);
    if (step % 25 === 0) {
      const copies = scope(() => again(unseen));
      await watch(step, await scope(() => copies.sub(unseen).abs().mean()).item(), copies);
      copies.dispose();
    }
    scope(() => {
      const images = faces.slice([first, 0, 0, 0], [first + batch, size, size, 3]);
      backward(again(images).sub(images).abs().mean());
    });
    adam.step();
    adam.zeroGrad();
  }
}

// %% [markdown]
/*
Train two of them: with 16 numbers in each vector (256 numbers for a face), and with a single one (16 for a
face). Above are faces that neither of them has seen in training, below the copies, after every 25 steps.
Expect a grey fog, then heads of the right colour, then hair, and where the eyes are at most a shadow. The
losses on unseen faces should end near 0.17 and 0.22.
*/

// %%
const curves: { name: string; steps: number[]; values: number[] }[] = [];
for (const channels of [16, 1]) {
  const curve = { name: `${16 * channels} numbers`, steps: [] as number[], values: [] as number[] };
  curves.push(curve);
  await train(channels, 150, async (step, loss, copies) => {
    curve.steps.push(step);
    curve.values.push(loss);
    const rows = concat([unseen, copies], 0);
    await Deno.jupyter.display(rows, { display_id: curve.name, update: step > 0 });
  });
  console.log(`${curve.name}: mean error ${curve.values.at(-1)!.toFixed(2)} on unseen faces`);
}
await plotCurves([{ title: "Error on unseen faces", series: curves }], {
  width: 640,
  height: 320,
  smoothing: 0,
});

// %% [markdown]
/*
## Try next

- Train with 4 numbers, and with 64. When does more stop to help?
- Let it train for 1,000 steps. Does the error on unseen faces still fall?
- Replace `.abs()` by `.square()` in `train`. Are the copies softer?

[Chapter 4](../book/4-autoencoder.md) · [All notebooks](README.md) · next: [The codebook](5-codebook.ipynb)
*/
