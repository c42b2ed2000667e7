// A tiny classifier that sees only tokens: which way is a picture turned? (Gidaris et al. 2018, arXiv 1803.07728, train
// networks with this question, because it needs no labels.) It looks up the code of each token, and multiplies all numbers of
// these codes by one matrix.
//   deno run -A examples/classify.ts [pictures] [folder]      (or: bun examples/classify.ts)
// It encodes 40 cartoons of 64x64 pixels, each turned in four ways, and learns from 30 of them. Expect it to be right about all
// of these, and about 36 of the 40 turned pictures that it has not seen (90 %; guessing would give 25 %).
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Adam, argmax, backward, drawCartoonFace, embedding, listImages, readImage, scope } from "../mod.ts";
import { matmul, softmax, tensor, VQGAN, zeros } from "../mod.ts";

const count = Number(process.argv[2] ?? 40), folder = process.argv[3], size = 64, turns = 4;
const paths = folder === undefined ? null : (await listImages(folder)).slice(0, count);
const model = await VQGAN.load(fileURLToPath(new URL("../models/faces.safetensors", import.meta.url)));

/** A picture turned by a quarter: the pixel at (row, column) comes from (column, size - 1 - row). */
const turned = (pixels: Uint8Array) =>
  pixels.map((_, i) => {
    const row = Math.floor(i / 3 / size), column = Math.floor(i / 3) % size;
    return pixels[(column * size + size - 1 - row) * 3 + i % 3];
  });
const tokens: number[] = [];
for (let i = 0; i < (paths?.length ?? count); i++) {
  let pixels = paths ? (await readImage(paths[i], { size })).pixels : await drawCartoonFace(i, size);
  for (let turn = 0; turn < turns; turn++, pixels = turned(pixels)) {
    tokens.push(...(await model.tokensOf({ width: size, height: size, pixels }, { size: 0 })).tokens);
  }
}
const each = (size / model.factor) ** 2, all = tokens.length / each; // 64 tokens
const learnt = Math.floor(0.75 * all / turns) * turns; // the other pictures are kept back with all of their turns

const features = each * model.config.embedDim, weight = zeros([features, turns]);
weight.requiresGrad = true;
const adam = new Adam(new Map([["weight", weight]]), { lr: 1e-3, betas: [0.9, 0.999] });
function scores(from: number, to: number) { // of the four turns, [to - from, 4]
  const some = tensor(Int32Array.from(tokens.slice(from * each, to * each)));
  return matmul(embedding(some, model.quantize.codebook.detach()).reshape(to - from, features), weight);
}
const answers = Array.from(
  { length: learnt * turns },
  (_, i) => Number(Math.floor(i / turns) % turns === i % turns),
);
const wanted = tensor(answers, [learnt, turns]); // 1 for the right turn, 0 for the others
for (let step = 0; step < 100; step++) {
  scope(() => {
    backward(softmax(scores(0, learnt)).mul(wanted).sum(1).log().mean().neg()); // cross-entropy
    adam.step();
    adam.zeroGrad();
  });
}
for (const [name, from, to] of [["learnt", 0, learnt], ["unseen", learnt, all]] as const) {
  const guesses = await scope(() => argmax(scores(from, to))).ints();
  const right = guesses.filter((guess, i) => guess === i % turns).length;
  console.log(`${name}: ${right} of ${to - from} turns are right`);
}
model.dispose();
