// Chapter 4: the best answer to a question with several right answers. If a decoder cannot know which of five pictures was
// meant, the mean of the five has the least squared error, and the median of each number the least absolute error.
import { cropPicture, drawCartoonFace, type Picture } from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

const SIZE = 96, SIDE = 44;

/** The mean difference of a picture from each of the others, as numbers from 0 to 1. */
export function errors(picture: Picture, others: readonly Picture[]): { absolute: number; squared: number } {
  let absolute = 0, squared = 0;
  for (const { pixels } of others) {
    for (let i = 0; i < pixels.length; i++) {
      const difference = Math.abs(pixels[i] - picture.pixels[i]) / 255;
      absolute += difference;
      squared += difference ** 2;
    }
  }
  const count = others.length * picture.pixels.length;
  return { absolute: absolute / count, squared: squared / count };
}

/** Each number is `choose` of the five numbers at its place, in order of size. */
const combine = (pictures: readonly Picture[], choose: (sorted: number[]) => number): Picture => ({
  ...pictures[0],
  pixels: pictures[0].pixels.map((_, i) =>
    choose(pictures.map(({ pixels }) => pixels[i]).sort((a, b) => a - b))
  ),
});

export async function draw(): Promise<Picture> {
  const face = { width: SIZE, height: SIZE, pixels: await drawCartoonFace(8, SIZE) };
  const possible = [-8, -4, 0, 4, 8].map((shift) => cropPicture(face, 22 + shift, 32, SIDE, SIDE));
  const mean = combine(possible, (all) => Math.round(all.reduce((a, b) => a + b) / all.length));
  const median = combine(possible, (all) => all[2]);
  const sketch = await Sketch.of(1000, 226);
  sketch.text("five pictures that the tokens cannot tell apart", 10, 22, { bold: true });
  for (const [i, picture] of possible.entries()) await sketch.picture(picture, 10 + 96 * i, 34, 2);
  const answers = [["their mean", mean], ["their median", median], ["one of them", possible[2]]] as const;
  for (const [i, [name, picture]] of answers.entries()) {
    const left = 520 + 164 * i, { absolute, squared } = errors(picture, possible);
    sketch.text(name, left, 22, { bold: true });
    await sketch.picture(picture, left, 34, 3);
    sketch.text(`squared error ${squared.toFixed(4)}`, left, 188, { size: 13 });
    sketch.text(`absolute error ${absolute.toFixed(4)}`, left, 208, { size: 13 });
  }
  sketch.text("The errors are the mean over all five.", 10, 188, { size: 13, color: palette.soft });
  return await sketch.render();
}
