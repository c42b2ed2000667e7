// Pictures in and out by sharp: files of any common kind to 8-bit sRGB pixels, and pixels to PNG files. The steps are
// those of taming's ImagePaths (resize the smallest side, crop), with EXIF applied.
import { readFile } from "node:fs/promises";
import { writeAtomic } from "../files/atomic.ts";
import { cropOffset, cropPicture, type Picture, resizedDimensions } from "./picture.ts";
import { loadSharp } from "./sharp.ts";

export interface ReadOptions {
  /** The smallest side is resized to this many pixels. Without it the picture keeps its size. */
  readonly size?: number;
  /** Which square is cut from the resized picture; `none` keeps its shape. Default: `center` with a size, else `none`. */
  readonly crop?: "center" | "random" | "none";
  /** Numbers in [0, 1) for the random crop, the row first, then the column. */
  readonly random?: () => number;
  /** Cut the edges evenly until both sides are multiples of this, as a model with that factor needs. */
  readonly multipleOf?: number;
}

/** A picture that cannot be read: which one, and why. */
export class ImageError extends Error {
  readonly path: string;
  readonly reason: string;

  override readonly name = "ImageError";
  constructor(path: string, reason: string) {
    super(`cannot read the picture ${path}: ${reason}`);
    this.path = path;
    this.reason = reason;
  }
}

/** The longest side that resizing may give. Without this limit a very narrow picture would fill the memory. */
const longestSide = 32768;

/** sharp's message, without the names of the functions inside it. */
function reasonOf(error: unknown, bytes: Uint8Array): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes("unsupported image format")) {
    const text = bytes.subarray(0, 64).every((byte) =>
      byte === 9 || byte === 10 || byte === 13 || byte >= 32
    );
    return `${text ? "this is text, not a picture" : "not a kind of picture that can be read"}` +
      " (JPEG, PNG, WebP, GIF, AVIF, TIFF and SVG can)";
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

/** Raw RGB from what sharp gives: grey pictures come with one channel. */
function toRgb(data: Uint8Array, channels: number, path: string): Uint8Array {
  if (channels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (channels !== 1) throw new ImageError(path, `${channels} colour channels, 1 or 3 expected`);
  const pixels = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) pixels.fill(data[i], i * 3, i * 3 + 3);
  return pixels;
}

/**
 * Reads a picture file, or the bytes of one, as 8-bit sRGB.
 *
 * The EXIF orientation is applied. Grey, palette, CMYK and 16-bit pictures become RGB; an embedded profile is
 * honoured. Transparent pictures are laid over white, as a viewer shows them (PIL's convert("RGB") would show whatever
 * colour is stored under the transparency). Shrinking is filtered (Lanczos); taming's unfiltered bilinear aliases.
 * @throws ImageError naming the file and the reason: missing, empty, not a picture, corrupt, cut short, too
 * small
 * @example const face = await readImage("face.jpg", { size: 256, crop: "center" });
 */
export async function readImage(source: string | Uint8Array, options: ReadOptions = {}): Promise<Picture> {
  const path = typeof source === "string" ? source : "(bytes)";
  const bytes = typeof source === "string" ? await readBytes(source) : source;
  const { size, multipleOf } = options;
  const crop = options.crop ?? (size === undefined ? "none" : "center");
  if (crop !== "none" && size === undefined) throw new Error(`readImage: crop "${crop}" needs a size`);
  const sharp = await loadSharp();
  let picture: Picture;
  try {
    // "error" refuses pictures that are cut short, and ignores the warnings that PIL ignores too
    const image = sharp(bytes, { failOn: "error" }).autoOrient();
    if (size !== undefined) {
      const { autoOrient: { width: fullWidth, height: fullHeight } } = await image.metadata();
      const [width, height] = resizedDimensions(fullWidth, fullHeight, size);
      if (Math.max(width, height) > longestSide) {
        throw new ImageError(
          path,
          `${fullWidth}x${fullHeight} would become ${width}x${height}: too narrow a picture`,
        );
      }
      image.resize(width, height, { fit: "fill" });
    }
    const { data, info } = await image.flatten({ background: "#fff" }).toColourspace("srgb")
      .raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    picture = { width: info.width, height: info.height, pixels: toRgb(data, info.channels, path) };
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError(path, reasonOf(error, bytes));
  }
  if (crop !== "none" && size !== undefined) {
    const random = crop === "random" ? options.random ?? Math.random : undefined;
    const top = cropOffset(picture.height, size, random?.());
    const left = cropOffset(picture.width, size, random?.());
    picture = cropPicture(picture, left, top, size, size);
  }
  return multipleOf === undefined ? picture : cropToMultiple(picture, multipleOf, path);
}

function cropToMultiple(picture: Picture, factor: number, path: string): Picture {
  const width = picture.width - picture.width % factor, height = picture.height - picture.height % factor;
  if (width === 0 || height === 0) {
    const needed = `at least ${factor}x${factor} pixels are needed; give a size to enlarge it`;
    throw new ImageError(path, `it has ${picture.width}x${picture.height} pixels: ${needed}`);
  }
  const left = cropOffset(picture.width, width), top = cropOffset(picture.height, height);
  return cropPicture(picture, left, top, width, height);
}

/** The picture as the bytes of a PNG file. */
export async function encodePng({ width, height, pixels }: Picture): Promise<Uint8Array> {
  if (pixels.length !== width * height * 3) {
    throw new Error(
      `encodePng: ${pixels.length} bytes for ${width}x${height} RGB, expected ${width * height * 3}`,
    );
  }
  const sharp = await loadSharp();
  return await sharp(pixels, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

/** Writes a PNG, whole or not at all. */
export async function savePng(path: string, picture: Picture): Promise<void> {
  const bytes = await encodePng(picture);
  await writeAtomic(path, (file) => file.writeFile(bytes));
}
