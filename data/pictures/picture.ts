// A picture in memory, and the operations on its pixels that need no file and no codec: cropping, mirroring, and
// conversion to the network's floats and back.
import { check, isWhole, oneOf, type Rule, rule, shown, whole } from "../../src/check.ts";

/**
 * A picture in memory: RGB, one byte per channel, rows from the top, `pixels.length = height * width * 3`. Functions that take
 * a picture also take a plain object with these three fields. In a notebook, a cell that ends with a `Picture` shows it.
 * @example A white square
 * ```ts
 * import { Picture } from "@tessera/vqgan/core";
 *
 * const white = new Picture(64, 64, new Uint8Array(64 * 64 * 3).fill(255));
 * ```
 */
export class Picture {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Red, green and blue of each pixel, 0 to 255. */
  readonly pixels: Uint8Array;

  /**
   * Takes the pixels without copying them.
   * @throws if the number of bytes does not match the width and height
   */
  constructor(width: number, height: number, pixels: Uint8Array) {
    this.width = width;
    this.height = height;
    this.pixels = pixels;
    checkPicture("Picture", this);
  }
}

/** Pixels as browsers store them, four bytes each: red, green, blue and opacity. `ImageData` has this shape. */
export interface RgbaPixels {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Rows from the top, `height * width * 4` values. */
  readonly data: Uint8ClampedArray | Uint8Array;
}

/** @throws if the number of bytes does not match the width and height */
export function checkPicture(who: string, picture: Picture): void {
  const { width, height, pixels } = picture ?? {};
  if (!isWhole(width) || !isWhole(height) || !(pixels instanceof Uint8Array)) {
    throw new TypeError(
      `${who}: got ${shown(picture)}, expected a picture: { width, height, pixels: Uint8Array }`,
    );
  }
  if (pixels.length === width * height * 3 && pixels.length > 0) return;
  const advice = pixels.length === width * height * 4 ? "; fromRgba() takes four bytes per pixel" : "";
  throw new Error(
    `${who}: ${pixels.length} bytes for ${width}x${height} RGB, expected ${width * height * 3}${advice}`,
  );
}

/**
 * Converts RGBA pixels, such as those of a canvas, to a picture. Transparent pixels are blended with white.
 * @throws if there are not four bytes for each pixel
 * @example
 * ```ts
 * import { fromRgba } from "@tessera/vqgan/core";
 *
 * const data = Uint8ClampedArray.of(255, 0, 0, 255, 0, 0, 255, 0); // opaque red and transparent blue
 * const { pixels } = fromRgba({ width: 2, height: 1, data }); // 255, 0, 0, 255, 255, 255
 * ```
 */
export function fromRgba({ width, height, data }: RgbaPixels): Picture {
  const isBytes = data instanceof Uint8ClampedArray || data instanceof Uint8Array;
  if (!isWhole(width) || !isWhole(height) || !isBytes) {
    throw new TypeError(
      `fromRgba: width, height and data are ${shown([width, height, data])}, expected ImageData`,
    );
  }
  if (data.length !== width * height * 4 || data.length === 0) {
    throw new Error(
      `fromRgba: ${data.length} bytes for ${width}x${height} RGBA, expected ${width * height * 4}`,
    );
  }
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const opacity = data[from + 3];
    for (let c = 0; c < 3; c++) {
      pixels[to++] = Math.round((data[from + c] * opacity + 255 * (255 - opacity)) / 255);
    }
  }
  return new Picture(width, height, pixels);
}

/**
 * Returns the picture as opaque RGBA pixels.
 * @throws if the number of bytes does not match its width and height
 * @example
 * ```ts
 * import { toRgba } from "@tessera/vqgan/core";
 *
 * const { data, width } = toRgba({ width: 1, height: 1, pixels: Uint8Array.of(1, 2, 3) }); // 1, 2, 3, 255
 * const image = new ImageData(data, width); // for putImageData
 * ```
 */
export function toRgba(picture: Picture): RgbaPixels & { readonly data: Uint8ClampedArray<ArrayBuffer> } {
  checkPicture("toRgba", picture);
  const { width, height, pixels } = picture;
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let from = 0, to = 0; from < pixels.length; from += 3, to += 4) {
    data[to] = pixels[from];
    data[to + 1] = pixels[from + 1];
    data[to + 2] = pixels[from + 2];
  }
  return { width, height, data };
}

/**
 * The range of pixel values that a network expects. `signed` is [-1, 1], which taming trains with and the published
 * weights expect. `unit` is [0, 1], with which DALL-E mini made and decoded its tokens.
 */
export type PixelRange = "signed" | "unit";

/** The rule for an option that is a pixel range. */
export const aRange: Rule = oneOf("signed", "unit");

