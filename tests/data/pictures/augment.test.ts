// Random changes of pictures: they repeat with the same numbers, stay within their strengths, and do not disturb each other.
import { expect, test } from "bun:test";
import {
  type Augment,
  augmented,
  augmentedSide,
  augmentStrengths,
  ImageDataset,
  type Picture,
} from "../../../data/index.ts";
import { Random } from "../../../src/index.ts";

function noise(side: number, seed: number): Picture {
  const random = new Random(seed);
  const pixels = Uint8Array.from({ length: 3 * side * side }, () => 256 * random.next());
  return { width: side, height: side, pixels };
}

function plain(side: number, ...colour: number[]): Picture {
  const pixels = Uint8Array.from({ length: 3 * side * side }, (_, i) => colour[i % 3]);
  return { width: side, height: side, pixels };
}

const luma = (pixels: Uint8Array, i = 0) =>
  0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];

const change = (picture: Picture, augment: Augment, seed: number, size = picture.width) =>
  augmented(picture, size, augment, new Random(seed));

test("the same numbers make the same picture, others another one", () => {
  const picture = noise(16, 1), once = change(picture, augmentStrengths, 5);
  expect(change(picture, augmentStrengths, 5)).toEqual(once);
  expect(change(picture, augmentStrengths, 6)).not.toEqual(once);
  expect(picture).toEqual(noise(16, 1)); // the original stays
});

test("without a strength nothing changes", () => {
  const picture = noise(16, 1);
  expect(change(picture, {}, 5)).toEqual(picture);
  const none: Augment = { hue: 0, saturation: 0, whiteBalance: 0, background: 0, light: 0, scale: 1 };
  expect(change(picture, none, 5)).toEqual(picture);
});

test("each change is drawn by itself", () => {
  // the hue alone, and with a light that is so weak that it rounds to nothing
  const picture = noise(16, 1);
  for (let seed = 0; seed < 20; seed++) {
    const alone = change(picture, { hue: 90 }, seed);
    expect(change(picture, { hue: 90, light: 1e-9, whiteBalance: 1e-9, saturation: 1e-9 }, seed)).toEqual(
      alone,
    );
  }
});

test("hue and saturation keep the brightness, and grey stays grey", () => {
  const turned = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const { pixels } = change(plain(4, 120, 110, 100), { hue: 180, saturation: 0.5 }, seed);
    expect(Math.abs(luma(pixels) - luma(Uint8Array.of(120, 110, 100)))).toBeLessThan(1);
    turned.add(pixels[0]);
    expect(change(plain(4, 90, 90, 90), { hue: 180, saturation: 1 }, seed).pixels).toEqual(
      plain(4, 90, 90, 90).pixels,
    );
  }
  expect(turned.size).toBeGreaterThan(5);
});

test("a hue of 120 degrees, the largest that is drawn, turns red towards green or blue", () => {
  // 120 degrees in the plane of U and V: red (76 bright) is at U -0.147 V 0.615 and turns by cos -0.5, sin 0.866
  const angles = Array.from({ length: 400 }, (_, seed) => {
    const { pixels: [r, g, b] } = change(plain(1, 140, 100, 100), { hue: 120 }, seed);
    const y = luma(Uint8Array.of(r, g, b));
    return Math.atan2(0.877 * (r - y), 0.492 * (b - y)) * 180 / Math.PI;
  });
  const start = Math.atan2(0.877 * 0.701, 0.492 * -0.299) * 180 / Math.PI;
  const turns = angles.map((angle) => ((angle - start + 540) % 360) - 180);
  expect(Math.max(...turns.map(Math.abs))).toBeLessThan(125); // rounding to bytes adds some
  expect(Math.max(...turns)).toBeGreaterThan(90);
  expect(Math.min(...turns)).toBeLessThan(-90);
  const small = turns.filter((turn) => Math.abs(turn) < 20).length / turns.length; // an eighth is 15
  expect(small).toBeGreaterThan(0.4);
});

test("white balance keeps the brightness of grey, and changes its colour", () => {
  const colours = Array.from({ length: 50 }, (_, seed) => {
    const { pixels } = change(plain(2, 100, 100, 100), { whiteBalance: 0.3 }, seed);
    expect(Math.abs(luma(pixels) - 100)).toBeLessThan(1);
    return pixels[0];
  });
  expect(Math.min(...colours)).toBeGreaterThanOrEqual(70);
  expect(Math.max(...colours)).toBeLessThanOrEqual(130);
  expect(new Set(colours).size).toBeGreaterThan(5);
});

test("the background changes, and the middle does not", () => {
  const picture = noise(32, 2), middle = 3 * (16 * 32 + 16);
  const changed = Array.from({ length: 20 }, (_, seed) => change(picture, { background: 1 }, seed).pixels);
  for (const pixels of changed) {
    expect(pixels.slice(middle, middle + 3)).toEqual(picture.pixels.slice(middle, middle + 3));
    expect(pixels.slice(0, 3)).not.toEqual(picture.pixels.slice(0, 3));
  }
  expect(new Set(changed.map((pixels) => pixels.slice(0, 3).join())).size).toBe(20);
  const often = Array.from({ length: 200 }, (_, seed) => change(picture, { background: 0.5 }, seed));
  const count = often.filter(({ pixels }) => `${pixels}` !== `${picture.pixels}`).length;
  expect(Math.abs(count - 100)).toBeLessThan(30);
});

test("a larger picture is cropped, and a smaller one is continued by its mirror images", () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = new Random(seed), side = augmentedSide(16, { scale: 2 }, random);
    expect(side).toBeGreaterThanOrEqual(8);
    expect(side).toBeLessThanOrEqual(32);
    const picture = noise(side, seed),
      { width, height, pixels } = augmented(picture, 16, { scale: 2 }, random);
    expect([width, height]).toEqual([16, 16]);
    const known = new Set<string>();
    for (let i = 0; i < side * side; i++) known.add(picture.pixels.slice(3 * i, 3 * i + 3).join());
    for (let i = 0; i < 256; i++) expect(known.has(pixels.slice(3 * i, 3 * i + 3).join())).toBe(true);
  }
  const row = { width: 2, height: 2, pixels: Uint8Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4) };
  const rows = new Set(
    Array.from({ length: 30 }, (_, seed) => {
      const { pixels } = augmented(row, 4, { scale: 2 }, new Random(seed));
      return [0, 3, 6, 9].map((i) => pixels[i]).join("");
    }),
  );
  // the first row of the picture continued to the left, to both sides and to the right, or the second
  expect([...rows].sort()).toEqual(["1122", "1221", "2112", "3344", "3443", "4334"]);
});

test("wrong strengths are refused by their names", () => {
  const picture = noise(4, 1);
  expect(() => change(picture, { hue: 190 }, 1)).toThrow("hue is 190, expected a number from 0 to 180");
  expect(() => change(picture, { scale: 0.5 }, 1)).toThrow("scale is 0.5, expected a number from 1 to 8");
  expect(() => change(picture, { colour: 1 } as Augment, 1)).toThrow('colour"');
  expect(() => augmented({ width: 2, height: 1, pixels: new Uint8Array(6) }, 2, {}, new Random(1))).toThrow(
    "the number of rows is 1, expected 2, because it is a square",
  );
  expect(() => new ImageDataset(["a.png"], { size: 8, augment: { hue: -1 } })).toThrow("augment is");
});
