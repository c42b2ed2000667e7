// Reads text files line by line, in bounded memory.
import { open } from "node:fs/promises";
import { FormatError } from "../formats/source.ts";

export interface Line {
  readonly text: string;
  readonly number: number;
  /** The position of the byte after the line's end. */
  readonly end: number;
  /** Whether it ends with a line end. False for a last line that was cut off. */
  readonly isWhole: boolean;
}

/** The longest line in bytes. The tokens of an 8192x8192 picture at f8 take 6 MB. */
const maxLine = 2 ** 26;

/**
 * Yields the lines of a UTF-8 file without line ends. @throws FormatError if the file is missing or a line is too long
 */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const file = await open(path, "r").catch(() => {
    throw new FormatError(path, "there is no such file", "check the path");
  });
  try {
    const decoder = new TextDecoder(), chunk = new Uint8Array(2 ** 20);
    let parts: Uint8Array[] = [], held = 0, number = 0, end = 0;
    const line = (isWhole: boolean): Line => {
      const bytes = new Uint8Array(held);
      let at = 0;
      for (const part of parts) bytes.set(part, (at += part.length) - part.length);
      const text = decoder.decode(bytes).replace(/\r$/, "");
      end += held + (isWhole ? 1 : 0);
      [parts, held] = [[], 0];
      return { text, number: ++number, end, isWhole };
    };
    while (true) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) break;
      for (let start = 0; start < bytesRead;) {
        const stop = chunk.subarray(0, bytesRead).indexOf(10, start);
        const part = chunk.slice(start, stop < 0 ? bytesRead : stop);
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