/** Rounds like Python's round(), which PIL, torchvision and albumentations use for the resized dimensions. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Returns width and height after the shorter side is resized to `size`. */
export function resizedDimensions(
  width: number,
  height: number,
  size: number,
): [width: number, height: number] {
  const scale = size / Math.min(width, height);
  return [roundHalfEven(width * scale), roundHalfEven(height * scale)];
}

/**
 * Returns where a crop of `size` starts on a side of `length`: in the middle, or at the fraction `u` of the free space.
 * Both are rounded down.
 */
export function cropOffset(length: number, size: number, u?: number): number {
  return u === undefined ? Math.floor((length - size) / 2) : Math.floor((length - size) * u);
}

/** Cuts out a rectangle, given in pixels from the top left corner. @throws if it does not fit into the picture */
export function cropPicture(
  picture: Picture,
  left: number,
  top: number,
  width: number,
  height: number,
): Picture {
  checkPicture("cropPicture", picture);
  for (const [name, n] of Object.entries({ left, top, width, height })) {
    check("cropPicture", name, n, whole(0));
  }
  if (left + width > picture.width || top + height > picture.height) {
    const whole = `${picture.width}x${picture.height}`;
    throw new Error(
      `cropPicture: ${width}x${height} at (${left}, ${top}) does not fit into the picture of ${whole}`,
    );
  }
  if (width === picture.width && height === picture.height) return picture;
  const pixels = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const start = ((top + row) * picture.width + left) * 3;
    pixels.set(picture.pixels.subarray(start, start + width * 3), row * width * 3);
  }
  return new Picture(width, height, pixels);
}

/** Returns the picture mirrored left to right. */
export function flipPicture(picture: Picture): Picture {
  checkPicture("flipPicture", picture);
  const { width, height, pixels } = picture;
  const flipped = new Uint8Array(pixels.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = (row * width + column) * 3, to = (row * width + width - 1 - column) * 3;
      flipped[to] = pixels[from];
      flipped[to + 1] = pixels[from + 1];
      flipped[to + 2] = pixels[from + 2];
    }
  }
  return new Picture(width, height, flipped);
}

/**
 * Converts bytes to the network's floats: x / 127.5 - 1 for `signed`, x / 255 for `unit`.
 * @param into the array to write to, for filling a batch. Default: a new array
 * @throws if `into` has a different length, or the range is unknown
 * @example
 * ```ts
 * import { tensor, toFloats } from "@tessera/vqgan/core";
 *
 * const pixels = Uint8Array.of(0, 51, 255);
 * const images = tensor(toFloats(pixels), [1, 1, 1, 3]); // -1, -0.6, 1
 * ```
 */
export function toFloats(
  pixels: Uint8Array,
  range: PixelRange = "signed",
  into: Float32Array = new Float32Array(pixels?.length ?? 0),
): Float32Array {
  if (!(pixels instanceof Uint8Array)) {
    throw new TypeError(`toFloats: got ${shown(pixels)}, expected the bytes of a picture: picture.pixels`);
  }
  check("toFloats", "the range", range, aRange);
  if (into.length !== pixels.length) {
    throw new Error(`toFloats: ${pixels.length} pixel values do not fit into ${into.length} floats`);
  }
  if (range === "signed") { for (let i = 0; i < pixels.length; i++) into[i] = pixels[i] / 127.5 - 1; }
  else for (let i = 0; i < pixels.length; i++) into[i] = pixels[i] / 255;
  return into;
}

const floatArray: Rule = rule("a Float32Array", (value) => value instanceof Float32Array);

/**
 * Converts the network's floats to bytes: values are clamped to the range, halves are rounded up, and NaN becomes 0.
 *
 * taming and DALL-E mini truncate instead, which darkens every picture by half a level and does not invert `toFloats`.
 * With rounding, `toPixels(toFloats(p))` is p.
 * @throws if the range is unknown, or the floats are not a Float32Array
 */
export function toPixels(floats: Float32Array, range: PixelRange = "signed"): Uint8Array {
  check("toPixels", "the range", range, aRange);
  check("toPixels", "the list of floats", floats, floatArray);
  const pixels = new Uint8Array(floats.length);
  const scale = range === "signed" ? 127.5 : 255, shift = range === "signed" ? 1 : 0;
  for (let i = 0; i < floats.length; i++) {
    pixels[i] = Math.max(0, Math.min(255, Math.floor((floats[i] + shift) * scale + 0.5)));
  }
  return pixels;
}

/**
 * Converts a batch of floats [B, H, W, 3] to pictures, in order.
 * @throws if the shape is a different one, or does not match the number of floats
 * @example From the model's output to pixels
 * ```ts
 * import { toPictures } from "@tessera/vqgan/core";
 *
 * const [{ pixels }] = toPictures(Float32Array.of(-1, 0, 1), [1, 1, 1, 3]); // 0, 128, 255
 * ```
 */
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
    return new Picture(width, height, toPixels(floats.subarray(i * length, (i + 1) * length), range));
  });
}
