// Writes token files so that a killed process loses no batch. Each batch is appended at once to a journal of JSON lines
// next to the file (FILE.partial). The file itself appears only when it is complete. A writer that is opened again
// continues after the last whole line, or adds to the complete file.
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { callback, checkOptions, flag, type Rules } from "../../src/check.ts";
import { writeAtomic, writeError } from "../files/atomic.ts";
import { journalOf, tokenFormat } from "./format.ts";
import { openFinished, recover } from "./kept.ts";
import { checkNewHeader, checkRecord, type TokenFile, type TokenHeader, type TokenRecord } from "./record.ts";
import { openJsonLines, toJsonLine, writeTsv } from "./text.ts";

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
  /** The file that was finished before. Its records are the first ones of the journal. */
  readonly #finished: TokenFile | null;
  /** The journal; null until there is a record to write. */
  #file: FileHandle | null = null;
  #size: number;

  private constructor(path: string, header: TokenHeader, finished: TokenFile | null, size: number) {
    this.path = path;
    this.header = header;
    this.#finished = finished;
    this.#size = size;
  }

  /**
   * Begins a file, or continues one that was begun or finished with the same header. The name of the model does not matter,
   * only its weights. Nothing is written before the first record is added.
   * @throws FileExistsError if there is a file of this name that was made with another header, or is none of Tessera's;
   * FormatError if the ending is unknown, or a file was begun under this name with another header.
   */
  static async open(path: string, header: TokenHeader, options: WriterOptions = {}): Promise<TokenWriter> {
    tokenFormat(path);
    checkNewHeader(header);
    checkOptions("TokenWriter.open", options, writerRules);
    const { onKept = () => {}, replace = false } = options;
    const begun = await recover(journalOf(path), header, replace);
    const finished = replace ? null : await openFinished(path, header);
    const kept = begun ?? finished;
    const writer = new TokenWriter(path, kept?.header ?? header, begun ? null : finished, begun?.size ?? 0);
    if (kept) {
      for await (const record of kept.records()) {
        writer.#names.add(record.file);
        await onKept(record);
      }
    }
    return writer;
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
   * @throws if a record does not fit the header, or another process writes the same file
   */
  async add(records: readonly TokenRecord[]): Promise<void> {
    for (const record of records) checkRecord(record, this.header);
    const file = this.#file ??= await this.#begin();
    await this.#append(file, records.map((record) => toJsonLine(record, this.header) + "\n").join(""));
    for (const { file } of records) this.#names.add(file);
  }

  /** Opens the journal. A new one begins with the header, and with the records of a file that was finished before. */
  async #begin(): Promise<FileHandle> {
    const partial = journalOf(this.path);
    if (this.#size === 0 && this.#finished) {
      await this.#copy(this.#finished, partial);
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

  async #copy({ records }: TokenFile, partial: string): Promise<void> {
    await writeAtomic(partial, async (file) => {
      let lines = JSON.stringify(this.header) + "\n";
      for await (const record of records()) {
        lines += toJsonLine(record, this.header) + "\n";
        if (lines.length < 2 ** 20) continue;
        await file.writeFile(lines);
        lines = "";
      }
      await file.writeFile(lines);
    });
  }

  async #append(file: FileHandle, text: string): Promise<void> {
    const { size } = await file.stat();
    if (size !== this.#size) {
      throw new Error(`${journalOf(this.path)}: another process writes to it; give each one its own file`);
    }
    const bytes = new TextEncoder().encode(text);
    await file.writeFile(bytes).catch((error: unknown) => {
      throw writeError(journalOf(this.path), error);
    });
    this.#size += bytes.length;
  }

  /** Writes the complete file and removes the journal. A file that was finished before stays if nothing was added. */
  async finish(): Promise<void> {
    if (this.isFinished) return;
    const partial = journalOf(this.path), file = this.#file ??= await this.#begin();
    await file.sync();
    await this.close();
    const format = tokenFormat(this.path);
    if (format === "jsonl") return await rename(partial, this.path);
    const write = format === "tsv" ? writeTsv : (await import("./parquet.ts")).writeParquet;
    const journal = await openJsonLines(partial);
    await writeAtomic(this.path, (file) => write(file, this.header, journal.records()));
    await unlink(partial);
  }

  /** Closes the writer. The journal stays, so that another writer can continue it. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }
}
