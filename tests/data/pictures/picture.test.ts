// Pixels as numbers and back.
import { describe, expect, test } from "bun:test";
import { toFloats, toPictures, toPixels } from "../../../data/pictures/picture.ts";

describe("ranges", () => {
  test("every byte survives the way to floats and back", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const range of ["signed", "unit"] as const) {
      expect(toPixels(toFloats(bytes, range), range)).toEqual(bytes);
    }
    expect([...toFloats(Uint8Array.of(0, 255), "signed")]).toEqual([-1, 1]);
    expect([...toFloats(Uint8Array.of(0, 255), "unit")]).toEqual([0, 1]);
  });

  test("out of range is clamped, halves go up, NaN is black", () => {
    expect([...toPixels(Float32Array.of(-3, 3, NaN, 0), "signed")]).toEqual([0, 255, 0, 128]);
    expect([...toPixels(Float32Array.of(-0.1, 1.5, 0.5), "unit")]).toEqual([0, 255, 128]);
    const [first, second] = toPictures(new Float32Array(2 * 2 * 4 * 3).fill(1), [2, 2, 4, 3]);
    expect([first.width, first.height, second.pixels[23]]).toEqual([4, 2, 255]);
    expect(() => toPictures(new Float32Array(5), [1, 1, 1, 3])).toThrow("5 values with shape [1,1,1,3]");
  });
});
