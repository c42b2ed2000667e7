// The notebook of chapter 1: `deno task notebooks 1-pictures` makes 1-pictures.ipynb of this file.

// %% [markdown]
/*
# 1. Pictures as tensors

*A picture is a list of numbers and a shape.* This notebook belongs to
[chapter 1 of the book](../book/1-pictures.md). Run its cells from top to bottom with Shift and Enter, then
change something and run them again.
*/

// %%
import {
  concat,
  cropPicture,
  drawCartoonFace,
  Picture,
  plotCurves,
  Random,
  readImage,
  tensor,
  toFloats,
  VQGAN,
} from "../../mod.ts";

const size = 48;
const face = new Picture(size, size, await drawCartoonFace(8, size));
face;

// %% [markdown]
/*
A cell that ends with a picture shows it. This one is small, so each of its pixels is drawn as a square. Its
`pixels` are 48 · 48 · 3 = 6,912 bytes. `toFloats` turns them into numbers from −1 to 1, and `tensor` adds the
shape [batch, height, width, channels]. Where in this list is the pixel in row 20 and column 24? The formula
of the chapter says it:
*/

// %%
const values = toFloats(face.pixels), images = tensor(values, [1, size, size, 3]);
const [y, x] = [20, 24], place = (y * size + x) * 3;
console.log("place", place, "bytes", [...face.pixels.subarray(place, place + 3)]);
console.log("numbers", [...values.subarray(place, place + 3)].map((value) => value.toFixed(2)));
images;

// %% [markdown]
/*
## Arithmetic

Operations work on all numbers at once. A tensor of several pictures shows them all. In reading order: the
face; 0.5 subtracted from each number; each number negated; each number multiplied by 0.3. Which of them has
less contrast, and why?
*/

// %%
concat([images, images.sub(0.5), images.neg(), images.mul(0.3)], 0);

// %% [markdown]
/*
The three channels one by one: red, green, blue. A tensor with one channel is shown in grey, bright where
there is much of the colour. Skin is mostly red, so it is brightest in the first picture.
*/

// %%
const channel = (c: number) => images.slice([0, 0, 0, c], [1, size, size, c + 1]);
concat([channel(0), channel(1), channel(2)], 0);

// %% [markdown]
/*
## Experiment: how much noise is 20 dB?

PSNR measures how far a copy is from the original; more is better. Add noise of growing strength and look at
both, the numbers and the pictures. With strength s the squared error is s² (pixels reach from −1 to 1, a
range of 2), so PSNR = −10 log₁₀(s² / 4). Expect 26 dB at 0.1, and 6 dB less each time the noise doubles.
(Where the face is white or black, noise is cut off at the end of the range, so the pictures that you see are
a little better.)
*/

// %%
const noise = new Random(1).normal(images.shape), strengths = [0.1, 0.2, 0.4];
const noisy = strengths.map((strength) => images.add(noise.mul(strength)));
for (const [i, copy] of noisy.entries()) {
  const error = await copy.sub(images).square().mean().item();
  console.log(`noise ${strengths[i]}: PSNR ${(-10 * Math.log10(error / 4)).toFixed(1)} dB`);
}
concat(noisy, 0);

// %% [markdown]
/*
## Experiment: the wrong range

Many programs feed a network with numbers from 0 to 1 although it expects −1 to 1. Nothing crashes. The small
model that comes with Tessera turns a face of 128×128 into 16×16 tokens and back. (It was trained on synthetic
photographs like this one, a part of docs/face.png.) On the left is the face, then the model's copy, then the
copy after the mistake: the model sees a pale, foggy picture and faithfully draws fog. Expect hardly any of the 256
tokens to stay the same (two, by chance).
*/

// %%
const model = await VQGAN.load("../../models/faces.safetensors"), side = model.config.ddconfig.resolution;
const photo = cropPicture(await readImage("../face.png"), 4, 32, side, side);
const right = tensor(toFloats(photo.pixels), [1, side, side, 3]);
const wrong = right.add(1).mul(0.5); // from 0 to 1
const [good, bad] = [right, wrong].map((input) => model.encode(input).indices);
const [goodTokens, badTokens] = [await good.ints(), await bad.ints()];
const same = goodTokens.filter((token, i) => token === badTokens[i]).length;
console.log(`${same} of ${goodTokens.length} tokens are the same`);
concat([right, model.decodeTokens(good), model.decodeTokens(bad)], 0);

// %% [markdown]
/*
What happens between the right range and the wrong one? Mix both inputs, from 0 (right) to 1 (wrong), and
count the tokens that stay. Tokens are choices, so already a little fog changes many of them.
*/

// %%
const mixes = [0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1], kept: number[] = [];
for (const mix of mixes) {
  const tokens = await model.encode(right.mul(1 - mix).add(wrong.mul(mix))).indices.ints();
  kept.push(100 * tokens.filter((token, i) => token === goodTokens[i]).length / tokens.length);
}
const percent = mixes.map((mix) => 100 * mix);
await plotCurves([{
  title: "Tokens that stay the same, in %",
  series: [{ name: "kept", steps: percent, values: kept }],
}], {
  width: 640,
  height: 320,
  xLabel: "% of the wrong range",
});

// %% [markdown]
/*
## Try next

- Draw another face: change the 8 in the first cell to any whole number.
- Read a photograph of your own: `const face = await readImage("/path/to/photo.jpg", { size: 48 });` (`size`
  is the shorter side; a square is cut from the middle).
- Put red and blue the wrong way round with `concat([channel(2), channel(1), channel(0)], 3)` and let the
  model draw it. Does it know that skin is not blue?
- `toPictures(await images.floats(), images.shape)` turns a tensor into pictures, and
  `savePng("face.png", picture)` writes one into a file (add both to the imports).

[Chapter 1](../book/1-pictures.md) · [All notebooks](README.md) · next: [Gradients](2-gradients.ipynb)
*/
