// Reads picture files of all common formats as 8-bit sRGB pixels, and writes pixels as PNG files, both with sharp.
// `readImage` accepts paths only after this file has been imported. The steps are those of taming's ImagePaths (resize
// the shorter side, then crop), with the EXIF orientation applied.
import { Stats } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import type { Metadata, Sharp } from "sharp";
import { writeAtomic } from "../files/atomic.ts";
import { kindOf } from "../files/source.ts";
import { codeOf, troubleOf } from "../files/system_errors.ts";
import { formatBytes } from "../formats/text.ts";
import { findMember, readMember } from "./archive.ts";
import { resizeBilinear } from "./bilinear.ts";
import { type Decoder, isPicture, type PictureFile, scaledDimensions, type Scaling } from "./decoder.ts";
import { Gate } from "./gate.ts";
import { ImageError } from "./image_error.ts";
import { checkPicture, Picture } from "./picture.ts";
import { decodeAsPillow } from "./pillow.ts";
import { loadSharp } from "./sharp.ts";
import { registerDecoder } from "./source.ts";

/** The longest side that a resized picture may have. Without this limit a very narrow picture would fill the memory. */
const longestSide = 32768;
/** The largest file in bytes, because it is read into memory as a whole. */
const maxFile = 2 ** 29;
/** The most bytes that a picture may take while it is decoded. */
const maxDecoded = 2 ** 30;

/** How many bytes of files are in memory at a time, and how many of decoded pictures. */
const files = new Gate(2 ** 28), pixels = new Gate(2 ** 29);

/** Returns sharp's message without the names of its internal functions. */
function messageOf(error: unknown, bytes: Uint8Array): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes("unsupported image format")) {
    const text = bytes.subarray(0, 64).every((byte) =>
      byte === 9 || byte === 10 || byte === 13 || byte >= 32
    );
    return `${text ? "this is text, not a picture" : "this is not a picture in a format that can be read"}` +
      " (JPEG, PNG, WebP, GIF, AVIF, TIFF or SVG)";
  }
  if (message.includes("libpng read error")) return "the file is cut short or damaged (libpng read error)";
  const line = message.split("\n")[0].replace(/^Input buffer has corrupt header: /, "broken header: ");
  return line.replace(/^(Vips\w+|\w+load_buffer|\w+2vips\w*): /i, "");
}

/** Finds the file of a picture, or the member of an archive, without opening it: a pipe would never answer. */
async function fileOf(path: string): Promise<PictureFile> {
  const found = await stat(path).catch((error: unknown) => error);
  if (!(found instanceof Stats)) {
    const inside = await findMember(path);
    if (inside === null) throw notReadable(path, found);
    const { archive, member } = inside;
    return { byteLength: member.size, read: () => readMember(archive.path, member) };
  }
  if (!found.isFile()) throw new ImageError(path, `it is ${kindOf(found)} and not a file`);
  const read = () => readFile(path).catch((error) => Promise.reject(notReadable(path, error)));
  return { byteLength: found.size, read };
}

function notReadable(path: string, error: unknown): ImageError {
  if (codeOf(error) === "ENOENT") return new ImageError(path, "there is no such file");
  return new ImageError(path, troubleOf(error, "reading")?.problem ?? String(error));
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
  const isTamings = scaling.resize === "taming";
  if (isPicture(source)) {
    if (isTamings) return resizeBilinear(source, ...targetOf(source, name, scaling));
    return await toPicture(await rawImage(source), source, name, scaling);
  }
  const sharp = await loadSharp();
  const file = source instanceof Uint8Array
    ? { byteLength: source.length, read: () => Promise.resolve(source) }
    : typeof source === "string"
    ? await fileOf(source)
    : source;
  if (file.byteLength > maxFile) {
    throw new ImageError(name, `the file has ${file.byteLength} bytes, at most ${maxFile} are read`);
  }
  return await files.run(file.byteLength, async () => {
    const bytes = await file.read();
    if (bytes.length === 0) throw new ImageError(name, "the file is empty (0 bytes)");
    // "error" makes sharp refuse pictures that are cut short, and ignore the warnings that PIL ignores too
    const open = () => sharp(bytes, { failOn: "error" }).autoOrient();
    const header = await withReason(0, name, bytes, () => open().metadata());
    const decoded = decodedBytes(header);
    if (decoded > maxDecoded) {
      const { width, height } = header;
      throw new ImageError(
        name,
        `${width}x${height} pixels take ${formatBytes(decoded)} while they are decoded, at most ${
          formatBytes(maxDecoded)
        } are used`,
      );
    }
    const whole = header.autoOrient;
    return await withReason(decoded, name, bytes, async () => {
      if (isTamings) {
        const picture = await decodeAsPillow(bytes, name);
        return resizeBilinear(picture, ...targetOf(picture, name, scaling));
      }
      // this keeps the format's own way of shrinking (JPEG, WebP) from being used instead of Lanczos
      const image = header.format === "svg" ? open() : open().extract({ left: 0, top: 0, ...whole });
      return await toPicture(image, whole, name, scaling);
    });
  });
};

registerDecoder(decode);

/** Bytes of a value of each kind; 8 for the others. */
const depths: Readonly<Record<string, number>> = { uchar: 1, char: 1, ushort: 2, short: 2 };
/** Bytes of a pixel in formats whose libraries make copies of their own, as measured. */
const copied: Readonly<Record<string, number>> = { webp: 8, heif: 8, gif: 4, svg: 4 };

/** How many bytes a picture takes at most while it is decoded. */
function decodedBytes({ format, width, height, channels, depth }: Metadata): number {
  return width * height * (copied[format] ?? channels * (depths[depth ?? "uchar"] ?? 8));
}

/**
 * Runs a job of sharp when its weight in bytes allows. libvips collects the messages of all jobs in one place. So a job
 * that fails while others run is done again alone, to learn its own reason.
 * @throws ImageError
 */
async function withReason<T>(
  weight: number,
  name: string,
  bytes: Uint8Array,
  job: () => Promise<T>,
): Promise<T> {
  const attempt = async (
    weight: number | "alone",
  ): Promise<{ result: T } | { error: unknown; isShared: boolean }> =>
    await pixels.run(weight, async (turn) => {
      try {
        return { result: await job() };
      } catch (error) {
        return { error, isShared: turn.isShared };
      }
    });
  let outcome = await attempt(weight);
  if ("error" in outcome && outcome.isShared) outcome = await attempt("alone");
  if ("result" in outcome) return outcome.result;
  const { error } = outcome;
  throw error instanceof ImageError ? error : new ImageError(name, messageOf(error, bytes));
}

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

async function toPicture(image: Sharp, full: Dimensions, name: string, scaling: Scaling): Promise<Picture> {
  const [width, height] = targetOf(full, name, scaling);
  if (width !== full.width || height !== full.height) image.resize(width, height, { fit: "fill" });
  const { data, info } = await image.flatten({ background: "#fff" }).toColourspace("srgb")
    .raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  return new Picture(info.width, info.height, toRgb(data, info.channels, name));
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
