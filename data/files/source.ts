// Reads bytes from files on the disk.
import { type FileHandle, open } from "node:fs/promises";
import { checkRange, FormatError, type RandomAccess } from "../formats/source.ts";

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

/** Opens a file, which the caller must close. @throws FormatError if it does not exist or is not readable */
export async function openFile(path: string): Promise<RandomAccess> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "ENOENT") {
      const isName = /^[\w.-]+\/[\w-]+$/.test(path); // as repositories of the hub are named
      const advice = isName ? `, or write hf:${path} for a repository of the Hugging Face hub` : "";
      throw new FormatError(path, "there is no such file", `check the path${advice}`);
    }
    throw new FormatError(path, `cannot be opened (${code})`, "check the path and its permissions");
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new FormatError(
        path,
        "this is not a file",
        "name the checkpoint inside it (only a Flax model's folder can be opened as a whole)",
      );
    }
    return new FileSource(path, stat.size, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}
