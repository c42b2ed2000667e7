// Writes token files so that a killed process loses no batch. Each batch is appended at once to a journal of JSON lines
// next to the file (NAME.partial). The file itself appears only when it is complete. A writer that is opened again
// continues after the last whole line.
import { type FileHandle, lstat, open, rename, truncate, unlink } from "node:fs/promises";
import { writeAtomic, writeError } from "../files/atomic.ts";
import { type Line, linesOf } from "../files/lines.ts";
import { checkRegular } from "../files/source.ts";
import { parseJson, record } from "../formats/json.ts";
import { FormatError } from "../formats/source.ts";
import { checkNewHeader, checkRecord, type TokenHeader, type TokenRecord } from "./record.ts";
import { openJsonLines, toJsonLine, writeTsv } from "./text.ts";

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
  /** The header that was given to `open`. */
  readonly header: TokenHeader;

  readonly #names = new Set<string>();
  readonly #file: FileHandle;
  #size: number;

  private constructor(
    path: string,
    header: TokenHeader,
    file: FileHandle,
    size: number,
  ) {
    this.path = path;
    this.header = header;
    this.#file = file;
    this.#size = size;
  }

  /**
   * Begins a file, or continues one that was begun with the same header.
   * @param onKept called with every record that the journal already holds
   * @throws if the ending is unknown, or a file was begun under this name with another header.
   */
  static async open(
    path: string,
    header: TokenHeader,
    onKept: (record: TokenRecord) => void = () => {},
  ): Promise<TokenWriter> {
    tokenFormat(path);
    checkNewHeader(header);
    const partial = `${path}.partial`;
    if (await lstat(partial).catch(() => null)) await checkRegular(partial); // opening a pipe would wait forever
    const file = await open(partial, "a+").catch((error: unknown) => { // created if it does not exist
      throw writeError(partial, error);
    });
    try {
      const { kept, size } = await recover(partial, header);
      await truncate(partial, size);
      const writer = new TokenWriter(path, header, file, size);
      for await (const record of kept) {
        writer.#names.add(record.file);
        onKept(record);
      }
      if (size === 0) await writer.#append(JSON.stringify(header) + "\n");
      return writer;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The number of pictures in the file so far. */
  get length(): number {
    return this.#names.size;
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
    await this.#append(records.map((record) => toJsonLine(record, this.header) + "\n").join(""));
    for (const { file } of records) this.#names.add(file);
  }

  async #append(text: string): Promise<void> {
    const { size } = await this.#file.stat();
    if (size !== this.#size) {
      throw new Error(`${this.path}.partial: another process writes to it; give each one its own file`);
    }
    const bytes = new TextEncoder().encode(text);
    await this.#file.writeFile(bytes).catch((error: unknown) => {
      throw writeError(`${this.path}.partial`, error);
    });
    this.#size += bytes.length;
  }

  /** Writes the complete file and removes the journal. */
  async finish(): Promise<void> {
    const partial = `${this.path}.partial`;
    await this.#file.sync();
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
    await this.#file.close();
  }
}

export type TokenFormat = "parquet" | "jsonl" | "tsv";

/** @throws FormatError if the name has none of the three endings. */
export function tokenFormat(path: string): TokenFormat {
  const ending = path.toLowerCase().split(".").at(-1);
  if (ending === "parquet" || ending === "jsonl" || ending === "tsv") return ending;
  throw new FormatError(path, "token files end in .parquet, .jsonl or .tsv", "give it one of these endings");
}

/**
 * Finds the valid part of a journal: everything before the first line that is cut off or broken, for example by a power
 * cut.
 */
async function recover(
  partial: string,
  header: TokenHeader,
): Promise<{ kept: AsyncIterable<TokenRecord>; size: number }> {
  const wanted = JSON.stringify(header);
  let size = 0;
  for await (const { text, number, end, isWhole } of eachLine(partial)) {
    if (!isWhole || text === null || !isJson(text)) break;
    if (number === 1 && text !== wanted) {
      const wayOut = "begin it with the same settings, delete it, or write to another file";
      throw new FormatError(
        partial,
        `it was begun with other settings (${difference(text, wanted)})`,
        wayOut,
      );
    }
    size = end;
  }
  const none = (async function* (): AsyncGenerator<TokenRecord> {})();
  return { kept: size === 0 ? none : (await openJsonLines(partial)).records(), size };
}

async function* eachLine(path: string): AsyncGenerator<Line> {
  for await (const lines of linesOf(path)) yield* lines;
}

function isJson(text: string): boolean {
  try {
    return record(parseJson(text)) !== null;
  } catch {
    return false;
  }
}

/** Describes the first field in which two headers differ, such as "range unit, now signed". */
function difference(before: string, now: string): string {
  const [old, wanted] = [before, now].map((text) => JSON.parse(text) as Record<string, unknown>);
  const show = (value: unknown) => JSON.stringify(value)?.replaceAll('"', "") ?? "nothing";
  const key = Object.keys({ ...wanted, ...old }).find((key) => show(old[key]) !== show(wanted[key]));
  return key === undefined ? "another layout" : `${key} ${show(old[key])}, now ${show(wanted[key])}`;
}
