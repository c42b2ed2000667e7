// Chapter 1: a picture, its pixels, and the numbers of its three channels.
import { drawCartoonFace, type Picture, toFloats } from "../../../mod.ts";
import { cropPicture } from "../../../core.ts";
import { palette, Sketch } from "./sketch.ts";

const SIZE = 32, LEFT = 8, TOP = 12, SIDE = 6;

export async function draw(): Promise<Picture> {
  const face = { width: SIZE, height: SIZE, pixels: await drawCartoonFace(8, SIZE) };
  const patch = cropPicture(face, LEFT, TOP, SIDE, SIDE), numbers = toFloats(patch.pixels);
  const sketch = await Sketch.of(1000, 268);
  await sketch.picture(face, 10, 34, 7);
  sketch.text("a picture, [32, 32, 3]", 10, 22);
  sketch.box(10 + 7 * LEFT, 34 + 7 * TOP, 7 * SIDE, 7 * SIDE, palette.red);
  await sketch.picture(patch, 264, 34, 37);
  sketch.text("a part of it, [6, 6, 3]", 264, 22);
  sketch.box(264, 34, 37 * SIDE, 37 * SIDE, palette.red);
  ["red", "green", "blue"].forEach((name, channel) => {
    const left = 512 + 163 * channel, cell = 25.5;
    sketch.text(`channel ${channel}: ${name}`, left, 22);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const value = numbers[3 * i + channel], byte = Math.round(127.5 * (value + 1));
      const rgb = [0, 0, 0].map((_, c) => c === channel ? 255 : 255 - (255 - byte) * 0.85)
        .map((level, c) => Math.round(c === channel ? 90 + 165 * byte / 255 : level * byte / 255));
      const x = left + cell * (i % SIDE), y = 34 + cell * Math.floor(i / SIDE);
      sketch.box(x, y, cell, cell, "#fff", `rgb(${rgb})`);
      const color = byte > 110 ? palette.ink : "#fff";
      sketch.text(value.toFixed(1).replace("-0.0", "0.0"), x + cell / 2, y + 16, {
        size: 9,
        anchor: "middle",
        color,
      });
    }
  });
  sketch.text("The same 36 pixels as numbers from -1 to 1.", 512, 216, { color: palette.soft });
  sketch.text("In memory: red, green and blue of the first pixel, then of the next.", 512, 238, {
    color: palette.soft,
  });
  return await sketch.render();
}
