// A picture from a file or from pixels, as a square of some size.
import { type Picture, type PictureSource, readImage } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** @throws ImageError if the picture cannot be decoded */
export async function picture(
  _engine: Engine,
  { source, size }: { readonly source: PictureSource; readonly size: number },
): Promise<Picture> {
  return await readImage(source, { size });
}
