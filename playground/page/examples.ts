// The faces that the page begins with: a sheet of six that nobody has (SFHQ, MIT; docs/playground/faces.jpg).
/// <reference lib="dom" />
import { html } from "./dom.ts";

/** How the sheet is cut: columns, rows, and the side of a face in pixels. */
const columns = 3, rows = 2, side = 256;
export const exampleCount: number = columns * rows;

let sheet: Promise<ImageBitmap> | null = null;

/** One of the faces, counted from 0; after the last comes the first. */
export async function exampleFace(number: number): Promise<ImageData> {
  sheet ??= fetch("faces.jpg").then(async (response) => await createImageBitmap(await response.blob()));
  const canvas = html("canvas", { width: side, height: side }), g = canvas.getContext("2d")!;
  const left = number % columns * side, top = Math.floor(number / columns) % rows * side;
  g.drawImage(await sheet, left, top, side, side, 0, 0, side, side);
  return g.getImageData(0, 0, side, side);
}
