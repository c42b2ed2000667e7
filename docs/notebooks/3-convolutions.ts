// The notebook of chapter 3: `deno task notebooks 3-convolutions` makes 3-convolutions.ipynb of this file.

// %% [markdown]
/*
# 3. Convolutions

*The same small weighted sum everywhere; several layers of it see far.* This notebook belongs to
[chapter 3](../book/3-convolutions.md). You will write filters by hand, let gradient descent find one, and
measure how far a token sees.
*/

// %%
import {
  Adam,
  backward,
  conv2d,
  drawCartoonFace,
  grad,
  type Picture,
  Random,
  scope,
  tensor,
  toFloats,
  VQGAN,
} from "../../mod.ts";
import { heat, pictureOf, redOrBlue, Sketch } from "../figures/book/sketch.ts";

const size = 96;
const face = tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]).mean(3, true);
face;

// %% [markdown]
/*
## A filter by hand

Nine numbers: the weights of a window of 3×3. These take the pixels on the right and subtract those on the
left, so the sum is 0 wherever nothing changes. Red is above 0, blue below.
*/

// %%
const filter = [
  [-1, 0, 1],
  [-2, 0, 2],
  [-1, 0, 1],
];
const rightMinusLeft = tensor(filter.flat(), [1, 1, 3, 3]);
const edges = conv2d(face, rightMinusLeft, null, { padding: 1 });
pictureOf((await edges.floats()).map((value) => value / 4), size, redOrBlue);

// %% [markdown]
/*
## Experiment: find the filter

Networks are not given their filters; they find them. Forget the nine numbers, and keep only the face and the
picture of its edges. Start from random weights and descend on the difference of the pictures. Each picture
below shows the filter as it is at that step (red above 0, blue below), and beside it what it makes of the
face. Expect noise, then the left and right columns, and after 600 steps the nine numbers to within a tenth.
*/

// %%
const learnt = new Random(5).normal([1, 1, 3, 3]);
learnt.requiresGrad = true;

async function drawFilter(step: number): Promise<Picture> {
  const sketch = await Sketch.of(404, 226);
  const made = await scope(() => conv2d(face, learnt.detach(), null, { padding: 1 })).floats();
  sketch.text(`step ${step}`, 10, 20, { bold: true });
  await sketch.picture(
    pictureOf((await learnt.floats()).map((value) => value / 2), 3, redOrBlue),
    10,
    30,
    62,
  );
  await sketch.picture(pictureOf(made.map((value) => value / 4), size, redOrBlue), 206, 30, 2);
  return await sketch.render();
}

const optimizer = new Adam(new Map([["filter", learnt]]), { lr: 0.05, betas: [0.9, 0.99] });
for (let step = 0; step <= 600; step++) {
  if (step % 50 === 0) {
    await Deno.jupyter.display(await drawFilter(step), { display_id: "filter", update: step > 0 });
  }
  scope(() => backward(conv2d(face, learnt, null, { padding: 1 }).sub(edges).square().mean()));
  optimizer.step();
  optimizer.zeroGrad();
}
const found = [...await learnt.floats()].map((value) => value.toFixed(2));
console.log([found.slice(0, 3), found.slice(3, 6), found.slice(6)].map((row) => row.join("  ")).join("\n"));

// %% [markdown]
/*
## Experiment: how far does a token see?

The small model turns a face of 128×128 into 16×16 tokens, one for each tile of 8×8 pixels. Which pixels
decide about one of them? The size of the gradient of its vector says it: by how much the vector changes if a
pixel does. (The picture shows the root of it, so that small values are visible.) Expect a fifth of
the whole in the token's own tile, three fifths in the 3×3 tiles around it, and a little everywhere, because the
encoder has attention.
*/

// %%
const model = await VQGAN.load("../../models/faces.safetensors"), side = model.config.ddconfig.resolution;
const picture = tensor(toFloats(await drawCartoonFace(8, side)), [1, side, side, 3], { requiresGrad: true });

async function reachOf(row: number, column: number): Promise<Float32Array> {
  const reach = scope(() => {
    const vectors = model.quant_conv.call(model.encoder.call(picture));
    const one = vectors.slice([0, row, column, 0], [1, row + 1, column + 1, vectors.shape[3]]);
    return grad([one.square().sum()], [picture])[0].abs().sum(3);
  });
  return await reach.floats();
}

/** The share of the whole in the tiles that are at most `around` tiles away. */
function shareOf(reach: Float32Array, row: number, column: number, around: number): number {
  const tile = model.factor;
  const isNear = (at: number, center: number) => Math.abs(Math.floor(at / tile) - center) <= around;
  let near = 0, all = 0;
  for (const [i, value] of reach.entries()) {
    all += value;
    if (isNear(Math.floor(i / side), row) && isNear(i % side, column)) near += value;
  }
  return near / all;
}

const [row, column] = [7, 5], reach = await reachOf(row, column);
for (const around of [0, 1, 2]) {
  const share = Math.round(100 * shareOf(reach, row, column, around));
  console.log(`${share} % within ${2 * around + 1}x${2 * around + 1} tiles`);
}
const most = reach.reduce((a, b) => Math.max(a, b));
pictureOf(reach.map((value) => (value / most) ** 0.4), side, heat);

// %% [markdown]
/*
## Try next

- Write the filters "below minus above" and "mean of the window" of the chapter. What does a filter whose
  weights add up to 0 make of a plain background?
- Let descent find your filter from another face. Now use a picture of one colour instead of a face. Why can
  the filter not be found?
- Look at the reach of a token in the background, [0, 0], and of one at the chin, [14, 8]. Does it see
  further?

[Chapter 3](../book/3-convolutions.md) · [All notebooks](README.md) · next:
[An autoencoder](4-autoencoder.ipynb)
*/
