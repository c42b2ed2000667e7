// Reads the pages of one column of a Parquet file, one at a time, so that a row group of any size needs little memory.
import type { ColumnMetaData, DecodedArray, PageHeader, SchemaElement, SchemaTree } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { convert, DEFAULT_PARSERS } from "hyparquet/src/convert.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from "hyparquet/src/schema.js";
import { type RandomAccess, readRange } from "../formats/source.ts";
import { decompress } from "./decompress.ts";
import { expect, isCount, measureThrift, ParquetProblem } from "./parquet_footer.ts";
import { readRuns } from "./parquet_runs.ts";
import { decodeValues } from "./parquet_values.ts";

/** A page holds at most this many bytes and values. The largest that are known, DuckDB's, have 100 MB. */
const maxBytes = 2 ** 27, maxValues = 2 ** 25;
/** A page's header has a few dozen bytes, but may hold the smallest and the largest text of a page. */
const firstTry = 2 ** 9, maxHeader = 2 ** 20, maxHeaderValues = 1000;

/** A column that is read: its place in the schema, and how deep a value can be missing or repeated. */
export interface Column {
  /** The name in messages. */
  readonly name: string;
  /** From the root to the leaf. */
  readonly path: readonly SchemaTree[];
  readonly element: SchemaElement;
  /** The highest level of repetition: 1 for a list. */
  readonly maxRepetition: number;
  /** The level of definition at which a value is there. Lower levels say which part of its path is null. */
  readonly maxDefinition: number;
}

export function columnAt(path: readonly SchemaTree[]): Column {
  const nodes = [...path], { element } = nodes.at(-1)!;
  return {
    name: nodes.slice(1).map((node) => node.element.name).join("."),
    path,
    element,
    maxRepetition: getMaxRepetitionLevel(nodes),
    maxDefinition: getMaxDefinitionLevel(nodes),
  };
}

/** The content of a page. Without levels, all values are there, and each is a row. */
export interface Page {
  readonly count: number;
  readonly repetition: ArrayLike<number> | null;
  readonly definition: ArrayLike<number> | null;
  /** The values that are there. */
  readonly values: DecodedArray;
}

/** Yields the pages of a column chunk. @throws ParquetProblem if they contradict their bytes or each other */
export async function* pagesOf(
  source: RandomAccess,
  chunk: ColumnMetaData,
  column: Column,
): AsyncGenerator<Page> {
  const { name, element } = column;
  const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset);
  const length = Number(chunk.total_compressed_size), wanted = Number(chunk.num_values);
  const isInside = isCount(start, source.byteLength) && isCount(length, source.byteLength - start);
  expect(isInside, `the column ${name} claims bytes ${start} to ${start + length}`);
  expect(chunk.type === element.type, `the column ${name} is of the type ${chunk.type} in one place only`);
  let dictionary: DecodedArray | null = null, seen = 0;
  for (let at = start; at < start + length && seen < wanted;) {
    const { header, end } = await headerAt(source, at, start + length, name);
    const { compressed_page_size: packed, uncompressed_page_size: full } = header;
    const fits = isCount(packed, start + length - end) && isCount(full, maxBytes);
    expect(fits, `a page of ${name} claims ${packed} and ${full} bytes`);
    const bytes = await readRange(source, end, packed, `a page of ${name}`);
    at = end + packed;
    if (header.type === "DICTIONARY_PAGE") {
      const count = header.dictionary_page_header?.num_values;
      expect(dictionary === null && isCount(count, full), `the dictionary of ${name} claims ${count} values`);
      const values = decodeValues("PLAIN", element, decompress(chunk.codec, bytes, full), count);
      dictionary = converted(values, column);
      continue;
    }
    const page = dataPage(header, chunk, column, bytes, dictionary);
    seen += page.count;
    yield page;
  }
  expect(seen === wanted, `the column ${name} claims ${wanted} values, but its pages have ${seen}`);
}

