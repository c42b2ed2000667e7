// The error that everything that reads pictures throws.
import { printable } from "../formats/text.ts";

/** A picture that cannot be read: which one, and why. */
export class ImageError extends Error {
  /** "ImageError" */
  override readonly name = "ImageError";
  /** The path, the name of the File, or "(bytes)", "(Blob)" or "(pixels)". */
  readonly path: string;
  /** The message without the path. */
  readonly reason: string;

  /** The message names both. @param reason what is wrong with it, as the second half of a sentence */
  constructor(path: string, reason: string) {
    super(`cannot read the picture ${printable(path)}: ${printable(reason)}`);
    this.path = path;
    this.reason = reason;
  }
}
