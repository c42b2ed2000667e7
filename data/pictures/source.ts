// Reads a picture from a path, the bytes of a file, a Blob, or pixels. Files need a decoder: images.ts registers one
// that uses sharp, and page.ts has the default, which uses the browser.
import { callback, checkOptions, flag, oneOf, type Rule, type Rules, shown, whole } from "../../src/check.ts";
import { ImageError } from "./image_error.ts";
import { type Decoder, type Encoded, isPicture, type Resize, scaledDimensions } from "./decoder.ts";
import { decodeInPage } from "./page.ts";
import { checkPicture, cropOffset, cropPicture, fromRgba, type Picture, type RgbaPixels } from "./picture.ts";

/**
 * What a picture can be read from. Pixels work everywhere. The bytes of a file (JPEG, PNG, WebP, ...) and Blobs work
 * with the full package and in web pages; paths need the full package.
 */
export type PictureSource = string | Uint8Array | ArrayBuffer | Blob | Picture | RgbaPixels;

/** How a picture is resized and cropped. */
export interface ReadOptions {
  /** The shorter side is resized to this many pixels. Without it the picture keeps its size. */
  readonly size?: number;
  /**
   * Which square is cut from the resized picture; `none` keeps its shape. Default: `center` if there is a size,
   * otherwise `none`.
   */
  readonly crop?: "center" | "random" | "none";
  /** Returns numbers in [0, 1) for the random crop: first for the row, then for the column. Default `Math.random`. */
  readonly random?: () => number;
  /**
   * How the picture is decoded and shrunk. `taming` makes the very bytes of taming's own loader, for those who continue its
   * runs or compare tokens; see `Resize`. Default `lanczos`.
   */
  readonly resize?: Resize;
  /** Whether pictures whose shorter side is less than `size` are enlarged. If not, their square is smaller. Default true. */
  readonly enlarge?: boolean;
  /** Crops the edges evenly until both sides are multiples of this number, as a model with this factor requires. */
  readonly multipleOf?: number;
}

/** The rule for an option that says how pictures are resized. */
export const aResize: Rule = oneOf("lanczos", "taming");

const rules: Rules<ReadOptions> = {
  size: whole(1),
  crop: oneOf("center", "random", "none"),
  random: callback,
  resize: aResize,
  enlarge: flag,
  multipleOf: whole(1),
};

let decode: Decoder = decodeInPage;

/** Sets the decoder that later calls of `readImage` use. */
export function registerDecoder(decoder: Decoder): void {
  decode = decoder;
}

/**
 * Reads a picture as 8-bit sRGB.
 *
 * With the full package, the EXIF orientation is applied. Grey, palette, CMYK and 16-bit pictures become RGB, and an
 * embedded profile is honoured. Transparent pictures are placed on white, as viewers show them (PIL's convert("RGB")
 * would show whatever colour is stored under the transparency). Shrinking uses a Lanczos filter; taming's unfiltered
 * bilinear resizing aliases. `resize: "taming"` does all of it as taming does.
 *
 * In a web page the browser decodes and resizes, which may change some values by one level.
 * @throws ImageError naming the file and the reason: missing, empty, not a picture, corrupt, cut short, too small
 * @example The middle square of a file
 * ```ts
 * import { readImage } from "@tessera/vqgan";
 *
 * const { width, height, pixels } = await readImage("face.jpg", { size: 256 }); // 256 x 256
 * ```
 */
export async function readImage(source: PictureSource, options: ReadOptions = {}): Promise<Picture> {
  checkOptions("readImage", options, rules);
  const { from, name } = await opened(source);
  return await readEncoded(from, name, options);
}

/** `readImage` for what a decoder takes. @param name the picture's name in errors */
export async function readEncoded(from: Encoded, name: string, options: ReadOptions = {}): Promise<Picture> {
  const { size, resize = "lanczos", enlarge = true, multipleOf } = options;
  const crop = options.crop ?? (size === undefined ? "none" : "center");
  if (crop !== "none" && size === undefined) throw new Error(`readImage: crop "${crop}" needs a size`);
  const scaling = { size, resize, enlarge };
  let picture = isPicture(from) &&
      `${scaledDimensions(from.width, from.height, scaling)}` === `${[from.width, from.height]}`
    ? from
    : await decode(from, name, scaling);
  if (crop !== "none" && size !== undefined) {
    const side = enlarge ? size : Math.min(size, picture.width, picture.height);
    const random = crop === "random" ? options.random ?? Math.random : undefined;
    const top = cropOffset(picture.height, side, random?.());
    const left = cropOffset(picture.width, side, random?.());
    picture = cropPicture(picture, left, top, side, side);
  }
  return multipleOf === undefined ? picture : cropToMultiple(picture, multipleOf, name);
}

/** Returns the decoder's input, and the name for errors. @throws TypeError if the source is not one of a picture */
async function opened(
  source: PictureSource,
): Promise<{ from: Encoded; name: string }> {
  if (typeof source === "string") return { from: source, name: source };
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : "(Blob)";
    return { from: new Uint8Array(await source.arrayBuffer()), name };
  }
  if (source instanceof ArrayBuffer) return { from: new Uint8Array(source), name: "(bytes)" };
  if (source instanceof Uint8Array && !(source instanceof Uint8ClampedArray)) {
    return { from: source as Uint8Array<ArrayBuffer>, name: "(bytes)" };
  }
  if (typeof source === "object" && source !== null) {
    if ("pixels" in source) {
      checkPicture("readImage", source);
      return { from: source, name: "(pixels)" };
    }
    if ("data" in source) return { from: fromRgba(source), name: "(pixels)" };
  }
  throw new TypeError(
    `readImage: got ${
      shown(source)
    }, expected a path, the bytes of a file, a Blob, { width, height, pixels } or ` +
      "{ width, height, data } such as ImageData",
  );
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
