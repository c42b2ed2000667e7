// Draws docs/face.png: pictures, their tokens, and what the small model makes of the tokens.
//   deno run -A docs/figures/face.ts face.jpg another.jpg
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Picture, readImage, savePng, sideBySide, tokenGrid, VQGAN } from "../../mod.ts";

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const model = await VQGAN.load(inRepository("models/faces.safetensors"));
const { resolution } = model.config.ddconfig;
const row: Picture[] = [];
for (const path of process.argv.slice(2)) {
  const { tokens, grid } = await model.tokensOf(path);
  const tiles = await tokenGrid(tokens, grid, { tile: model.factor });
  row.push(await readImage(path, { size: resolution }), tiles, await model.pictureOf(tokens, grid));
}
const labels = ["picture", "its 256 tokens", "from the tokens"];
const sheet = await sideBySide([row], { labels: row.map((_, i) => labels[i % 3]) });
await savePng(inRepository("docs/face.png"), sheet);
model.dispose();
