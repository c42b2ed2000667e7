// A text file that grows by whole lines, such as metrics.jsonl. A line that does not fit on the disk waits for the next one,
// and half a line is never left behind.
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { writeError } from "./atomic.ts";

/** Appends lines to a file. */
export class LineFile {
  /** The file, which is created with the first line. */
  readonly path: string;
  #waiting: string[] = [];
  /** The length of the file after the last call; null before the first. */
  #length: number | null = null;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /** The number of lines that could not be written yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Adds a line, after those that wait. @throws if the file cannot be written; then the line waits too */
  async add(line: string): Promise<void> {
    this.#waiting.push(line);
    await this.flush();
  }

  /** Writes the lines that wait. @throws if the file cannot be written */
  async flush(): Promise<void> {
    const done = this.#busy.then(() => this.#flush());
    this.#busy = done.catch(() => {});
    await done;
  }

  async #flush(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const count = this.#waiting.length;
    try {
      const file = await open(this.path, constants.O_RDWR | constants.O_CREAT);
      try {
        await this.#append(file, new TextEncoder().encode(this.#waiting.map((line) => `${line}\n`).join("")));
      } finally {
        await file.close();
      }
    } catch (error) {
      throw writeError(this.path, error);
    }
    this.#waiting.splice(0, count);
  }

  async #append(file: FileHandle, bytes: Uint8Array): Promise<void> {
    const { size } = await file.stat();
    let end = size;
    if (size !== this.#length) { // a process that was killed, or a full disk, may have left half a line
      end = await wholeLines(file, size);
      if (end < size) await file.truncate(end);
    }
    try {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, end + at);
        at += bytesWritten;
      }
    } catch (error) {
      await file.truncate(end).catch(() => {});
      throw error;
    }
    this.#length = end + bytes.length;
  }
}

/** The length of the file up to the end of its last whole line. */
async function wholeLines(file: FileHandle, size: number): Promise<number> {
  const chunk = new Uint8Array(2 ** 16);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await file.read(chunk, 0, end - start, start);
    const last = chunk.subarray(0, bytesRead).lastIndexOf(10);
    if (last >= 0) return start + last + 1;
    end = start;
  }
  return 0;
}
