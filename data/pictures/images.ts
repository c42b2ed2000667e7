// Reads picture files of all common formats as 8-bit sRGB pixels, and writes pixels as PNG files, both with sharp.
// `readImage` accepts paths only after this file has been imported. The steps are those of taming's ImagePaths (resize
// the shorter side, then crop), with the EXIF orientation applied.
import { readFile } from "node:fs/promises";
import type { Sharp } from "sharp";
import { writeAtomic } from "../files/atomic.ts";
import { resizeBilinear } from "./bilinear.ts";
import { type Decoder, isPicture, scaledDimensions, type Scaling } from "./decoder.ts";
import { ImageError } from "./image_error.ts";
import { checkPicture, type Picture } from "./picture.ts";
import { decodeAsPillow } from "./pillow.ts";
import { loadSharp } from "./sharp.ts";
import { registerDecoder } from "./source.ts";

/** The longest side that a resized picture may have. Without this limit a very narrow picture would fill the memory. */
const longestSide = 32768;

/** Returns sharp's message without the names of its internal functions. */
function reasonOf(error: unknown, bytes: Uint8Array): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes("unsupported image format")) {
    const text = bytes.subarray(0, 64).every((byte) =>
      byte === 9 || byte === 10 || byte === 13 || byte >= 32
    );
    return `${text ? "this is text, not a picture" : "this is not a picture in a format that can be read"}` +
      " (JPEG, PNG, WebP, GIF, AVIF, TIFF or SVG)";
  }
  const line = message.split("\n")[0].replace(/^Input buffer has corrupt header: /, "broken header: ");
  return line.replace(/^(Vips\w+|\w+load_buffer|\w+2vips\w*): /i, "");
}

async function readBytes(path: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const code = (error as { code?: string }).code;
    const known: Record<string, string> = {
      ENOENT: "there is no such file",
      EISDIR: "it is a folder",
      EACCES: "permission denied",
    };
    throw new ImageError(path, known[code ?? ""] ?? String(error));
  }
  if (bytes.length === 0) throw new ImageError(path, "the file is empty (0 bytes)");
  return bytes;
}

/** Converts sharp's output to RGB: sharp returns grey pictures with one channel. */
function toRgb(data: Uint8Array, channels: number, path: string): Uint8Array {
  if (channels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (channels !== 1) throw new ImageError(path, `${channels} colour channels, 1 or 3 expected`);
  const pixels = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) pixels.fill(data[i], i * 3, i * 3 + 3);
  return pixels;
}

/** Decodes a path, the bytes of a file or pixels to RGB with sharp, and resizes them. */
const decode: Decoder = async (source, name, scaling) => {
  const isPixels = isPicture(source), isTamings = scaling.resize === "taming";
  if (isPixels && isTamings) return resizeBilinear(source, ...targetOf(source, name, scaling));
  const bytes = typeof source === "string" ? await readBytes(source) : isPixels ? source.pixels : source;
  const sharp = await loadSharp();
  try {
    if (isTamings) {
      const picture = await decodeAsPillow(bytes, name);
      return resizeBilinear(picture, ...targetOf(picture, name, scaling));
    }
    // "error" makes sharp refuse pictures that are cut short, and ignore the warnings that PIL ignores too
    const image = isPixels ? await rawImage(source) : sharp(bytes, { failOn: "error" }).autoOrient();
    if (scaling.size !== undefined) {
      const { autoOrient: full } = await image.metadata();
      const [width, height] = targetOf(full, name, scaling);
      if (width !== full.width || height !== full.height) image.resize(width, height, { fit: "fill" });
    }
    const { data, info } = await image.flatten({ background: "#fff" }).toColourspace("srgb")
      .raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, pixels: toRgb(data, info.channels, name) };
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError(name, reasonOf(error, bytes));
  }
};

registerDecoder(decode);

type Dimensions = { readonly width: number; readonly height: number };

/** Width and height after resizing. @throws ImageError if the picture is too narrow for it */
function targetOf(full: Dimensions, name: string, scaling: Scaling): [width: number, height: number] {
  const [width, height] = scaledDimensions(full.width, full.height, scaling);
  if (scaling.size === undefined || Math.max(width, height) <= longestSide) return [width, height];
  throw new ImageError(
    name,
    `${full.width}x${full.height} would become ${width}x${height}: the picture is too narrow`,
  );
}

async function rawImage({ width, height, pixels }: Picture): Promise<Sharp> {
  const sharp = await loadSharp();
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** Encodes the picture as a PNG file. @throws if the number of bytes does not match its width and height */
export async function encodePng(picture: Picture): Promise<Uint8Array> {
  checkPicture("encodePng", picture);
  return await (await rawImage(picture)).png().toBuffer();
}

/**
 * Writes a PNG file, whole or not at all.
 * @throws if the path does not end in .png, the pixels do not fill the picture, or the file cannot be written
 * @example A picture as a file
 * ```ts
 * import { readImage, savePng } from "@tessera/vqgan";
 *
 * await savePng("small.png", await readImage("face.jpg", { size: 64 }));
 * ```
 */
export async function savePng(path: string, picture: Picture): Promise<void> {
  if (!/\.png$/i.test(path)) {
    throw new Error(`savePng: ${path} does not end in .png, and a PNG is what is written`);
  }
  const bytes = await encodePng(picture);
  await writeAtomic(path, (file) => file.writeFile(bytes));
}
