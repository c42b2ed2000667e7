// Swaps the tokens around the eyes of two faces. A token says what is in its tile, and its place in the grid says where, so a
// part of one face can be put into another one, without training and without editing pixels.
//   deno run -A examples/swap_tokens.ts [picture] [picture] [checkpoint]      (or: bun examples/swap_tokens.ts)
// Writes swap_tokens.png: both faces from their own tokens, and both with the other's eyes. With the two cartoons that it
// draws, expect 40 of the 256 tokens to be swapped, and pixels to change by 48 of 255 in their tiles and by 3.1 in all others.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { drawCartoonFace, readImage, savePng, sideBySide, VQGAN } from "../mod.ts";

const shipped = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url));
const [first, second, checkpoint = shipped] = process.argv.slice(2);
const model = await VQGAN.load(checkpoint);
const size = model.config.ddconfig.resolution;
const face = async (path: string | undefined, seed: number) =>
  path
    ? await readImage(path, { size })
    : { width: size, height: size, pixels: await drawCartoonFace(seed, size) };
const [a, b] = await Promise.all([
  model.tokensOf(await face(first, 2)),
  model.tokensOf(await face(second, 9)),
]);

/** The tokens of one face, with those around the eyes taken from another one. Tokens are stored row by row. */
const [rows, columns] = a.grid;
const isAtEyes = (at: number) => {
  const y = Math.floor(at / columns) / rows, x = at % columns / columns;
  return y >= 7 / 16 && y < 11 / 16 && x >= 3 / 16 && x < 13 / 16;
};
const withEyesOf = (eyes: Int32Array, rest: Int32Array) =>
  rest.map((token, at) => isAtEyes(at) ? eyes[at] : token);

const lists = [a.tokens, b.tokens, withEyesOf(b.tokens, a.tokens), withEyesOf(a.tokens, b.tokens)];
const pictures = await Promise.all(lists.map((tokens) => model.pictureOf(tokens, [rows, columns])));
const swapped = a.tokens.filter((_, at) => isAtEyes(at)).length;
console.log(`${swapped} of ${a.tokens.length} tokens swapped`);

// The decoder looks at more than one tile, so pixels outside of the swapped tiles change as well, most of all beside them.
const [before, , after] = pictures, f = model.factor;
let [inside, outside] = [0, 0];
for (let i = 0; i < before.pixels.length; i++) {
  const x = Math.floor(i / 3) % before.width, y = Math.floor(i / 3 / before.width);
  const change = Math.abs(after.pixels[i] - before.pixels[i]);
  if (isAtEyes(Math.floor(y / f) * columns + Math.floor(x / f))) inside += change;
  else outside += change;
}
const mean = (sum: number, tokens: number) => (sum / (tokens * f * f * 3)).toFixed(1);
console.log(
  `mean change of a pixel: ${mean(inside, swapped)} of 255 in their tiles, ` +
    `${mean(outside, a.tokens.length - swapped)} in all others`,
);
const labels = ["a", "b", "a, eyes of b", "b, eyes of a"];
await savePng("swap_tokens.png", await sideBySide([pictures], { labels }));
console.log("swap_tokens.png: both faces, and both with the eyes of the other");
model.dispose();
