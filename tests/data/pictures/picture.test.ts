// Pixels in memory: conversion to floats and back, to RGBA and back, and the errors for invalid pictures.
import { describe, expect, test } from "bun:test";
import {
  cropPicture,
  encodePng,
  flipPicture,
  fromRgba,
  readImage,
  savePng,
  toFloats,
  toPictures,
  toPixels,
  toRgba,
} from "../../../data/index.ts";

/** A value that passes only without a type check. */
const wrong = (value: unknown) => value as never;
const picture = { width: 2, height: 1, pixels: Uint8Array.of(1, 2, 3, 4, 5, 6) };

describe("ranges", () => {
  test("every byte survives conversion to floats and back", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const range of ["signed", "unit"] as const) {
      expect(toPixels(toFloats(bytes, range), range)).toEqual(bytes);
    }
    expect([...toFloats(Uint8Array.of(0, 255), "signed")]).toEqual([-1, 1]);
    expect([...toFloats(Uint8Array.of(0, 255), "unit")]).toEqual([0, 1]);
  });

  test("values out of range are clamped, halves are rounded up, NaN becomes black", () => {
    expect([...toPixels(Float32Array.of(-3, 3, NaN, 0), "signed")]).toEqual([0, 255, 0, 128]);
    expect([...toPixels(Float32Array.of(-0.1, 1.5, 0.5), "unit")]).toEqual([0, 255, 128]);
    const [first, second] = toPictures(new Float32Array(2 * 2 * 4 * 3).fill(1), [2, 2, 4, 3]);
    expect([first.width, first.height, second.pixels[23]]).toEqual([4, 2, 255]);
    expect(() => toPictures(new Float32Array(5), [1, 1, 1, 3])).toThrow("5 values with shape [1,1,1,3]");
  });
});

describe("RGBA", () => {
  test("to RGBA and back, with both kinds of byte arrays", () => {
    const rgba = toRgba(picture);
    expect([...rgba.data]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
    expect(rgba.data instanceof Uint8ClampedArray).toBe(true);
    expect(fromRgba(rgba)).toEqual(picture);
    expect(fromRgba({ ...rgba, data: Uint8Array.from(rgba.data) })).toEqual(picture);
  });

  test("transparent pixels become white, as in a file read by readImage", async () => {
    const data = Uint8ClampedArray.of(255, 0, 0, 255, 200, 100, 0, 128, 9, 9, 9, 0);
    const { pixels } = fromRgba({ width: 3, height: 1, data });
    expect([...pixels]).toEqual([255, 0, 0, 227, 177, 127, 255, 255, 255]);
    expect(await readImage({ width: 3, height: 1, data })).toEqual({ width: 3, height: 1, pixels });
  });
});

const cases: [string, () => unknown, string][] = [
  [
    "RGBA with the wrong size",
    () => fromRgba({ width: 2, height: 1, data: new Uint8Array(6) }),
    "fromRgba: 6 bytes for 2x1 RGBA, expected 8",
  ],
  [
    "RGBA as floats",
    () => fromRgba({ width: 1, height: 1, data: wrong([1, 2, 3, 4]) }),
    "width, height and data are [1, 1, [1, 2, 3, 4]]",
  ],
  [
    "RGBA instead of RGB",
    () => flipPicture({ ...picture, pixels: new Uint8Array(8) }),
    "8 bytes for 2x1 RGB, expected 6; fromRgba() takes four",
  ],
  [
    "no picture",
    () => toRgba(wrong(undefined)),
    "toRgba: got undefined, expected a picture: { width, height, pixels: Uint8Array }",
  ],
  [
    "pixels in a list",
    () => toRgba({ width: 1, height: 1, pixels: wrong([1, 2, 3]) }),
    "toRgba: got { width, height, pixels }, expected",
  ],
  [
    "a crop at a fraction",
    () => cropPicture(picture, 0.5, 0, 1, 1),
    "cropPicture: left is 0.5, expected a whole number >= 0",
  ],
  [
    "a crop outside the picture",
    () => cropPicture(picture, 1, 0, 2, 1),
    "cropPicture: 2x1 at (1, 0) does not fit into the picture of 2x1",
  ],
  [
    "a picture instead of its pixels",
    () => toFloats(wrong(picture)),
    "toFloats: got { width, height, pixels }, expected the bytes of a picture: picture.pixels",
  ],
  [
    "an unknown range",
    () => toFloats(picture.pixels, wrong("[0, 1]")),
    'toFloats: the range is "[0, 1]", expected "signed" or "unit"',
  ],
  [
    "an unknown range",
    () => toPixels(new Float32Array(1), wrong("Unit")),
    'toPixels: the range is "Unit", expected "signed"',
  ],
  [
    "a shape without a batch axis",
    () => toPictures(new Float32Array(3), [1, 1, 3]),
    "toPictures: 3 values with shape [1,1,3], expected",
  ],
];

describe("wrong arguments", () => {
  for (const [name, call, message] of cases) test(`${name}: ${message}`, () => expect(call).toThrow(message));

  test("for reading and writing", async () => {
    await expect(readImage(wrong(undefined))).rejects.toThrow(
      "readImage: got undefined, expected a path, the bytes of",
    );
    await expect(readImage(wrong(new Uint8ClampedArray(4)))).rejects.toThrow(
      "readImage: got Uint8ClampedArray [0, 0, 0, 0]",
    );
    await expect(readImage(picture, { size: 0 })).rejects.toThrow(
      "readImage: size is 0, expected a whole number >= 1",
    );
    await expect(readImage(picture, { crop: wrong("centre") })).rejects.toThrow(
      'crop is "centre", expected "center", "random"',
    );
    await expect(readImage(picture, wrong({ width: 2 }))).rejects.toThrow(
      'readImage: there is no option "width", use size',
    );
    await expect(savePng("face.jpg", picture)).rejects.toThrow("savePng: face.jpg does not end in .png");
    await expect(encodePng({ ...picture, width: 3 })).rejects.toThrow(
      "encodePng: 6 bytes for 3x1 RGB, expected 9",
    );
  });
});