async function headerAt(
  source: RandomAccess,
  at: number,
  limit: number,
  name: string,
): Promise<{ header: PageHeader; end: number }> {
  for (let length = firstTry;; length = maxHeader) {
    const bytes = await readRange(source, at, Math.min(length, limit - at), `a page of ${name}`);
    try {
      const end = measureThrift(bytes, 0, { left: maxHeaderValues });
      return {
        header: parquetHeader({ view: new DataView(bytes.buffer, 0, end), offset: 0 }),
        end: at + end,
      };
    } catch (error) {
      if (bytes.length < length || length === maxHeader) throw error;
    }
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Gives values their meaning: texts, dates, numbers without a sign. */
function converted(values: DecodedArray, { name, element, path }: Column): DecodedArray {
  const stringFromBytes = (bytes: Uint8Array): string => {
    try {
      return utf8.decode(bytes); // hyparquet would replace what is not UTF-8
    } catch {
      throw new ParquetProblem(`a text in its column ${name} is not UTF-8`, "save it as UTF-8");
    }
  };
  const decoder = { element, schemaPath: [...path], parsers: { ...DEFAULT_PARSERS, stringFromBytes } };
  return convert(values, decoder as unknown as Parameters<typeof convert>[1]);
}

function dataPage(
  { type, data_page_header: v1, data_page_header_v2: v2, uncompressed_page_size: full }: PageHeader,
  { codec }: ColumnMetaData,
  column: Column,
  packed: Uint8Array,
  dictionary: DecodedArray | null,
): Page {
  const { name, maxRepetition, maxDefinition } = column;
  const header = type === "DATA_PAGE" ? v1 : type === "DATA_PAGE_V2" ? v2 : undefined;
  expect(header !== undefined, `a page of ${name} is of an unknown type`);
  const { num_values: count, encoding } = header;
  expect(isCount(count, maxValues), `a page of ${name} claims ${count} values`);
  const lengths = v2 && [v2.repetition_levels_byte_length, v2.definition_levels_byte_length];
  const levelBytes = lengths ? lengths[0] + lengths[1] : 0;
  if (lengths) {
    const fit = lengths.every((n) => isCount(n, packed.length)) &&
      levelBytes <= Math.min(packed.length, full);
    expect(fit, `a page of ${name} claims levels of ${lengths.join(" and ")} bytes`);
  }
  // in the second version the levels are not compressed, and have no lengths of their own
  let bytes = lengths ? packed : decompress(codec, packed, full), at = 0;
  const levels = (most: number, length: number | undefined): ArrayLike<number> | null => {
    if (most > 0 && length === undefined) {
      expect(bytes.length - at >= 4, `a page of ${name} is cut off`);
      length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
      at += 4;
    }
    length ??= 0;
    expect(length <= bytes.length - at, `a page of ${name} is cut off`);
    const part = bytes.subarray(at, at += length);
    return most === 0 ? null : readRuns(part, 32 - Math.clz32(most), count);
  };
  const repetition = levels(maxRepetition, lengths?.[0]), definition = levels(maxDefinition, lengths?.[1]);
  bytes = bytes.subarray(at);
  if (v2 && v2.is_compressed !== false) bytes = decompress(codec, bytes, full - levelBytes);
  const there = definition ? counted(definition, maxDefinition) : count;
  if (v2) {
    const rows = repetition ? counted(repetition, 0) : count, { num_nulls: nulls, num_rows } = v2;
    const isTrue = nulls === count - there && num_rows === rows;
    expect(isTrue, `a page of ${name} claims ${nulls} nulls in ${num_rows} rows`);
  }
  const isIndexed = encoding === "PLAIN_DICTIONARY" || encoding === "RLE_DICTIONARY";
  const values = isIndexed
    ? lookedUp(bytes, there, dictionary, name)
    : converted(decodeValues(encoding, column.element, bytes.slice(), there), column);
  return { count, repetition, definition, values };
}

function counted(levels: ArrayLike<number>, level: number): number {
  let n = 0;
  for (let i = 0; i < levels.length; i++) if (levels[i] === level) n++;
  return n;
}

function lookedUp(
  bytes: Uint8Array,
  count: number,
  dictionary: DecodedArray | null,
  name: string,
): DecodedArray {
  if (count === 0) return [];
  expect(dictionary !== null && bytes.length > 0, `a page of ${name} has no dictionary`);
  const indices = readRuns(bytes.subarray(1), bytes[0], count), { length } = dictionary;
  const like = dictionary.constructor as new (count: number) => DecodedArray, values = new like(count);
  for (let i = 0; i < count; i++) {
    const index = indices[i];
    if (index >= length) expect(false, `a page of ${name} refers to value ${index} of ${length}`);
    values[i] = dictionary[index];
  }
  return values;
}
