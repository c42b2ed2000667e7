// Reading pictures of all formats, cropping them, and writing PNG files. The pictures are made here with sharp.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { readImage, savePng } from "../../../data/index.ts";
import { cropOffset, flipPicture, type Picture, resizedDimensions } from "../../../data/pictures/picture.ts";
import { halves, pixel } from "../../support/pictures.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-images-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function image({ width, height, pixels }: Picture) {
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

function expectNear(actual: number[], expected: number[], tolerance: number): void {
  actual.forEach((value, i) => {
    if (Math.abs(value - expected[i]) > tolerance) throw new Error(`[${actual}] is not near [${expected}]`);
  });
}

async function messageOf(path: string): Promise<string> {
  try {
    await readImage(path, { size: 16 });
  } catch (error) {
    return (error as Error).message;
  }
  return "no error";
}

describe("readImage", () => {
  test("applies the EXIF orientation, including the sizes", async () => {
    const path = join(folder, "turned.jpg");
    // Orientation 6 means a quarter turn clockwise, so the left side becomes the top.
    await image(halves(64, 32)).withMetadata({ orientation: 6 }).jpeg({ quality: 95 }).toFile(path);
    const whole = await readImage(path);
    expect([whole.width, whole.height]).toEqual([32, 64]);
    expectNear(pixel(whole, 16, 4), [255, 0, 0], 12);
    expectNear(pixel(whole, 16, 60), [0, 0, 255], 12);
    const small = await readImage(path, { size: 16, crop: "none" });
    expect([small.width, small.height]).toEqual([16, 32]);
  });

  test("grey, 16-bit, palette, transparent and CMYK pictures become 8-bit RGB", async () => {
    const grey = join(folder, "grey.jpg");
    await sharp(new Uint8Array(16 * 16).fill(77), { raw: { width: 16, height: 16, channels: 1 } })
      .toColourspace("b-w").jpeg({ quality: 100 }).toFile(grey);
    expect((await sharp(grey).metadata()).channels).toBe(1);
    expectNear(pixel(await readImage(grey), 8, 8), [77, 77, 77], 1);

    const deep = join(folder, "deep.png");
    await sharp(Uint16Array.from({ length: 16 * 16 * 3 }, (_, i) => [0, 128, 255][i % 3] * 257), {
      raw: { width: 16, height: 16, channels: 3 },
    }).toColourspace("rgb16").png().toFile(deep);
    expect((await sharp(deep).metadata()).depth).toBe("ushort");
    expectNear(pixel(await readImage(deep), 8, 8), [0, 128, 255], 1);

    const deepGrey = join(folder, "deepgrey.png");
    await sharp(new Uint16Array(16 * 16).fill(100 * 257), { raw: { width: 16, height: 16, channels: 1 } })
      .toColourspace("grey16").png().toFile(deepGrey);
    expect((await sharp(deepGrey).metadata()).depth).toBe("ushort");
    expectNear(pixel(await readImage(deepGrey), 8, 8), [100, 100, 100], 1);

    const palette = join(folder, "palette.png");
    await image(halves(16, 16)).png({ palette: true, colours: 4 }).toFile(palette);
    expectNear(pixel(await readImage(palette), 2, 2), [255, 0, 0], 4);

    const alpha = join(folder, "alpha.png");
    const rgba = Uint8Array.from({ length: 16 * 16 * 4 }, (_, i) => [200, 0, 0, i < 512 ? 0 : 255][i % 4]);
    await sharp(rgba, { raw: { width: 16, height: 16, channels: 4 } }).png().toFile(alpha);
    const shown = await readImage(alpha);
    expect(pixel(shown, 3, 2)).toEqual([255, 255, 255]);
    expect(pixel(shown, 3, 12)).toEqual([200, 0, 0]);

    const greyAlpha = await sharp(Uint8Array.from({ length: 16 * 16 * 2 }, (_, i) => i % 2 === 0 ? 0 : 128), {
      raw: { width: 16, height: 16, channels: 2 },
    }).png().toBuffer();
    expectNear(pixel(await readImage(greyAlpha), 8, 8), [127, 127, 127], 1);

    const cmyk = join(folder, "cmyk.jpg");
    await image(halves(16, 16)).toColourspace("cmyk").jpeg({ quality: 95 }).toFile(cmyk);
    expect((await sharp(cmyk).metadata()).space).toBe("cmyk");
    const printed = await readImage(cmyk, { size: 16 });
    expect(printed.pixels.length).toBe(16 * 16 * 3);
    const [red, green, blue] = pixel(printed, 2, 8);
    expect(red > 180 && green < 90 && blue < 90).toBe(true);
  });

  test("names the file and the reason if it cannot be read", async () => {
    const good = await image(halves(64, 64)).jpeg().toBuffer();
    const files: Record<string, Uint8Array | string> = {
      "zero.jpg": new Uint8Array(0),
      "text.jpg": "<html>404 not found</html>",
      "noise.png": Uint8Array.from({ length: 300 }, (_, i) => (i * 89) % 256),
      "short.jpg": good.subarray(0, Math.floor(good.length * 0.6)),
      "head.jpg": good.subarray(0, 20),
    };
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
    expect(await messageOf(join(folder, "zero.jpg"))).toContain("zero.jpg: the file is empty (0 bytes)");
    expect(await messageOf(join(folder, "text.jpg"))).toContain("text.jpg: this is text, not a picture");
    expect(await messageOf(join(folder, "noise.png"))).toContain(
      "this is not a picture in a format that can be read",
    );
    expect(await messageOf(join(folder, "short.jpg"))).toContain("premature end of JPEG");
    expect(await messageOf(join(folder, "head.jpg"))).toContain("cannot read the picture");
    expect(await messageOf(join(folder, "none.jpg"))).toContain("none.jpg: there is no such file");
    expect(await messageOf(folder)).toContain("it is a folder");
    for (const name of Object.keys(files)) {
      expect((await messageOf(join(folder, name))).includes("\n")).toBe(false);
    }
  });

  test("pictures that are read at the same time keep their own reasons", async () => {
    const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * i) % 251);
    const whole = sharp(noise, { raw: { width: 64, height: 64, channels: 3 } });
    const cut = (bytes: Uint8Array) => bytes.subarray(0, Math.floor(bytes.length / 2));
    const jpeg = cut(await whole.clone().jpeg().toBuffer()), png = cut(await whole.clone().png().toBuffer());
    const sources = Array.from({ length: 24 }, (_, i) => i % 2 === 0 ? jpeg : png);
    const reasons = await Promise.all(sources.map((bytes) => readImage(bytes).catch(({ reason }) => reason)));
    expect([...new Set(reasons.filter((_, i) => i % 2 === 0))]).toEqual(["premature end of JPEG image"]);
    expect([...new Set(reasons.filter((_, i) => i % 2 === 1))]).toEqual([
      "the file is cut short or damaged (libpng read error)",
    ]);
  });

  test("the same pixels give the same picture, whatever the format of the file", async () => {
    const width = 600, height = 400; // large enough for the formats' own ways of shrinking
    const wave = (i: number) => 128 + 60 * Math.sin(i / 7) + 60 * Math.cos(i / width / 5);
    const picture = {
      width,
      height,
      pixels: Uint8Array.from({ length: width * height * 3 }, (_, i) => wave(i)),
    };
    const lossless = {
      png: image(picture).png(),
      webp: image(picture).webp({ lossless: true }),
      tiff: image(picture).tiff({ compression: "lzw" }),
    };
    const expected = await readImage(picture, { size: 64 });
    for (const [name, file] of Object.entries(lossless)) {
      expect([name, await readImage(await file.toBuffer(), { size: 64 })]).toEqual([name, expected]);
    }
    for (const orientation of [1, 3, 6]) {
      const jpeg = await image(picture).withMetadata({ orientation }).jpeg().toBuffer();
      expect(await readImage(jpeg, { size: 64 })).toEqual(
        await readImage(await readImage(jpeg), { size: 64 }),
      );
    }
  });

  test("looks at the size before it decodes, and at the length before it reads", async () => {
    const webp = Uint8Array.fromHex(
      // 16383x16383 pixels of one colour
      "524946461e000000574542505650384c110000002ffebfff0f07d0b126f4b8ff8188e87f0000",
    );
    await expect(readImage(webp, { size: 16 })).rejects.toThrow(
      "16383x16383 pixels take 2.1 GB while they are decoded, at most 1.1 GB are used",
    );
    const long = join(folder, "long.jpg");
    await writeFile(long, "");
    await truncate(long, 2 ** 29 + 1); // a file of zeros that takes no room
    await expect(readImage(long)).rejects.toThrow("the file has 536870913 bytes, at most 536870912 are read");
  });

  test("resizes the shorter side, then crops at the reference's offsets", async () => {
    expect(resizedDimensions(100, 75, 64)).toEqual([85, 64]);
    expect(resizedDimensions(50, 20, 10)).toEqual([25, 10]);
    expect(resizedDimensions(5, 4, 2)).toEqual([2, 2]); // 2.5 rounds to the even neighbour
    expect(cropOffset(85, 64)).toBe(10);
    expect(cropOffset(85, 64, 0.999)).toBe(20);
    const ramp: Picture = {
      width: 40,
      height: 16,
      pixels: Uint8Array.from({ length: 40 * 16 * 3 }, (_, i) => Math.floor(i / 3) % 40),
    };
    const bytes = await image(ramp).png().toBuffer();
    expect(pixel(await readImage(bytes, { size: 16 }), 0, 0)[0]).toBe(12);
    const draws = [0.3, 0.5];
    const random = await readImage(bytes, { size: 16, crop: "random", random: () => draws.shift() ?? 0 });
    expect(pixel(random, 0, 0)[0]).toBe(12);
    expect(draws.length).toBe(0);
    const cut = await readImage(bytes, { multipleOf: 16 });
    expect([cut.width, cut.height, pixel(cut, 0, 0)[0]]).toEqual([32, 16, 4]);
    expect(pixel(flipPicture(cut), 0, 3)).toEqual(pixel(cut, 31, 3));
    await expect(readImage(bytes, { multipleOf: 32 })).rejects.toThrow("it has 40x16 pixels");
    const tall = await readImage(bytes, { size: 100, crop: "none" });
    expect([tall.width, tall.height]).toEqual([250, 100]);
  });
});

test("savePng writes a file that reads back unchanged, and no other file", async () => {
  const inside = await mkdtemp(join(folder, "png-"));
  await savePng(join(inside, "a.png"), halves(20, 10));
  expect(await readdir(inside)).toEqual(["a.png"]);
  expect((await readImage(join(inside, "a.png"))).pixels).toEqual(halves(20, 10).pixels);
  expect([...(await readFile(join(inside, "a.png"))).subarray(1, 4)]).toEqual([80, 78, 71]);
});
