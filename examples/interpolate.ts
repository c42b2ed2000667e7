// From one face to another in seven steps, in three ways: by mixing pixels, by mixing codes, and by replacing each mixed vector
// with its nearest code.
//   deno run -A examples/interpolate.ts [picture] [picture] [checkpoint]      (or: bun examples/interpolate.ts)
// Writes interpolate.png, with a row for each way, and prints where the tokens of the third row come from. Half way between the
// two cartoons that it draws, expect 5 % of the first one's tokens, 5 % of the second one's, and 92 % that neither has at this
// place.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { asyncScope, concat, drawCartoonFace, grid, readImage, savePng, tensor, VQGAN } from "../mod.ts";
import { toFloats, toPictures } from "../mod.ts";

const shipped = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url));
const [first, second, checkpoint = shipped] = process.argv.slice(2);
const model = await VQGAN.load(checkpoint);
const size = model.config.ddconfig.resolution;
const pixels = async (path: string | undefined, seed: number) =>
  path ? (await readImage(path, { size })).pixels : await drawCartoonFace(seed, size);
const faces = [await pixels(first, 2), await pixels(second, 9)];
const amounts = [0, 1, 2, 3, 4, 5, 6].map((i) => i / 6);

await asyncScope(async () => { // frees all tensors that are made in here
  const [a, b] = faces.map((bytes) => tensor(toFloats(bytes, model.range), [1, size, size, 3]));
  const [codesOfA, codesOfB] = [a, b].map((image) => model.encode(image).latents); // [1, h, w, numbers of a code]
  const mixed = amounts.map((t) => codesOfA.mul(1 - t).add(codesOfB.mul(t)));
  const tokens = mixed.map((vectors) => model.quantize.encode(vectors)); // the nearest codes
  const rows = [
    amounts.map((t) => a.mul(1 - t).add(b.mul(t))), // a cross-fade
    mixed.map((vectors) => model.decode(vectors)), // vectors that the decoder has not seen, between two codes
    tokens.map((indices) => model.decodeTokens(indices)), // codes again, each one of a, of b, or of something else
  ];

  const sheet = concat(rows.flat(), 0); // [21, size, size, 3]
  const pictures = toPictures(await sheet.floats(), sheet.shape, model.range);
  await savePng("interpolate.png", grid(pictures, { columns: amounts.length }));

  const [ofA, ofB] = await Promise.all([tokens[0].ints(), tokens[6].ints()]);
  for (const [i, t] of amounts.entries()) {
    const now = await tokens[i].ints();
    const share = (belongs: (token: number, at: number) => boolean) =>
      `${Math.round(100 * now.filter(belongs).length / now.length)} %`.padStart(5);
    const isOfA = (token: number, at: number) => token === ofA[at];
    const isOfB = (token: number, at: number) => token === ofB[at];
    const isNew = (token: number, at: number) => !isOfA(token, at) && !isOfB(token, at);
    console.log(
      `${t.toFixed(2)}: ${share(isOfA)} tokens of a, ${share(isOfB)} of b, ${share(isNew)} of neither`,
    );
  }
});
console.log("interpolate.png: pixels mixed, codes mixed, nearest codes");
model.dispose();
