// Reads text files line by line, in bounded memory.
import { FormatError } from "../formats/source.ts";
import { openFile } from "./source.ts";

export interface Line {
  /** Without its line feed; null if its bytes are not UTF-8. */
  readonly text: string | null;
  readonly number: number;
  /** The position of the byte after the line's end. */
  readonly end: number;
  /** Whether it ends with a line feed. False for a last line that was cut off. */
  readonly isWhole: boolean;
}

/** The longest line in bytes. The tokens of an 8192x8192 picture at f8 take 6 MB. */
const maxLine = 2 ** 26;
const chunkLength = 2 ** 20, lineFeed = 10;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decoded(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** @throws FormatError if the line is not UTF-8 */
export function checkText(path: string, { text, number }: Line): string {
  if (text !== null) return text;
  throw new FormatError(path, `line ${number} is not UTF-8`, "save the file as UTF-8");
}

/**
 * Yields the lines of a text file, as many at a time as one read gives. A byte order mark is left out where it can stand: at
 * the beginning of the file.
 * @throws FormatError if it is not a file, or a line is too long
 */
export async function* linesOf(path: string): AsyncGenerator<Line[]> {
  const file = await openFile(path);
  try {
    let held = new Uint8Array(0), number = 0, end = 0;
    /** Makes lines of the bytes, which hold whole lines only, or the last one. */
    const linesIn = (bytes: Uint8Array, isWhole: boolean): Line[] => {
      // a line feed is no part of any other character, so all lines can be decoded at once
      const texts = decoded(bytes)?.split("\n"), lines: Line[] = [];
      for (let at = 0; at < bytes.length;) {
        const found = bytes.indexOf(lineFeed, at), stop = found < 0 ? bytes.length : found;
        const text = texts ? texts[lines.length]! : decoded(bytes.subarray(at, stop));
        at = stop + (isWhole ? 1 : 0);
        if (++number === 1) {
          lines.push({ text: text?.replace(/^\uFEFF/, "") ?? null, number, end: at, isWhole });
        } else lines.push({ text, number, end: end + at, isWhole });
      }
      end += bytes.length;
      return lines;
    };
    for (let at = 0; at < file.byteLength; at += chunkLength) {
      const chunk = new Uint8Array(Math.min(chunkLength, file.byteLength - at));
      await file.readInto(chunk, at);
      const stop = chunk.lastIndexOf(lineFeed) + 1;
      if (held.length + (stop === 0 ? chunk.length : chunk.indexOf(lineFeed)) > maxLine) {
        throw new FormatError(path, `line ${number + 1} has more than ${maxLine} bytes`);
      }
      if (stop > 0) yield linesIn(joined(held, chunk.subarray(0, stop)), true);
      held = stop > 0 ? chunk.slice(stop) : joined(held, chunk);
    }
    if (held.length > 0) yield linesIn(held, false);
  } finally {
    await file.close();
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
