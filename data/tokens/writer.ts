// Writes token files so that a killed process loses no batch. Each batch is appended at once to a journal of JSON lines
// next to the file (FILE.partial). The file itself appears only when it is complete. A writer that is opened again
// continues after the last whole line, or adds to the complete file. A lock (FILE.lock) keeps other processes from writing the
// same file.
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { callback, checkOptions, flag, type Rules } from "../../src/check.ts";
import { writeAtomic, writeError } from "../files/atomic.ts";
import { FileLock, LockedError, LockLostError } from "../files/lock.ts";
import { journalOf, lockOf, tokenFormat } from "./format.ts";
import { type Kept, openFinished, recover } from "./kept.ts";
import { checkNewHeader, checkRecord, type TokenHeader, type TokenRecord } from "./record.ts";
import { openJsonLines, toJsonLine, writeJsonLines } from "./text.ts";
import { writeTokens } from "./write.ts";

/** How a `TokenWriter` deals with what is there already. */
export interface WriterOptions {
  /** Called with every record that an earlier call has written. A promise that it returns is awaited. */
  readonly onKept?: (record: TokenRecord) => void | Promise<void>;
  /**
   * Replaces a finished file, and begins anew where one was begun with another header. Default false. Even so the finished file
   * stays until the new one is complete.
   */
  readonly replace?: boolean;
}

/** Another process writes the same token file, as far as can be known. */
export class TokensInUseError extends Error {
  /** "TokensInUseError" */
  override readonly name = "TokensInUseError";
  /** The token file. */
  readonly path: string;
  /** Whether the other process certainly runs. It may have ended if it is on another machine. */
  readonly isCertain: boolean;

  /**
   * Says who has the file.
   * @param owner the other process and its machine
   * @param doubt what to do if it has ended; "" if it certainly runs
   */
  constructor(path: string, owner: string, doubt: string) {
    super(`${path} is in use: ${owner} writes it${doubt}`);
    this.path = path;
    this.isCertain = doubt === "";
  }
}

const writerRules: Rules<WriterOptions> = { onKept: callback, replace: flag };

/**
 * Writes a token file: .parquet, .jsonl or .tsv.
 * @example Encoding a folder, continuing where an earlier call stopped
 * ```ts
 * import { eachSample, hashWeights, TokenWriter, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt"), sources = ["faces/"];
 * const { factor, range, vocabulary, config: { attentionOrder } } = model;
 * const writer = await TokenWriter.open("written.parquet", {
 *   ...{ format: "tessera-tokens", version: 1, grid: [16, 16], vocabulary, factor, range, attentionOrder },
 *   ...{ preprocessing: "middle square of 128", model: "last.ckpt", weights: await hashWeights("last.ckpt") },
 *   ...{ source: sources, shard: null },
 * });
 * for await (const sample of eachSample(sources)) {
 *   if (writer.has(sample.name)) continue;
 *   const { tokens, grid } = await model.tokensOf(await sample.picture());
 *   await writer.add([{ file: sample.name, caption: await sample.caption(), encoding: [...tokens], grid }]);
 * }
 * await writer.finish();
 * ```
 */
export class TokenWriter {
  /** Where the complete file will appear. */
  readonly path: string;
  /** The header of the file: the one that was given to `open`, or that of the file that is continued. */
  readonly header: TokenHeader;

  readonly #names = new Set<string>();
  readonly #lock: FileLock;
  /** The file that was finished before. Its records are the first ones of the journal. */
  readonly #finished: Kept | null;
  /** Whether the first line of the journal says what the header says. */
  readonly #isCurrent: boolean;
  /** The journal; null until there is a record to write. */
  #file: FileHandle | null = null;
  #size: number;

  private constructor(
    path: string,
    lock: FileLock,
    header: TokenHeader,
    begun: Begun | null,
    finished: Kept | null,
  ) {
    this.path = path;
    this.#lock = lock;
    this.header = begun?.header ?? finished?.header ?? header;
    this.#finished = begun ? null : finished;
    this.#isCurrent = begun?.isCurrent ?? true;
    this.#size = begun?.size ?? 0;
  }

