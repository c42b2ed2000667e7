// Decodes and resizes pictures with the browser's own functions. This is the default until another decoder is
// registered (see source.ts).
import { resizeBilinear } from "./bilinear.ts";
import { type Encoded, isPicture, scaledDimensions, type Scaling } from "./decoder.ts";
import { ImageError } from "./image_error.ts";
import { fromRgba, type Picture, toRgba } from "./picture.ts";

/** The part of the browser's API that is used here; the type libraries that check Tessera have no canvas. */
interface Page {
  createImageBitmap?(image: Blob | RgbaImage): Promise<Bitmap>;
  OffscreenCanvas?: new (width: number, height: number) => { getContext(kind: "2d"): Context };
  ImageData?: new (data: Uint8ClampedArray, width: number) => RgbaImage;
}

interface RgbaImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

interface Bitmap {
  readonly width: number;
  readonly height: number;
  close(): void;
}

interface Context {
  fillStyle: string;
  imageSmoothingQuality: "low" | "medium" | "high";
  fillRect(left: number, top: number, width: number, height: number): void;
  drawImage(image: Bitmap, left: number, top: number, width: number, height: number): void;
  getImageData(left: number, top: number, width: number, height: number): RgbaImage;
}

/**
 * Returns the pixels of a picture on a white background, resized as asked.
 * @throws ImageError if the browser cannot decode it; an Error if the source is a path, or this is no web page
 */
export async function decodeInPage(
  source: Encoded,
  name: string,
  scaling: Scaling,
): Promise<Picture> {
  if (scaling.resize === "taming") {
    if (isPicture(source)) {
      return resizeBilinear(source, ...scaledDimensions(source.width, source.height, scaling));
    }
    throw new Error(
      'readImage: browsers decode in their own way, so resize: "taming" takes only pixels ({ width, height, pixels }) here',
    );
  }
  const { createImageBitmap, OffscreenCanvas, ImageData } = globalThis as unknown as Page;
  if (
    typeof source === "string" || "read" in source || !createImageBitmap || !OffscreenCanvas || !ImageData
  ) {
    const [what, instead] = typeof source === "string"
      ? [`a path (${JSON.stringify(source)})`, "bytes or a Blob"]
      : [
        "pixels" in source ? `resizing pixels to ${scaling.size}` : `a picture's file (${name})`,
        "pixels of that size",
      ];
    throw new Error(
      `readImage: ${what} needs the full package: import from "@tessera/vqgan" (mod.ts) instead of ` +
        `"@tessera/vqgan/core" (core.ts), or pass ${instead}`,
    );
  }
  const encoded = "pixels" in source ? imageData(ImageData, source) : new Blob([source]);
  const bitmap = await createImageBitmap(encoded).catch((error: unknown) => {
    throw new ImageError(
      name,
      `the browser cannot decode it (${error instanceof Error ? error.message : error})`,
    );
  });
  try {
    const [width, height] = scaledDimensions(bitmap.width, bitmap.height, scaling);
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    return fromRgba(context.getImageData(0, 0, width, height));
  } finally {
    bitmap.close();
  }
}

function imageData(ImageData: NonNullable<Page["ImageData"]>, picture: Picture): RgbaImage {
  return new ImageData(toRgba(picture).data, picture.width);
}
