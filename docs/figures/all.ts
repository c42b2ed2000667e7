// Redraws the figures: `deno task figures`, or only some of them: `deno task figures pixels house`. (docs/face.png is not among
// them, because it needs photographs: face.ts.)
import { writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Picture, savePng } from "../../mod.ts";
import { draw as blur } from "./book/blur.ts";
import { draw as codes } from "./book/codes.ts";
import { draw as descent } from "./book/descent.ts";
import { draw as edge } from "./book/edge.ts";
import { draw as eyes } from "./book/eyes.ts";
import { draw as filters } from "./book/filters.ts";
import { draw as parts } from "./book/parts.ts";
import { draw as pixels } from "./book/pixels.ts";
import { draw as receptive } from "./book/receptive.ts";
import { drawHouse } from "./house.ts";

/** The figures of the book, docs/book/images/NAME.png. */
export const figures: Readonly<Record<string, () => Promise<Picture>>> = {
  pixels,
  descent,
  filters,
  receptive,
  blur,
  codes,
  eyes,
  edge,
  parts,
};

export const imagePath = (name: string): string =>
  fileURLToPath(new URL(`../book/images/${name}.png`, import.meta.url));

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const names = process.argv.slice(2),
    isWanted = (name: string) => names.length === 0 || names.includes(name);
  if (isWanted("house")) writeFileSync(new URL("../house.svg", import.meta.url), drawHouse());
  for (const [name, draw] of Object.entries(figures)) {
    if (!isWanted(name)) continue;
    await savePng(imagePath(name), await draw());
    console.log(`docs/book/images/${name}.png`);
  }
}