  /**
   * Begins a file, or continues one that was begun or finished with the same header. The name of the model does not matter,
   * only its weights, and there may be more sources than before. Until `finish` or `close`, no other process can open it. No
   * token is written before the first record is added.
   * @throws TokensInUseError if another process has opened it, or this one already; FileExistsError if there is a file of this
   * name that was made with another header, or is none of Tessera's; FormatError if the ending is unknown, or a file was begun
   * under this name with another header.
   */
  static async open(path: string, header: TokenHeader, options: WriterOptions = {}): Promise<TokenWriter> {
    tokenFormat(path);
    checkNewHeader(header);
    checkOptions("TokenWriter.open", options, writerRules);
    const { onKept = () => {}, replace = false } = options;
    const lock = await FileLock.take(lockOf(path)).catch((error: unknown) => {
      throw error instanceof LockedError ? new TokensInUseError(path, error.owner, error.doubt) : error;
    });
    try {
      lock.start();
      const begun = await recover(journalOf(path), header, replace);
      const finished = replace ? null : await openFinished(path, header);
      const writer = new TokenWriter(path, lock, header, begun, finished);
      for await (const record of (begun ?? finished)?.records() ?? []) {
        writer.#names.add(record.file);
        await onKept(record);
      }
      return writer;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** The number of pictures in the file so far. */
  get length(): number {
    return this.#names.size;
  }

  /** Whether the file was finished before, and nothing has been added to it since. */
  get isFinished(): boolean {
    return this.#finished !== null && this.#size === 0;
  }

  /** Whether the file has a picture of this name. */
  has(file: string): boolean {
    return this.#names.has(file);
  }

  /**
   * Adds records, which are kept even if the process is killed afterwards.
   * @throws if a record does not fit the header, or another process has taken the file while this one was suspended
   */
  async add(records: readonly TokenRecord[]): Promise<void> {
    for (const record of records) checkRecord(record, this.header);
    this.#checkLock();
    const file = this.#file ??= await this.#begin();
    await this.#append(file, records.map((record) => toJsonLine(record, this.header) + "\n").join(""));
    for (const { file } of records) this.#names.add(file);
  }

  /** Opens the journal. A new one begins with the header, and with the records of a file that was finished before. */
  async #begin(): Promise<FileHandle> {
    const partial = journalOf(this.path);
    if (this.#size === 0 && this.#finished) {
      const { records } = this.#finished;
      await writeAtomic(partial, (file) => writeJsonLines(file, this.header, records()));
      this.#size = (await stat(partial)).size;
    }
    const file = await open(partial, "a+").catch((error: unknown) => { // created if it does not exist
      throw writeError(partial, error);
    });
    try {
      if (this.#size === 0) await this.#append(file, JSON.stringify(this.header) + "\n");
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #append(file: FileHandle, text: string): Promise<void> {
    const { size } = await file.stat();
    if (size !== this.#size) {
      throw new Error(`${journalOf(this.path)}: something else has written to it; give the command again`);
    }
    const bytes = new TextEncoder().encode(text);
    await file.writeFile(bytes).catch((error: unknown) => {
      throw writeError(journalOf(this.path), error);
    });
    this.#size += bytes.length;
  }

  /** @throws TokensInUseError if another process has taken the lock away, for example while this one was suspended */
  #checkLock(): void {
    try {
      this.#lock.check();
    } catch (error) {
      throw error instanceof LockLostError ? new TokensInUseError(this.path, error.owner, "") : error;
    }
  }

  /**
   * Writes the complete file, removes the journal and closes the writer. A file that was finished before stays if nothing was
   * added.
   */
  async finish(): Promise<void> {
    try {
      if (!this.isFinished) await this.#finish();
    } finally {
      await this.close();
    }
  }

  async #finish(): Promise<void> {
    this.#checkLock();
    const partial = journalOf(this.path), file = this.#file ??= await this.#begin();
    await file.sync();
    await file.close();
    this.#file = null;
    if (tokenFormat(this.path) === "jsonl" && this.#isCurrent) return await rename(partial, this.path);
    await writeTokens(this.path, this.header, (await openJsonLines(partial)).records());
    await unlink(partial);
  }

  /** Closes the writer. The journal stays, so that another writer can continue it. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    try {
      await file?.close();
    } finally {
      this.#lock.release();
    }
  }
}

/** A journal that is continued. */
type Begun = Kept & { readonly size: number };
