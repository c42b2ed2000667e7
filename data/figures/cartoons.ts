// Draws cartoon faces as pictures and writes them to files.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { check, whole } from "../../src/check.ts";
import { Random } from "../../src/random.ts";
import { savePng } from "../pictures/images.ts";
import type { Picture } from "../pictures/picture.ts";
import { cartoonFaceSvg, cartoonViewBox } from "./cartoon_svg.ts";
import { renderSvg } from "./svg.ts";

async function drawFace(seed: number, size: number): Promise<Picture> {
  return await renderSvg(await cartoonFaceSvg(seed), size, size, cartoonViewBox);
}

/**
 * Draws the cartoon face of a seed on a plain background. Equal seeds and sizes give equal pixels.
 * @returns size * size * 3 bytes, RGB
 * @example A face
 * ```ts
 * import { drawCartoonFace, savePng } from "@tessera/vqgan";
 *
 * await savePng("cartoon.png", { width: 128, height: 128, pixels: await drawCartoonFace(7, 128) });
 * ```
 */
export async function drawCartoonFace(seed: number, size: number): Promise<Uint8Array> {
  check("drawCartoonFace", "the size", size, whole(1));
  return (await drawFace(seed, size)).pixels;
}

/**
 * Writes `count` faces as PNG files, face_00000.png and so on, into a folder, which is created if it does not exist.
 * @param seed the seed of the whole set; face i does not depend on `count`
 * @returns the paths, in order
 */
export async function writeCartoonFaces(
  folder: string,
  count: number,
  size: number,
  seed: number,
  onProgress?: (done: number, count: number) => void,
): Promise<string[]> {
  check("writeCartoonFaces", "the count", count, whole(0));
  check("writeCartoonFaces", "the size", size, whole(1));
  await mkdir(folder, { recursive: true });
  const set = new Random(seed);
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(folder, `face_${String(i).padStart(5, "0")}.png`);
    await savePng(path, await drawFace(set.fork(`face ${i}`).seed, size));
    paths.push(path);
    onProgress?.(i + 1, count);
  }
  return paths;
}
