// A file that is being downloaded, under a name of its own beside the one that it will get, with the hash of what is there.
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncFolder } from "../files/atomic.ts";

/** A hash that a server states: SHA-256, or git's own (SHA-1 with a header) for files that are in git itself. */
export interface StatedHash {
  readonly kind: "sha256" | "git";
  readonly hex: string;
}

const blockLength = 2 ** 22;

export class Partial {
  readonly #path: string;
  readonly #newHash: () => Hash;
  #hash: Hash;
  #file: FileHandle;
  #length = 0;

  private constructor(path: string, file: FileHandle, newHash: () => Hash) {
    this.#path = path;
    this.#file = file;
    this.#newHash = newHash;
    this.#hash = newHash();
  }

  /**
   * Opens the file for `target`. What earlier downloads of the same file left is gone on with: the longest gets the new name,
   * and the others are removed.
   * @param holder a name that no other process has
   * @param size the size of the whole file, which git's hash contains
   * @param goesOn whether the rest can be fetched; otherwise everything starts anew
   */
  static async open(
    target: string,
    holder: string,
    { size, hash, goesOn, signal }: {
      readonly size: number | null;
      readonly hash: StatedHash | null;
      readonly goesOn: boolean;
      readonly signal?: AbortSignal;
    },
  ): Promise<Partial> {
    const path = `${target}.tessera-${holder}.incomplete`;
    const isFound = await adopt(target, path, goesOn ? size ?? Infinity : -1);
    const newHash = () => {
      return hash?.kind === "git" ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256");
    };
    const partial = new Partial(path, await open(path, isFound ? "r+" : "wx+"), newHash);
    try {
      if (isFound) await partial.#read(signal);
      return partial;
    } catch (error) {
      await partial.close();
      throw error;
    }
  }

  /** The number of bytes that are there. */
  get length(): number {
    return this.#length;
  }

  async #read(signal?: AbortSignal): Promise<void> {
    const block = new Uint8Array(blockLength);
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.#file.read(block, 0, blockLength, this.#length);
      if (bytesRead === 0) return;
      this.#hash.update(block.subarray(0, bytesRead));
      this.#length += bytesRead;
    }
  }

  /** Adds bytes at the end. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#length);
      this.#hash.update(bytes.subarray(done, done + bytesWritten));
      this.#length += bytesWritten;
      done += bytesWritten;
    }
  }

  /** Returns at most `length` bytes from the start. */
  async head(length: number): Promise<Uint8Array> {
    const { buffer, bytesRead } = await this.#file.read(new Uint8Array(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  }

  /** Drops what is there. A new file is made, because another process might still write into the old one. */
  async restart(): Promise<void> {
    await this.#file.close();
    await unlink(this.#path).catch(() => {});
    this.#file = await open(this.#path, "wx+");
    this.#hash = this.#newHash();
    this.#length = 0;
  }

  /** The hash of all bytes, in hexadecimal. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** Gives the file its name, when everything is on the disk. */
  async finish(target: string): Promise<void> {
    await this.#file.sync();
    await this.close();
    await rename(this.#path, target);
    await syncFolder(dirname(target));
  }

  /** Closes the file, which stays for the next attempt if there is anything in it. Calling it again does nothing. */
  async close(): Promise<void> {
    await this.#file.close().catch(() => {});
    if (this.#length === 0) await unlink(this.#path).catch(() => {});
  }
}

/** The files for `target` that are there, of this process or of others. */
export async function partsOf(target: string): Promise<{ readonly path: string; readonly size: number }[]> {
  const folder = dirname(target), start = `${basename(target)}.tessera-`;
  const found: { readonly path: string; readonly size: number }[] = [];
  for (const name of await readdir(folder)) {
    if (!name.startsWith(start) || !name.endsWith(".incomplete")) continue;
    const info = await stat(join(folder, name)).catch(() => null);
    if (info) found.push({ path: join(folder, name), size: info.size });
  }
  return found;
}

/** Renames the longest of the files that were left, if it has at most `most` bytes. Removes the others. */
async function adopt(target: string, path: string, most: number): Promise<boolean> {
  const left = await partsOf(target);
  const best = left.filter(({ size }) => size <= most).sort((a, b) => b.size - a.size).at(0);
  if (best) await rename(best.path, path);
  for (const other of left) if (other !== best) await unlink(other.path).catch(() => {});
  return best !== undefined;
}
