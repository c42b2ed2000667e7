// Token files as Parquet, with the columns file, caption, encoding (list<int32>) and, where pictures differ in size,
// grid (list<int32>). The header is JSON under the key "tessera" in the file's metadata. One row group is read or
// written at a time.
import type { FileHandle } from "node:fs/promises";
import { type FileMetaData, parquetMetadataAsync, parquetReadObjects, type SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { openFile } from "../files/source.ts";
import { FormatError, type RandomAccess, readRange } from "../formats/source.ts";
import { checkPages, checkSchema, chunkRange } from "./parquet_check.ts";
import {
  checkHeader,
  type OpenTokensOptions,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
  toRecord,
} from "./record.ts";

const metadataKey = "tessera";
/** The number of tokens in a row group: about 4 MB on disk, so that writer and reader need little memory. */
const groupTokens = 2 ** 21;
/** The largest number of rows in a row group that is read, because all of them are in memory at once. */
const maxRows = 2 ** 22;

function listOf(name: string): SchemaElement[] {
  return [
    { name, repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", type: "INT32", repetition_type: "REQUIRED" },
  ];
}

/** Writes all records, with one row group in memory at a time. */
export async function writeParquet(
  file: FileHandle,
  header: TokenHeader,
  records: AsyncIterable<TokenRecord>,
): Promise<void> {
  const withGrid = header.grid === null;
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({
    writer: bytes,
    schema: [
      { name: "schema", num_children: withGrid ? 4 : 3 },
      { name: "file", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
      { name: "caption", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      ...listOf("encoding"),
      ...(withGrid ? listOf("grid") : []),
    ],
    kvMetadata: [{ key: metadataKey, value: JSON.stringify(header) }],
    createdBy: "tessera",
  });
  /**
   * Flushes as hyparquet-writer itself does: `index` is where the bytes in memory end, `offset` counts the whole file.
   */
  const flush = async () => {
    await file.writeFile(bytes.getBytes());
    bytes.index = 0;
  };
  let rows: TokenRecord[] = [], tokens = 0;
  const writeGroup = async () => {
    // a dictionary of the tokens that occur needs 14 bits per token instead of 32
    const dictionary = "RLE_DICTIONARY" as const;
    await writer.write({
      columnData: [
        { name: "file", data: rows.map(({ file }) => file) },
        { name: "caption", data: rows.map(({ caption }) => caption) },
        { name: "encoding", data: rows.map(({ encoding }) => encoding), encoding: dictionary },
        ...(withGrid ? [{ name: "grid", data: rows.map(({ grid }) => grid), encoding: dictionary }] : []),
      ],
      rowGroupSize: Math.max(1, rows.length),
    });
    await flush();
    [rows, tokens] = [[], 0];
  };
  for await (const record of records) {
    rows.push(record);
    tokens += record.encoding.length;
    if (tokens >= groupTokens) await writeGroup();
  }
  if (rows.length > 0) await writeGroup();
  writer.finish();
  await flush();
}

/** @throws FormatError if the file is missing, or is not a Parquet file with a column `encoding`. */
export async function openParquet(path: string, options: OpenTokensOptions = {}): Promise<TokenFile> {
  // hyparquet's search for geographic columns never ends if an element claims a negative number of children
  const metadata = await reading(path, async (file) => {
    const metadata = await parquetMetadataAsync(file, { geoparquet: false });
    checkSchema(metadata.schema);
    return metadata;
  });
  if (!metadata.schema.some(({ name }) => name === "encoding")) {
    const names = metadata.schema.slice(1).map(({ name }) => name).join(", ");
    throw new FormatError(path, `it has no column encoding, only ${names}`, "a token file is expected");
  }
  const written = metadata.key_value_metadata?.find(({ key }) => key === metadataKey)?.value;
  const header = written === undefined ? null : checkHeader(path, parseJson(written));
  return { header, records: () => rowsOf(path, metadata, header, options) };
}

async function* rowsOf(
  path: string,
  metadata: FileMetaData,
  header: TokenHeader | null,
  options: OpenTokensOptions,
): AsyncGenerator<TokenRecord> {
  const wanted = ["file", "image_file", "key", "caption", "encoding", "grid"];
  const top = new Set(metadata.schema.map(({ name }) => name));
  const columns = wanted.filter((name) => top.has(name));
  let rowStart = 0;
  for (const [i, group] of metadata.row_groups.entries()) {
    const rows = Number(group.num_rows);
    if (!(rows >= 0 && rows <= maxRows)) {
      throw new FormatError(path, `group ${i} has ${rows} rows, at most ${maxRows} are read`);
    }
    const rowEnd = rowStart + rows;
    // columns are read one by one: with several at once, hyparquet leaves rejected promises that nothing handles
    const read = await reading(path, async (file) => {
      const lists: [name: string, values: unknown[]][] = [];
      for (const column of columns) {
        for (const { meta_data: chunk } of group.columns) {
          if (chunk?.path_in_schema[0] !== column) continue;
          checkPages(chunk, metadata.schema, await file.slice(...chunkRange(chunk)));
        }
        const read = await parquetReadObjects({ file, metadata, columns: [column], rowStart, rowEnd });
        if (read.length !== rows) throw new Error(`column ${column} has ${read.length} of ${rows} rows`);
        lists.push([column, read.map((row) => row[column])]);
      }
      return lists;
    });
    for (let k = 0; k < rows; k++) {
      const row = Object.fromEntries(read.map(([column, values]) => [column, values[k]]));
      yield toRecord(path, `row ${rowStart + k + 1}`, row, header, options);
    }
    rowStart = rowEnd;
  }
}

/** Opens the file for hyparquet, and turns its errors into FormatErrors. */
async function reading<T>(
  path: string,
  use: (file: { byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> }) => Promise<T>,
): Promise<T> {
  const source: RandomAccess = await openFile(path);
  try {
    return await use({
      byteLength: source.byteLength,
      async slice(start, end = source.byteLength) {
        return (await readRange(source, start, end - start, "Parquet data")).buffer;
      },
    });
  } catch (error) {
    if (error instanceof FormatError) throw error;
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new FormatError(path, `this is not a readable Parquet file: ${reason}`);
  } finally {
    await source.close();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
