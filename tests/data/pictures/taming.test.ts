// Exactly the pixels of taming's loader, byte for byte: what its ImagePaths made of the pictures in fixtures/taming_pixels, with
// albumentations 0.4.3, OpenCV 4.5.1, and a Pillow that has libjpeg-turbo (make.py there).
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { resizeBilinear } from "../../../data/pictures/bilinear.ts";
import { cropOffset, cropPicture, type Picture, resizedDimensions } from "../../../data/pictures/picture.ts";
import { decodeAsPillow } from "../../../data/pictures/pillow.ts";

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../fixtures/taming_pixels/${name}`, import.meta.url));
const expected: Record<string, Record<string, string>> = JSON.parse(
  readFileSync(fixture("expected.json"), "utf8"),
);

const described = ({ width, height, pixels }: Picture) =>
  `${width}x${height} ${createHash("sha256").update(pixels).digest("hex")}`;

async function seen(name: string, size: number): Promise<Picture> {
  const picture = await decodeAsPillow(await readFile(fixture(name)), name);
  const { width, height } = picture;
  if (size === 0) return picture;
  const resized = Math.min(width, height) === size
    ? picture
    : resizeBilinear(picture, ...resizedDimensions(width, height, size));
  const [left, top] = [resized.width, resized.height].map((length) => cropOffset(length, size));
  return cropPicture(resized, left, top, size, size);
}

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

test("a picture whose pixels would be others is refused", async () => {
  await expect(seen("transparent.gif", 0)).rejects.toThrow("beneath the transparent pixels of a GIF");
});
