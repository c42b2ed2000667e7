// Decodes picture files to the bytes of Pillow (with libjpeg-turbo, as its packages have it since 9.0) and its
// convert("RGB"), which taming's loader begins with: no EXIF orientation, no colour profile, opacity dropped.
import { ImageError } from "./image_error.ts";
import { Picture } from "./picture.ts";
import { loadSharp } from "./sharp.ts";

/** The formats that sharp decodes to the same bytes. */
const formats: readonly string[] = ["jpeg", "png", "webp", "gif"];

/**
 * Decodes the bytes of a file as Pillow does.
 * @throws ImageError if it is of a format, or uses a feature, whose pixels would be others
 */
export async function decodeAsPillow(bytes: Uint8Array, name: string): Promise<Picture> {
  const sharp = await loadSharp();
  const image = sharp(bytes, { failOn: "error", ignoreIcc: true });
  const { format, space, hasAlpha } = await image.metadata();
  if (!formats.includes(format ?? "")) {
    throw new ImageError(
      name,
      `the pixels of taming's loader are known for JPEG, PNG, WebP and GIF, not for ${format}`,
    );
  }
  if (format === "gif" && hasAlpha && !(await image.stats()).isOpaque) {
    throw new ImageError(
      name,
      "the colours beneath the transparent pixels of a GIF, which taming sees, are lost here",
    );
  }
  const raw = async (space: "srgb" | "cmyk" | "grey16", depth: "uchar" | "ushort") => {
    if (space === "cmyk") image.pipelineColourspace(space);
    return await image.removeAlpha().toColourspace(space).raw({ depth }).toBuffer({
      resolveWithObject: true,
    });
  };
  if (space === "cmyk") {
    const { data, info: { width, height } } = await raw("cmyk", "uchar");
    return new Picture(width, height, cmykToRgb(data));
  }
  if (space === "grey16" && !hasAlpha) {
    const { data, info: { width, height } } = await raw("grey16", "ushort");
    // Pillow cuts these numbers off and does not scale them
    const pixels = spread(new Uint16Array(Uint8Array.from(data).buffer)).map((value) => Math.min(255, value));
    return new Picture(width, height, Uint8Array.from(pixels));
  }
  const { data, info: { width, height, channels } } = await raw("srgb", "uchar");
  return new Picture(width, height, Uint8Array.from(channels === 1 ? spread(data) : data));
}

/** Repeats each value for red, green and blue. */
function spread<T extends Uint8Array | Uint16Array>(grey: T): T {
  const pixels = new (grey.constructor as { new (length: number): T })(grey.length * 3);
  for (let i = 0; i < grey.length; i++) pixels.fill(grey[i], i * 3, i * 3 + 3);
  return pixels;
}

/** Pillow's conversion, which knows nothing of inks: each colour is what the others leave of the light. */
function cmykToRgb(inks: Uint8Array): Uint8Array {
  const pixels = new Uint8Array(inks.length / 4 * 3);
  for (let from = 0, to = 0; from < inks.length; from += 4) {
    const light = 255 - inks[from + 3];
    for (let c = 0; c < 3; c++) {
      const product = inks[from + c] * light + 128;
      pixels[to++] = Math.max(0, light - ((product >> 8) + product >> 8));
    }
  }
  return pixels;
}
