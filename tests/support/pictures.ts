// Pictures whose pixels encode which picture it is and which place in it.
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import type { Picture } from "../../data/pictures/picture.ts";

/** A picture that is red on the left and blue on the right. */
export function halves(width: number, height: number): Picture {
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) pixels[i * 3 + (i % width < width / 2 ? 0 : 2)] = 255;
  return { width, height, pixels };
}

/** The red, green and blue of one pixel. */
export function pixel(picture: Picture, x: number, y: number): number[] {
  return [...picture.pixels.subarray((y * picture.width + x) * 3, (y * picture.width + x) * 3 + 3)];
}

/** How many pictures `numberedPictures` writes. */
export const pictureCount = 11;

/** A picture whose pixels encode the number of the picture, the column and the row. */
async function numbered(i: number): Promise<Uint8Array> {
  const width = 24, height = 20;
  const pixels = Uint8Array.from(
    { length: width * height * 3 },
    (_, at) => [i * 20, Math.floor(at / 3) % width * 10, Math.floor(at / 3 / width) * 10][at % 3],
  );
  return await sharp(pixels, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

/** Writes the folders good, mixed (some of whose pictures cannot be read) and empty, and lists of pictures. */
export async function numberedPictures(folder: string): Promise<void> {
  await mkdir(join(folder, "good", "deep"), { recursive: true });
  await mkdir(join(folder, "mixed"));
  await mkdir(join(folder, "empty"));
  for (let i = 0; i < pictureCount; i++) {
    const bytes = await numbered(i), name = `p${String(i).padStart(2, "0")}.png`;
    await writeFile(join(folder, "good", i < 8 ? name : join("deep", name)), bytes);
    await writeFile(join(folder, "mixed", name), i % 4 === 1 ? bytes.subarray(0, i === 1 ? 0 : 60) : bytes);
  }
  await writeFile(join(folder, "good", "notes.md"), "no picture");
  await writeFile(join(folder, "good", ".hidden.png"), "no picture");
  await writeFile(join(folder, "good", "list.txt"), "p03.png\r\n\n  deep/p09.png\np00.png\n");
  await writeFile(join(folder, "wrong.txt"), "nowhere/p03.png\n");
  await writeFile(join(folder, "blank.txt"), "\n \n");
  await symlink(join(folder, "good"), join(folder, "good", "deep", "around")).catch(() => {});
}
