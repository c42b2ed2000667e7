// Bytes by range: the one way in which the readers touch a file, and the error that all of them throw.
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";

const again = "copy or download the file again";

/** Names come from the file, so nothing in them may move a terminal's cursor or break the line. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Zl}|\p{Zp}/gu, "?");
}

/** Longer ones are cut: a damaged name can be as long as the file. */
const maxProblem = 300;

/** A file that cannot be used, in one line: which file, what is wrong and where, and what to do. */
export class FormatError extends Error {
  readonly path: string;

  override readonly name = "FormatError";
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
  readonly byteLength: number;
  /** Fills `target` with the bytes from `offset` on. @throws FormatError if they are not all there. */
  readInto(target: Uint8Array, offset: number): Promise<void>;
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

/** Linux reads at most 2 GiB a call. */
const maxRead = 2 ** 30;

class FileSource implements RandomAccess {
  readonly path: string;
  readonly byteLength: number;

  readonly #file: FileHandle;

  constructor(path: string, byteLength: number, file: FileHandle) {
    this.path = path;
    this.byteLength = byteLength;
    this.#file = file;
  }

  async readInto(target: Uint8Array, offset: number): Promise<void> {
    checkRange(this, offset, target.length, "a read");
    for (let done = 0; done < target.length;) {
      const length = Math.min(target.length - done, maxRead);
      const { bytesRead } = await this.#file.read(target, done, length, offset + done);
      if (bytesRead === 0) {
        throw new FormatError(
          this.path,
          `the file became shorter while it was read (at byte ${offset + done})`,
          "try again when nothing writes to it",
        );
      }
      done += bytesRead;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** @throws FormatError if there is no such file, or it may not be read. The caller closes the source. */
export async function openFile(path: string): Promise<RandomAccess> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "ENOENT") throw new FormatError(path, "there is no such file", "check the path");
    throw new FormatError(path, `cannot be opened (${code})`, "check the path and its permissions");
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new FormatError(
        path,
        "this is not a file",
        "name the checkpoint inside it (of a folder, only a Flax model's can be opened)",
      );
    }
    return new FileSource(path, stat.size, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Bytes that are in memory already, as a source: for tests, and for files that a page was given. */
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
