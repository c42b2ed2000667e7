// Exactly the pixels of taming's loader, byte for byte: what its ImagePaths made of the pictures in fixtures/taming_pixels,
// with albumentations 0.4.3, OpenCV 4.5.1, and a Pillow that has libjpeg-turbo (make.py there).
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ImageDataset, type Picture, readImage } from "../../../data/index.ts";

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../fixtures/taming_pixels/${name}`, import.meta.url));
const expected: Record<string, Record<string, string>> = JSON.parse(
  readFileSync(fixture("expected.json"), "utf8"),
);

const described = ({ width, height, pixels }: Picture) =>
  `${width}x${height} ${createHash("sha256").update(pixels).digest("hex")}`;

const seen = (name: string, size: number) =>
  readImage(fixture(name), { resize: "taming", ...(size === 0 ? {} : { size }) });

describe("the pixels of", () => {
  for (const [name, sizes] of Object.entries(expected)) {
    if (name === "transparent.gif") continue;
    test(name, async () => {
      for (const [size, theirs] of Object.entries(sizes)) {
        expect([size, described(await seen(name, Number(size)))]).toEqual([size, theirs]);
      }
    });
  }
});

test("pixels are shrunk as files are, and a data set reads them so too", async () => {
  const whole = await seen("420.jpg", 0), { 24: theirs } = expected["420.jpg"];
  expect(described(await readImage(whole, { resize: "taming", size: 24 }))).toBe(theirs);
  expect(described(await readImage(await readFile(fixture("420.jpg")), { resize: "taming", size: 24 }))).toBe(
    theirs,
  );
  const set = new ImageDataset([fixture("420.jpg")], { size: 24, resize: "taming" });
  expect(described(await set.read(0))).toBe(theirs);
  expect(described(await readImage(whole, { size: 24 }))).not.toBe(theirs);
});

test("crops at random are where albumentations cuts: the fraction of the free space, rounded down, rows first", async () => {
  const drawn = [0.99, 0.5],
    whole = await readImage(fixture("420.jpg"), { resize: "taming", size: 24, crop: "none" });
  expect([whole.width, whole.height]).toEqual([24, 30]); // round(61 * 24 / 48) is 30, to even
  const { pixels } = await readImage(whole, { size: 24, crop: "random", random: () => drawn.shift()! });
  expect(pixels).toEqual(whole.pixels.slice(5 * 24 * 3, 29 * 24 * 3));
});

test("a picture whose pixels would be others is refused, with the reason", async () => {
  await expect(seen("transparent.gif", 0)).rejects.toThrow("beneath the transparent pixels of a GIF");
  const svg = new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
  await expect(readImage(svg, { resize: "taming" })).rejects.toThrow("JPEG, PNG, WebP and GIF, not for svg");
});

test("without enlarging, a smaller picture keeps its size, and a larger one is shrunk", async () => {
  const square = async (size: number, resize: "lanczos" | "taming") => {
    const { width, height } = await readImage(fixture("420.jpg"), {
      size,
      resize,
      enlarge: false,
      multipleOf: 5,
    });
    return [width, height];
  };
  for (const resize of ["lanczos", "taming"] as const) {
    expect(await square(256, resize)).toEqual([45, 45]); // the middle square of 48x61, in whole fives
    expect(await square(32, resize)).toEqual([30, 30]);
  }
});
