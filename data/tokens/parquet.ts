// Token files as Parquet, with the columns file, caption, encoding (list<int32>) and, where pictures differ in size,
// grid (list<int32>). The header is JSON under the key "tessera" in the file's metadata. One row group is read or
// written at a time.
import type { FileHandle } from "node:fs/promises";
import { type FileMetaData, parquetSchema, type SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { openFile } from "../files/source.ts";
import { parseJson } from "../formats/json.ts";
import { FormatError } from "../formats/source.ts";
import { expect, ParquetProblem, readFooter } from "./parquet_footer.ts";
import type { Column } from "./parquet_page.ts";
import { findColumn, rowsOfGroup } from "./parquet_rows.ts";
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

/** The columns that are read, of which the first of the three names is the picture's. */
const wanted = ["file", "image_file", "key", "caption", "encoding", "grid"] as const;

/**
 * The most tokens in a file: enough for any, unless it is a bomb. Real tokens take more than a byte, and those of blank
 * pictures, which repeat, are far more than a million to the megabyte only if there are few.
 */
const mostTokens = (byteLength: number) => Math.max(2 ** 25, 16 * byteLength);

/** @throws FormatError if the file is missing, or is not a Parquet file with a column `encoding`. */
export async function openParquet(path: string, options: OpenTokensOptions = {}): Promise<TokenFile> {
  const source = await openFile(path);
  try {
    const metadata = await readFooter(source), columns = new Map<string, Column>();
    for (const name of wanted) {
      const column = findColumn(path, metadata, name);
      if (column) columns.set(name, column);
    }
    if (!columns.has("encoding")) {
      const names = parquetSchema(metadata).children.map(({ element }) => element.name).join(", ");
      throw new FormatError(path, `it has no column encoding, only ${names}`, "a token file is expected");
    }
    const written = metadata.key_value_metadata?.find(({ key }) => key === metadataKey)?.value;
    const header = written === undefined ? null : checkHeader(path, parsed(written));
    return { header, records: () => recordsOf(path, metadata, columns, header, options) };
  } catch (error) {
    throw inWords(path, error);
  } finally {
    await source.close();
  }
}

async function* recordsOf(
  path: string,
  metadata: FileMetaData,
  columns: ReadonlyMap<string, Column>,
  header: TokenHeader | null,
  options: OpenTokensOptions,
): AsyncGenerator<TokenRecord> {
  const source = await openFile(path), most = mostTokens(source.byteLength);
  let number = 0, tokens = 0;
  try {
    for (const group of metadata.row_groups) {
      for await (const row of rowsOfGroup(source, group, columns)) {
        const record = toRecord(path, `row ${++number}`, row, header, options);
        tokens += record.encoding.length;
        expect(tokens <= most, `it claims more than ${most} tokens in ${source.byteLength} bytes`);
        yield record;
      }
    }
  } catch (error) {
    throw inWords(path, error);
  } finally {
    await source.close();
  }
}

/** Turns the errors of hyparquet, and ours, into FormatErrors. What the caller throws into the generator passes through. */
function inWords(path: string, error: unknown): unknown {
  if (error instanceof FormatError || !(error instanceof Error)) return error;
  if (error instanceof ParquetProblem && error.wayOut) {
    return new FormatError(path, error.message, error.wayOut);
  }
  // hyparquet has not expected what it found: undefined where there should be a list, or a place outside the bytes
  const isSurprise = error instanceof TypeError || error instanceof RangeError;
  const reason = isSurprise ? "its structure is damaged" : error.message.split("\n")[0];
  return new FormatError(path, `this is not a readable Parquet file: ${reason}`);
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}
