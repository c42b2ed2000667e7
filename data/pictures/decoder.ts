// What a decoder of pictures is: the function that turns the bytes of a file into pixels. images.ts has one that uses sharp,
// page.ts one that uses the browser.
import { type Picture, resizedDimensions } from "./picture.ts";

/** A picture's file of which the bytes are read when its turn to be decoded comes. */
export interface PictureFile {
  /** The number of bytes. */
  readonly byteLength: number;
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a decoder takes. */
export type Encoded = string | PictureFile | Uint8Array<ArrayBuffer> | Picture;

/**
 * How pictures are decoded and resized. `lanczos`: turned as their EXIF data says, in sRGB, on white, and shrunk by a Lanczos
 * filter. `taming`: to the very bytes that taming's own loader makes, without any of these, by OpenCV's bilinear filter.
 */
export type Resize = "lanczos" | "taming";

/** What a decoder does with the size of a picture. */
export interface Scaling {
  /** The shorter side in pixels; undefined leaves the picture as it is. */
  readonly size: number | undefined;
  readonly resize: Resize;
  /** Whether smaller pictures are enlarged. */
  readonly enlarge: boolean;
}

/**
 * Turns a path, the bytes of a file or pixels into RGB pixels, resized as asked.
 * @param name the picture's name in errors
 */
export type Decoder = (source: Encoded, name: string, scaling: Scaling) => Promise<Picture>;

/** Width and height after resizing. */
export function scaledDimensions(
  width: number,
  height: number,
  { size, enlarge }: Scaling,
): [number, number] {
  if (size === undefined || !enlarge && Math.min(width, height) <= size) return [width, height];
  return resizedDimensions(width, height, size);
}

/** Whether these are pixels, and not a file to be decoded. */
export const isPicture = (from: Encoded): from is Picture => typeof from === "object" && "pixels" in from;
