// The interface through which the readers read bytes of a file, and the error that all of them throw.
import { printable } from "./text.ts";

const again = "copy or download the file again";

/** Longer problems are shortened, because a damaged name can be as long as the file. */
const maxProblem = 300;

/** A file that cannot be used. The message says in one line which file, what is wrong and where, and what to do. */
export class FormatError extends Error {
  /** "FormatError" */
  override readonly name = "FormatError";
  /** The path of the file, or a description of the bytes. */
  readonly path: string;

  /** Joins the parts to one line. @param problem what is wrong and where @param wayOut what to do about it */
  constructor(path: string, problem: string, wayOut: string = again) {
    const short = problem.length > maxProblem ? `${problem.slice(0, maxProblem)}...` : problem;
    super(printable(`${path}: ${short}; ${wayOut}`));
    this.path = path;
  }
}

/** A source with a known length whose bytes can be read in any order. */
export interface RandomAccess {
  /** The source's name in messages. */
  readonly path: string;
  /** The number of bytes. */
  readonly byteLength: number;
  /** Fills `target` with the bytes from `offset` on. @throws FormatError if the source does not hold all of them */
  readInto(target: Uint8Array, offset: number): Promise<void>;
  /** Closes the source. After this it cannot be read. */
  close(): Promise<void>;
}

/** @throws FormatError with the numbers if `length` bytes from `offset` on are not all in the source. */
export function checkRange(source: RandomAccess, offset: number, length: number, what: string): void {
  const sane = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (sane && offset + length <= source.byteLength) return;
  throw new FormatError(
    source.path,
    `truncated or corrupt: ${what} needs ${length} bytes at byte ${offset}, ` +
      `but the file has ${source.byteLength}`,
  );
}

/** Returns a copy of `length` bytes from `offset` on. @throws FormatError like `checkRange` */
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

/**
 * Reads small pieces that lie close together, without asking the source for each of them. A piece is a view that is valid
 * until the next call.
 */
export class Window {
  readonly #source: RandomAccess;
  readonly #length: number;
  #bytes = new Uint8Array(0);
  #start = 0;

  /** @param length how many bytes are read at a time, at least */
  constructor(source: RandomAccess, length: number) {
    this.#source = source;
    this.#length = length;
  }

  /** @throws FormatError like `checkRange` */
  async view(offset: number, length: number, what: string): Promise<DataView> {
    checkRange(this.#source, offset, length, what);
    if (offset < this.#start || offset + length > this.#start + this.#bytes.length) {
      const read = Math.min(Math.max(length, this.#length), this.#source.byteLength - offset);
      this.#bytes = await readRange(this.#source, offset, read, what);
      this.#start = offset;
    }
    return new DataView(this.#bytes.buffer, offset - this.#start, length);
  }
}

/** Makes a source of bytes that are already in memory. */
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

/** Makes a source of a Blob, such as a file that a web page was given. Only the requested ranges are read from it. */
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
