// Reads text files line by line, in bounded memory.
import { FormatError } from "../formats/source.ts";
import { openFile } from "./source.ts";

export interface Line {
  /** Without its line feed; null if its bytes are not UTF-8. */
  readonly text: string | null;
  readonly number: number;
  /** The position of the byte after the line's end. */
  readonly end: number;
  /** Whether it ends with a line end. False for a last line that was cut off. */
  readonly isWhole: boolean;
}

/** The longest line in bytes. The tokens of an 8192x8192 picture at f8 take 6 MB. */
const maxLine = 2 ** 26;
const chunkLength = 2 ** 20;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes a line. A byte order mark is left out where it can stand: at the beginning of the file. */
function textOf(bytes: Uint8Array, isFirst: boolean): string | null {
  try {
    const text = utf8.decode(bytes);
    return isFirst ? text.replace(/^\uFEFF/, "") : text;
  } catch {
    return null;
  }
}

/** @throws FormatError if the line is not UTF-8 */
export function checkText(path: string, { text, number }: Line): string {
  if (text !== null) return text;
  throw new FormatError(path, `line ${number} is not UTF-8`, "save the file as UTF-8");
}

/** Yields the lines of a text file. @throws FormatError if it is not a file, or a line is too long */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const file = await openFile(path);
  try {
    let parts: Uint8Array[] = [], held = 0, number = 0, end = 0;
    const line = (isWhole: boolean): Line => {
      const bytes = new Uint8Array(held);
      let at = 0;
      for (const part of parts) bytes.set(part, (at += part.length) - part.length);
      end += held + (isWhole ? 1 : 0);
      [parts, held] = [[], 0];
      number++;
      return { text: textOf(bytes, number === 1), number, end, isWhole };
    };
    for (let at = 0; at < file.byteLength; at += chunkLength) {
      const chunk = new Uint8Array(Math.min(chunkLength, file.byteLength - at));
      await file.readInto(chunk, at);
      for (let start = 0; start < chunk.length;) {
        const stop = chunk.indexOf(10, start);
        const part = chunk.subarray(start, stop < 0 ? chunk.length : stop);
        parts.push(part);
        held += part.length;
        if (held > maxLine) throw new FormatError(path, `line ${number + 1} has more than ${maxLine} bytes`);
        if (stop < 0) break;
        yield line(true);
        start = stop + 1;
      }
    }
    if (held > 0) yield line(false);
  } finally {
    await file.close();
  }
}
