// Pictures on canvases, and the colours of heat maps.
/// <reference lib="dom" />
import { type Picture, toRgba } from "../../data/pictures/picture.ts";
import { html } from "./dom.ts";

/** A canvas that shows a picture, with a text for those who do not see it. */
export function pictureCanvas(label: string): HTMLCanvasElement {
  return html("canvas", { width: 128, height: 128, className: "picture", role: "img", "aria-label": label });
}

export function pen(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  return canvas.getContext("2d", { willReadFrequently: true })!;
}

/** Shows a picture; null empties the canvas. */
export function showPicture(canvas: HTMLCanvasElement, picture: Picture | null): void {
  if (picture === null) return pen(canvas).clearRect(0, 0, canvas.width, canvas.height);
  const { data, width, height } = toRgba(picture);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  pen(canvas).putImageData(new ImageData(data, width), 0, 0);
}

/** Shows numbers, row by row, in the colours that `color` gives them. */
export function showMap(
  canvas: HTMLCanvasElement,
  values: ArrayLike<number>,
  width: number,
  color: (value: number) => readonly [red: number, green: number, blue: number],
): void {
  const image = new ImageData(width, values.length / width);
  for (let i = 0, at = 0; i < values.length; i++) {
    const [red, green, blue] = color(values[i]);
    image.data[at++] = red;
    image.data[at++] = green;
    image.data[at++] = blue;
    image.data[at++] = 255;
  }
  Object.assign(canvas, { width: image.width, height: image.height });
  pen(canvas).putImageData(image, 0, 0);
}

/** From blue, for -1, over white to orange, for 1. */
export function blueOrOrange(value: number): [red: number, green: number, blue: number] {
  const part = Math.min(1, Math.abs(value)), end = value < 0 ? [20, 92, 170] : [214, 96, 0];
  return end.map((channel) => Math.round(250 + (channel - 250) * part)) as [number, number, number];
}

/** Where a heat map changes, from nothing to the most: dark blue, violet, orange, pale yellow, as red, green and blue. */
const ramp = [[13, 20, 48], [84, 24, 110], [188, 55, 84], [249, 142, 9], [252, 255, 190]] as const;

/** The colour of a value from 0 to 1 in a heat map. */
export function heat(value: number): [red: number, green: number, blue: number] {
  const at = Math.min(1, Math.max(0, value)) * (ramp.length - 1),
    below = Math.min(ramp.length - 2, Math.floor(at));
  const mixed = ramp[below].map((from, i) => Math.round(from + (ramp[below + 1][i] - from) * (at - below)));
  return mixed as [number, number, number];
}

/** The colour as CSS has it. */
export const css = (color: ArrayLike<number>, at = 0): string =>
  `rgb(${color[at]} ${color[at + 1]} ${color[at + 2]})`;
