// Which files are pictures and which are captions, by their names.
import { printable } from "../formats/text.ts";

/** The file extensions of pictures in folders and archives. A glob or a list may name files with any extension. */
export const imageExtensions: readonly string[] = [
  "jpg",
  "jpeg",
  "png",
  "webp",
  "gif",
  "avif",
  "tif",
  "tiff",
  "jfif",
  "jpe",
];

/** Returns what follows the last dot of a name, in small letters; "" if there is no dot. */
export function extensionOf(name: string): string {
  return /\.([^./\\]*)$/.exec(name)?.[1].toLowerCase() ?? "";
}

export const isImageName = (name: string): boolean => imageExtensions.includes(extensionOf(name));

export const isCaptionName = (name: string): boolean => extensionOf(name) === "txt";

/** Returns the name without its extension, which is what a picture and its caption share. */
export const stemOf = (name: string): string => name.replace(/\.[^./\\]*$/, "");

/**
 * Returns the names without extension that a picture's caption may have: the picture's own, and WebDataset's key, which
 * ends at the first dot. So 7.txt belongs to 7.jpg, and to 7.left.jpg unless there is a 7.left.txt.
 */
export function captionStems(picture: string): string[] {
  const key = picture.replace(/(?<=^|[/\\])(\.*[^./\\]+)\.[^/\\]*$/, "$1");
  return [...new Set([stemOf(picture), key])];
}

/** Counts what is in folders and archives and is not read, by the kind. */
export class LeftOut {
  readonly #counts = new Map<string, number>();

  /** Counts a picture with the name of a later one in the same archive. */
  addDuplicate(): void {
    this.#add("with the name of a later one");
  }

  /** Counts a file that is neither a picture nor a caption. */
  addFile(name: string): void {
    const extension = extensionOf(name);
    this.#add(extension === "" ? "without an extension" : `.${extension}`);
  }

  #add(kind: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  /** Says how many there are of which kind, such as "3 files: 2 .json, 1 .bmp". Null if there are none. */
  summary(): string | null {
    if (this.#counts.size === 0) return null;
    const sorted = [...this.#counts].sort(([, a], [, b]) => b - a);
    const total = sorted.reduce((sum, [, count]) => sum + count, 0);
    const shown = sorted.slice(0, 5).map(([kind, count]) => `${count} ${printable(kind)}`);
    if (sorted.length > 5) shown.push(`and ${sorted.length - 5} other kinds`);
    return `${total} ${total === 1 ? "file" : "files"}: ${shown.join(", ")}`;
  }
}
