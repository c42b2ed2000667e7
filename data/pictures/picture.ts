// A picture in memory, and what is done to its pixels without a file or a codec: cropping, mirroring, and the way to the
// network's floats and back.

/** A picture in memory: RGB, one byte a channel, rows from the top, `pixels.length = height * width * 3`. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/**
 * What pixel values mean to a network. `signed`: [-1, 1], as taming trains and as the published weights expect. `unit`:
 * [0, 1] fed to the network as it is, which is how DALL-E mini made and decoded its tokens.
 */
export type PixelRange = "signed" | "unit";

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

/** Where a crop of `size` starts on a side of `length`: floor of the middle, or floor of the free room times u. */
export function cropOffset(length: number, size: number, u?: number): number {
  return u === undefined ? Math.floor((length - size) / 2) : Math.floor((length - size) * u);
}

/** Cuts a rectangle out. @throws if it leaves the picture. */
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
