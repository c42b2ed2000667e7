// The notebook of chapter 6: `deno task notebooks 6-lpips` makes 6-lpips.ipynb of this file.

// %% [markdown]
/*
# 6. LPIPS: looking with another network's eyes

*Compare pictures by what another network sees in them.* This notebook belongs to
[chapter 6](../book/6-lpips.md). It compares two ways of measuring, by pixels and by features. The real LPIPS
needs the weights of a classifier; here the encoder of Tessera's small model looks instead, because it is at
hand and shows the same effects.
*/

// %%
import {
  Adam,
  backward,
  captureOutputs,
  concat,
  drawCartoonFace,
  plotCurves,
  Random,
  scope,
} from "../../mod.ts";
import { type Tensor, tensor, toFloats, VQGAN } from "../../mod.ts";
import { blurred, featureDistance, moved } from "../figures/book/eyes.ts";

const model = await VQGAN.load("../../models/faces.safetensors"), size = 48;
model.setRequiresGrad(false); // pictures will learn, and not the model
const face = tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]);
const pixelError = (a: Tensor, b: Tensor) => scope(() => a.sub(b).square().mean());
face;

// %% [markdown]
/*
## What the network sees

The first block of each level of the encoder makes 64 or more pictures of the face, called *feature maps*.
Here are eight of the first level and eight of the second, each scaled by its own largest value: grey is 0.
Some see edges, others light or colours.
*/

// %%
const levels = ["encoder.down.0.block.0", "encoder.down.1.block.0"];
const { outputs } = captureOutputs(model, levels, () => model.encoder.call(face));
for (const level of levels) {
  const maps = outputs.get(level)!, [, height, width] = maps.shape;
  const first = maps.slice([0, 0, 0, 0], [1, height, width, 8]).permute(3, 1, 2, 0);
  const most = Math.max(...await first.abs().floats());
  await Deno.jupyter.display(first.mul(2 / most));
}

// %% [markdown]
/*
## Experiment: move the picture by a few pixels

A picture that is shifted by one pixel looks the same to you. Compare shifts of up to six pixels with a blur
over 5×5 pixels. Both distances are divided by that of the blur, so that 1 means "as bad as the blur". Expect
a shift by a single pixel to be worse than the blur by pixels (1.42) and better by features (0.62). From four
pixels on the features mind more: now eyes lie where there were none. (At 48×48, a pixel is as large as five
pixels of a photograph of 256×256.)
*/

// %%
const soft = blurred(face);
const [blurByPixels, blurByFeatures] = [
  await pixelError(face, soft).item(),
  await featureDistance(model, face, soft).item(),
];
const shifts = [0, 1, 2, 3, 4, 5, 6], byPixels: number[] = [], byFeatures: number[] = [];
for (const shift of shifts) {
  const other = moved(face, 0, shift);
  byPixels.push(await pixelError(face, other).item() / blurByPixels);
  byFeatures.push(await featureDistance(model, face, other).item() / blurByFeatures);
}
console.log(
  `shifted by one pixel: ${byPixels[1].toFixed(2)} by pixels, ${byFeatures[1].toFixed(2)} by features`,
);
await Deno.jupyter.display(concat([face, moved(face, 0, 1), moved(face, 0, 4), soft], 0));
await plotCurves([{
  title: "Distance from the face, in blurs",
  series: [{ name: "by pixels", steps: shifts, values: byPixels }, {
    name: "by features",
    steps: shifts,
    values: byFeatures,
  }],
}], { width: 640, height: 320, smoothing: 0, xLabel: "shift in pixels" });

// %% [markdown]
/*
## Watch two losses draw

Start with grey noise and let Adam move the pixels, so that a distance to the face gets smaller: first the
distance of features alone, then the squared error of pixels alone, then their sum; the fourth picture is the
face. Expect the second to arrive within 30 steps (36 dB). The first finds edges, and its colours and
brightness stay wrong for long (13 dB): the features hardly care about them. That is why VQGAN adds LPIPS to
the difference of pixels, and does not replace it.
*/

// %%
const noise = new Random(2).normal(face.shape, 0, 0.2);
const losses: ((x: Tensor) => Tensor)[] = [
  (x) => featureDistance(model, x, face),
  (x) => pixelError(x, face),
  (x) => featureDistance(model, x, face).add(pixelError(x, face)),
];
const canvases = losses.map(() => noise.mul(1));
for (const canvas of canvases) canvas.requiresGrad = true;
const painters = canvases.map((canvas) => new Adam(new Map([["pixels", canvas]]), { lr: 0.05 }));
for (let step = 0; step <= 30; step++) {
  if (step % 5 === 0) {
    const now = scope(() => concat([...canvases.map((canvas) => canvas.detach()), face], 0));
    await Deno.jupyter.display(now, { display_id: "canvases", update: step > 0 });
    now.dispose();
  }
  for (const [i, painter] of painters.entries()) {
    scope(() => backward(losses[i](canvases[i])));
    painter.step();
    painter.zeroGrad();
  }
}
for (const [i, name] of ["features", "pixels", "both"].entries()) {
  const psnr = -10 * Math.log10(await pixelError(canvases[i].detach(), face).item() / 4);
  const distance = await featureDistance(model, canvases[i].detach(), face).item();
  console.log(`${name}: PSNR ${psnr.toFixed(1)} dB, distance of features ${distance.toFixed(2)}`);
}

// %% [markdown]
/*
## Try next

- Brightness: compare `face` with `face.add(0.2)` by both measures. Which of them minds?
- Weigh the sum: `.add(pixelError(x, face).mul(0.1))`. When do the colours go wrong?
- With the weights of the real LPIPS on your disk: `new LPIPS("vgg")` and `loadPerceptual`, as in
  `docs/figures/book/eyes.ts`, and `lpips.call(face, other)` in place of `featureDistance`.

[Chapter 6](../book/6-lpips.md) · [All notebooks](README.md) · next:
[The discriminator](7-discriminator.ipynb)
*/
