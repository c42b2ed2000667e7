// Bytes by range: the one way in which the readers touch a file, and the error that all of them throw.
import { printable } from "./text.ts";

const again = "copy or download the file again";

/** Longer problems are cut: a damaged name can be as long as the file. */
const maxProblem = 300;

/** A file that cannot be used, in one line: which file, what is wrong and where, and what to do. */
export class FormatError extends Error {
  /** "FormatError" */
  override readonly name = "FormatError";
  /** The file, or what the bytes are. */
  readonly path: string;

  /** Joins the three to one line. @param problem what is wrong and where @param wayOut what to do about it */
  constructor(path: string, problem: string, wayOut: string = again) {
    const short = problem.length > maxProblem ? `${problem.slice(0, maxProblem)}...` : problem;
    super(`${path}: ${printable(short)}; ${printable(wayOut)}`);
    this.path = path;
  }
}

/** Something with a length whose bytes can be read from anywhere. */
export interface RandomAccess {
  /** For messages. */
  readonly path: string;
  /** How many bytes there are. */
  readonly byteLength: number;
  /** Fills `target` with the bytes from `offset` on. @throws FormatError if they are not all there. */
  readInto(target: Uint8Array, offset: number): Promise<void>;
  /** After this nothing can be read any more. */
  close(): Promise<void>;
}

/** @throws FormatError with the numbers if `length` bytes from `offset` do not lie within the source. */
export function checkRange(source: RandomAccess, offset: number, length: number, what: string): void {
  const sane = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (sane && offset + length <= source.byteLength) return;
  throw new FormatError(
    source.path,
    `truncated or corrupt: ${what} needs ${length} bytes at byte ${offset}, ` +
      `the file has ${source.byteLength}`,
  );
}

/** A copy of `length` bytes from `offset` on. @throws FormatError as `checkRange` does. */
export async function readRange(
  source: RandomAccess,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  checkRange(source, offset, length, what);
  const bytes = new Uint8Array(length);
  await source.readInto(bytes, offset);
  return bytes;
}

/** Bytes that are in memory already, as a source. */
export function memorySource(path: string, bytes: Uint8Array): RandomAccess {
  const source: RandomAccess = {
    path,
    byteLength: bytes.length,
    readInto(target, offset) {
      checkRange(source, offset, target.length, "a read");
      target.set(bytes.subarray(offset, offset + target.length));
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  return source;
}

/** A Blob, such as a file that a page was given, as a source: only the ranges that are asked for are read from it. */
export function blobSource(path: string, blob: Blob): RandomAccess {
  const source: RandomAccess = {
    path,
    byteLength: blob.size,
    async readInto(target, offset) {
      checkRange(source, offset, target.length, "a read");
      const part = blob.slice(offset, offset + target.length);
      const bytes = await part.arrayBuffer().catch((error: unknown) => {
        throw new FormatError(
          path,
          `bytes from ${offset} on cannot be read (${error})`,
          "choose the file again",
        );
      });
      target.set(new Uint8Array(bytes));
    },
    close: () => Promise.resolve(),
  };
  return source;
}
