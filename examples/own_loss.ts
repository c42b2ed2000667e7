// A loss of your own: pixels around the eyes count for more than all others. Any function of tensors that returns one number
// can be a loss. You need not write its gradient, because autograd knows those of the operations in it.
//   deno run -A examples/own_loss.ts [steps] [picture]      (or: bun examples/own_loss.ts)
// It optimises the vectors that the decoder turns into one picture of 64x64 pixels, starting with the picture's codes: once
// with equal weights, and once with this loss. Writes own_loss.png: the picture, its reconstruction, and both results. Expect
// for the mean of |x - y|:
//   at the start 0.225 around the eyes and 0.143 elsewhere; equal weights 0.173 and 0.088; this loss 0.161 and 0.095
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Adam, asyncScope, backward, drawCartoonFace, ones, readImage, savePng, scope } from "../mod.ts";
import { sideBySide, type Tensor, tensor, toFloats, toPictures, VQGAN } from "../mod.ts";

const steps = Number(process.argv[2] ?? 40), path = process.argv[3], size = 64;
const model = await VQGAN.load(fileURLToPath(new URL("../models/faces.safetensors", import.meta.url)));
model.setRequiresGrad(false); // only the vectors learn here; in a training it would be the weights
const pixels = path ? (await readImage(path, { size })).pixels : await drawCartoonFace(2, size);

/** 1 around the eyes and 0 elsewhere, the same for all colours. */
const isAtEyes = (x: number, y: number) => x >= 12 && x < 52 && y >= 28 && y < 44;
const places = Array.from({ length: size ** 2 }, (_, i) => isAtEyes(i % size, Math.floor(i / size)));
const eyes = tensor(places.map(Number), [size, size, 1]);

/** The mean of |x - y|, in which each pixel counts as much as `weights` [size, size, 1] says. */
const weightedL1 = (x: Tensor, y: Tensor, weights: Tensor): Tensor =>
  scope(() => x.sub(y).abs().mul(weights).sum().div(weights.sum().mul(3 * x.shape[0])));

await asyncScope(async () => {
  const image = tensor(toFloats(pixels, model.range), [1, size, size, 3]);
  const codes = model.encode(image).latents;
  const others = ones(eyes.shape).sub(eyes), drawn = [image];
  const show = async (name: string, vectors: Tensor) => {
    const again = model.decode(vectors);
    const errors = [eyes, others].map((weights) => weightedL1(again, image, weights).item());
    const [there, elsewhere] = (await Promise.all(errors)).map((error) => error.toFixed(3));
    console.log(`${name}: ${there} around the eyes, ${elsewhere} elsewhere`);
    drawn.push(again);
  };
  await show("codes", codes);
  for (const factor of [1, 10]) {
    const vectors = codes.mul(1), weights = eyes.mul(factor - 1).add(1);
    vectors.requiresGrad = true;
    const adam = new Adam(new Map([["vectors", vectors]]), { lr: 0.02 });
    for (let step = 0; step < steps; step++) {
      scope(() => { // frees what a step makes
        backward(weightedL1(model.decode(vectors, { grad: true }), image, weights));
        adam.step();
        adam.zeroGrad();
      });
    }
    await show(`eyes count ${factor} times`, vectors);
    adam.dispose();
  }
  const pictures = await Promise.all(
    drawn.map(async (t) => toPictures(await t.floats(), t.shape, model.range)[0]),
  );
  await savePng("own_loss.png", await sideBySide([pictures]));
});
model.dispose();
