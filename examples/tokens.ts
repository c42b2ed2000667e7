// A picture becomes tokens, the tokens become a picture, and a wrong token shows what one tile is worth.
//   deno run -A examples/tokens.ts [picture] [checkpoint]      (or: bun examples/tokens.ts)
// Writes tokens.png: the picture, its reconstruction, and the reconstruction with one token changed.
import process from "node:process";
import {
  asyncScope,
  drawCartoonFace,
  grid,
  type Picture,
  readImage,
  savePng,
  tensor,
  toFloats,
  toPictures,
  VQGAN,
} from "../mod.ts";

const [path, checkpoint = new URL("../models/faces.safetensors", import.meta.url).pathname] = process.argv
  .slice(2);
const model = await VQGAN.load(checkpoint);
const size = model.config.ddconfig.resolution;
const picture: Picture = path
  ? await readImage(path, { size })
  : { width: size, height: size, pixels: await drawCartoonFace(7, size) };

await asyncScope(async () => {
  const show = async (tokens: ArrayLike<number>, rows: number, columns: number) => {
    const made = model.decodeTokens(tokens, [rows, columns]);
    return toPictures(await made.floats(), made.shape)[0];
  };
  const { indices } = model.encode(tensor(toFloats(picture.pixels), [1, size, size, 3]));
  const [, rows, columns] = indices.shape;
  const tokens = await indices.ints();
  for (let row = 0; row < rows; row++) {
    console.log(
      [...tokens.subarray(row * columns, (row + 1) * columns)].map((t) => String(t).padStart(5)).join(" "),
    );
  }
  const changed = tokens.slice();
  const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  changed[middle] = (changed[middle] + 1) % model.config.nEmbed;
  const pictures = [picture, await show(tokens, rows, columns), await show(changed, rows, columns)];
  await savePng("tokens.png", grid(pictures, { columns: 3 }));
  console.log(`tokens.png: the picture, ${tokens.length} tokens decoded, and one of them changed`);
});
model.dispose();
