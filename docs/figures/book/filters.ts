// Chapter 3: what four filters of 3x3 numbers make of a picture.
import { conv2d, drawCartoonFace, type Picture, scope, tensor, toFloats } from "../../../mod.ts";
import { palette, pictureOf, redOrBlue, Sketch } from "./sketch.ts";

const SIZE = 96;
const filters: readonly (readonly [name: string, weights: readonly number[]])[] = [
  ["the pixel itself", [0, 0, 0, 0, 1, 0, 0, 0, 0]],
  ["mean of the window", [1, 1, 1, 1, 1, 1, 1, 1, 1].map((n) => n / 9)],
  ["right minus left", [-1, 0, 1, -2, 0, 2, -1, 0, 1].map((n) => n / 4)],
  ["below minus above", [-1, -2, -1, 0, 0, 0, 1, 2, 1].map((n) => n / 4)],
];

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(900, 310);
  const rgb = tensor(toFloats(await drawCartoonFace(8, SIZE)), [1, SIZE, SIZE, 3]), grey = rgb.mean(3, true);
  for (const [i, [name, weights]] of filters.entries()) {
    const left = 10 + 226 * i;
    const out = scope(() => conv2d(grey, tensor(weights, [1, 1, 3, 3]), null, { padding: 1 }));
    const color = i < 2
      ? (v: number) => [0, 0, 0].map(() => Math.round(127.5 * (v + 1))) as [number, number, number]
      : redOrBlue;
    sketch.text(name, left, 22, { bold: true });
    await sketch.picture(pictureOf(await out.floats(), SIZE, color), left, 32, 2);
    for (const [k, weight] of weights.entries()) {
      const x = left + 46 + 34 * (k % 3), y = 234 + 24 * Math.floor(k / 3);
      sketch.box(x, y, 34, 24, palette.faint);
      sketch.text(String(Number(weight.toFixed(2))), x + 17, y + 17, { size: 12, anchor: "middle" });
    }
    out.dispose();
  }
  rgb.dispose();
  grey.dispose();
  return await sketch.render();
}
