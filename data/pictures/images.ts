// Pictures in and out: files of any common kind to 8-bit sRGB pixels by sharp, pixels to the network's floats
// and back, and PNG files. The steps are those of taming's ImagePaths (resize the smallest side, crop,
// scale), with EXIF applied.
import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { writeAtomic } from "../files/atomic.ts";

/** A picture in memory: RGB, one byte a channel, rows from the top, `pixels.length = height * width * 3`. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/**
 * What the numbers of a picture mean to a network: `signed` is [-1, 1] (taming), `unit` is [0, 1] (DALL-E
 * mini).
 */
export type PixelRange = "signed" | "unit";

export interface ReadOptions {
  /** The smallest side is resized to this many pixels. Left out, the picture keeps its size. */
  readonly size?: number;
  /**
   * The square cut from the resized picture; `none` keeps its shape. Default: `center` with a size, else
   * `none`.
   */
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

/** The longest side a resize may give: a sliver of a picture would otherwise fill the memory. */
const longestSide = 32768;

/** Python's round(), which decides the resized dimensions in PIL, torchvision and albumentations. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Width and height after the smallest side became `size`. */
export function resizedDimensions(
  width: number,
  height: number,
  size: number,
): [width: number, height: number] {
  const scale = size / Math.min(width, height);
  return [roundHalfEven(width * scale), roundHalfEven(height * scale)];
}

/**
 * Where a crop of `size` starts on a side of `length`: floor of the middle, or floor of the free room times
 * u.
 */
export function cropOffset(length: number, size: number, u?: number): number {
  return u === undefined ? Math.floor((length - size) / 2) : Math.floor((length - size) * u);
}

/** Cuts a rectangle out. Throws where it leaves the picture. */
export function cropPicture(
  picture: Picture,
  left: number,
  top: number,
  width: number,
  height: number,
): Picture {
  if (left < 0 || top < 0 || left + width > picture.width || top + height > picture.height) {
    const whole = `${picture.width}x${picture.height}`;
    throw new Error(`cropPicture: ${width}x${height} at (${left}, ${top}) leaves the picture of ${whole}`);
  }
  if (width === picture.width && height === picture.height) return picture;
  const pixels = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const start = ((top + row) * picture.width + left) * 3;
    pixels.set(picture.pixels.subarray(start, start + width * 3), row * width * 3);
  }
  return { width, height, pixels };
}

/** The mirror image, left for right. */
export function flipPicture({ width, height, pixels }: Picture): Picture {
  const flipped = new Uint8Array(pixels.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = (row * width + column) * 3, to = (row * width + width - 1 - column) * 3;
      flipped[to] = pixels[from];
      flipped[to + 1] = pixels[from + 1];
      flipped[to + 2] = pixels[from + 2];
    }
  }
  return { width, height, pixels: flipped };
}

/** sharp's own words, without the parts that name its insides. */
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
 * honoured. Transparent pictures are laid over white, as a viewer shows them (PIL's convert("RGB") would bare
 * whatever colour lies hidden behind the transparency). Shrinking is filtered (Lanczos), not taming's bare
 * bilinear, which aliases.
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
  let picture: Picture;
  try {
    // "error" refuses what is cut short, and forgives the harmless warnings that PIL forgives too.
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

/**
 * Bytes to the network's floats: x / 127.5 - 1 for `signed`, x / 255 for `unit`.
 * @param into where to write, for filling a batch; default a new array of equal length
 */
export function toFloats(
  pixels: Uint8Array,
  range: PixelRange = "signed",
  into: Float32Array = new Float32Array(pixels.length),
): Float32Array {
  if (into.length !== pixels.length) {
    throw new Error(`toFloats: ${pixels.length} pixel values do not fit into ${into.length} floats`);
  }
  if (range === "signed") { for (let i = 0; i < pixels.length; i++) into[i] = pixels[i] / 127.5 - 1; }
  else for (let i = 0; i < pixels.length; i++) into[i] = pixels[i] / 255;
  return into;
}

/**
 * The network's floats to bytes, clamped to the range, halves rounded up, NaN to 0.
 *
 * taming and DALL-E mini truncate instead, which darkens every picture by half a level and does not invert
 * `toFloats`; with rounding, `toPixels(toFloats(p))` is p.
 */
export function toPixels(floats: Float32Array, range: PixelRange = "signed"): Uint8Array {
  const pixels = new Uint8Array(floats.length);
  const scale = range === "signed" ? 127.5 : 255, shift = range === "signed" ? 1 : 0;
  for (let i = 0; i < floats.length; i++) {
    pixels[i] = Math.max(0, Math.min(255, Math.floor((floats[i] + shift) * scale + 0.5)));
  }
  return pixels;
}

/** The pictures of a batch [B, H, W, 3] as floats, in order. */
export function toPictures(
  floats: Float32Array,
  shape: readonly number[],
  range: PixelRange = "signed",
): Picture[] {
  const [count, height, width, channels] = shape;
  if (shape.length !== 4 || channels !== 3 || count * height * width * 3 !== floats.length) {
    throw new Error(`toPictures: ${floats.length} values with shape [${shape}], expected [B, H, W, 3]`);
  }
  const length = height * width * 3;
  return Array.from({ length: count }, (_, i) => {
    return { width, height, pixels: toPixels(floats.subarray(i * length, (i + 1) * length), range) };
  });
}

/** The picture as the bytes of a PNG file. */
export async function encodePng({ width, height, pixels }: Picture): Promise<Uint8Array> {
  if (pixels.length !== width * height * 3) {
    throw new Error(
      `encodePng: ${pixels.length} bytes for ${width}x${height} RGB, expected ${width * height * 3}`,
    );
  }
  return await sharp(pixels, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

/** Writes a PNG, whole or not at all. */
export async function savePng(path: string, picture: Picture): Promise<void> {
  const bytes = await encodePng(picture);
  await writeAtomic(path, (file) => file.writeFile(bytes));
}
