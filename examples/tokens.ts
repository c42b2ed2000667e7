// Turns a picture into tokens and back, and then changes one token, to show how much of the picture it affects.
//   deno run -A examples/tokens.ts [picture] [checkpoint]      (or: bun examples/tokens.ts)
// Writes tokens.png: the picture, its reconstruction, and the reconstruction with one token changed.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { drawCartoonFace, grid, readImage, savePng, VQGAN } from "../mod.ts";

const [path, checkpoint = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url))] = process
  .argv
  .slice(2);
const model = await VQGAN.load(checkpoint);
const size = model.config.ddconfig.resolution;
const picture = path
  ? await readImage(path, { size })
  : { width: size, height: size, pixels: await drawCartoonFace(7, size) };

const { tokens, grid: [rows, columns] } = await model.tokensOf(picture);
for (let row = 0; row < rows; row++) {
  console.log(
    [...tokens.subarray(row * columns, (row + 1) * columns)].map((t) => String(t).padStart(5)).join(" "),
  );
}
const changed = tokens.slice();
const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
changed[middle] = (changed[middle] + 1) % model.vocabulary;
const shown = [tokens, changed].map((tokens) => model.pictureOf(tokens, [rows, columns]));
await savePng("tokens.png", grid([picture, ...await Promise.all(shown)], { columns: 3 }));
console.log(`tokens.png: the picture, ${tokens.length} tokens decoded, and one of them changed`);
model.dispose();
