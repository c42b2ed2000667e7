// Opens files on the disk for reading. Only regular files are opened: opening a pipe or a device can wait forever or have
// an effect, and reading one never ends.
import type { Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { checkRange, FormatError, type RandomAccess, readRange } from "../formats/source.ts";
import { codeOf, troubleOf } from "./system_errors.ts";

/** Linux reads at most 2 GiB per call. */
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
      const { bytesRead } = await this.#file.read(target, done, length, offset + done).catch(
        (error: unknown) => {
          throw notReadable(this.path, error);
        },
      );
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

/** The error for a file that the system does not let us read. */
export function notReadable(path: string, error: unknown): FormatError {
  const code = codeOf(error), trouble = troubleOf(error, "reading");
  if (code === "ENOENT") {
    const isName = /^[\w.-]+\/[\w-]+$/.test(path); // as repositories of the hub are named
    const advice = isName ? `, or write hf:${path} for a repository of the Hugging Face hub` : "";
    return new FormatError(path, "there is no such file", `check the path${advice}`);
  }
  if (trouble) {
    return new FormatError(path, `it cannot be read (${code}): ${trouble.problem}`, trouble.wayOut);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new FormatError(path, `it cannot be read (${reason})`, "check the path and its permissions");
}

/** What something is that is not a regular file. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a folder";
  if (found.isFIFO()) return "a pipe";
  if (found.isSocket()) return "a socket";
  return "a device";
}

/**
 * Looks at a path without opening it.
 * @param kind what is expected there, such as "the checkpoint inside it", as advice if it is a folder
 * @throws FormatError if it does not exist, or is a folder, a pipe, a socket or a device
 */
export async function checkRegular(path: string, kind = "a file inside it"): Promise<Stats> {
  const found = await stat(path).catch((error: unknown) => {
    throw notReadable(path, error);
  });
  if (found.isFile()) return found;
  const wayOut = found.isDirectory() ? `name ${kind}` : "copy its contents to a file, and name that";
  throw new FormatError(path, `this is ${kindOf(found)} and not a file`, wayOut);
}

/**
 * Opens a file, which the caller must close.
 * @param kind what is expected there, as in `checkRegular`
 * @throws FormatError if it does not exist, is not a regular file, or is not readable
 */
export async function openFile(path: string, kind?: string): Promise<RandomAccess> {
  await checkRegular(path, kind);
  const file = await open(path, "r").catch((error: unknown) => {
    throw notReadable(path, error);
  });
  try {
    return new FileSource(path, (await file.stat()).size, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Reads a whole small file.
 * @param most the largest number of bytes that such a file has
 * @throws FormatError as `openFile` does, or if it is larger
 */
export async function readWhole(path: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const source = await openFile(path);
  try {
    if (source.byteLength > most) {
      throw new FormatError(
        path,
        `it has ${source.byteLength} bytes, at most ${most} are read`,
        "check that it is the right file",
      );
    }
    return await readRange(source, 0, source.byteLength, "the file");
  } finally {
    await source.close();
  }
}

/** Like `readWhole`, as text without a byte order mark. @throws FormatError also if it is not UTF-8 */
export async function readText(path: string, most: number): Promise<string> {
  const bytes = await readWhole(path, most);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new FormatError(path, "it is not UTF-8", "save it as UTF-8");
  }
}
