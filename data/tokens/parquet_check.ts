// Checks the pages of a Parquet column before hyparquet 1.31.5 decodes them. That reader trusts the numbers in a file:
// it loops forever on a negative count, and fills gigabytes if a run claims to be long.
import type { ColumnMetaData, PageHeader, SchemaElement } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } from "hyparquet/src/schema.js";
import { checkRuns } from "./parquet_runs.ts";

/** The most values and bytes that one column of a row group may expand to. */
const maxValues = 2 ** 27, maxBytes = 2 ** 30;
/** Snappy expands 3 bytes to at most 64, and hyparquet has no other decompression of its own. */
const maxExpansion = 22;

function check(holds: boolean, problem: string): void {
  if (!holds) throw new Error(problem);
}

const isCount = (n: unknown, most: number) =>
  Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= most;

/** @throws if an element of the schema claims an impossible number of children */
export function checkSchema(schema: readonly SchemaElement[]): void {
  for (const { name, num_children: children = 0 } of schema) {
    check(isCount(children, schema.length), `${name} claims ${children} children`);
  }
}

/** Where the bytes of a column chunk begin and end in the file. */
export function chunkRange(column: ColumnMetaData): [start: number, end: number] {
  const { data_page_offset, dictionary_page_offset, total_compressed_size } = column;
  const start = Number(dictionary_page_offset || data_page_offset);
  return [start, start + Number(total_compressed_size)];
}

/** @throws if the pages' headers contradict their bytes or each other. */
export function checkPages(column: ColumnMetaData, schema: SchemaElement[], bytes: ArrayBuffer): void {
  const wanted = Number(column.num_values), name = column.path_in_schema.join(".");
  check(isCount(wanted, maxValues), `column ${name} claims ${wanted} values`);
  const reader = { view: new DataView(bytes), offset: 0 };
  let values = 0, expanded = 0;
  while (reader.offset < bytes.byteLength) {
    const header = parquetHeader(reader), { compressed_page_size: size } = header;
    const left = bytes.byteLength - reader.offset, { uncompressed_page_size: full } = header;
    check(
      isCount(size, left) && isCount(full, Math.min(maxBytes, maxExpansion * size + 64)),
      `a page of ${name} claims ${size} and ${full} bytes`,
    );
    expanded += full;
    const { data_page_header: v1, data_page_header_v2: v2, dictionary_page_header: dictionary } = header;
    if (header.type === "DATA_PAGE") {
      check(isCount(v1?.num_values, wanted), `a page of ${name} claims ${v1?.num_values} values`);
      values += v1!.num_values;
    } else if (header.type === "DATA_PAGE_V2") {
      const counts = [v2?.num_values, v2?.num_nulls, v2?.num_rows];
      check(counts.every((n) => isCount(n, wanted)), `a page of ${name} claims ${counts} values`);
      const levels = [v2!.definition_levels_byte_length, v2!.repetition_levels_byte_length];
      const fit = levels.every((n) => isCount(n, size)) && levels[0] + levels[1] <= Math.min(size, full);
      check(fit, `a page of ${name} claims levels of ${levels} bytes`);
      values += v2!.num_values;
    } else if (header.type === "DICTIONARY_PAGE") {
      check(
        isCount(dictionary?.num_values, full),
        `the dictionary of ${name} claims ${dictionary?.num_values}`,
      );
    } else {
      check(false, `a page of ${name} is of an unknown type`);
    }
    const page = new Uint8Array(bytes, reader.offset, size);
    const problem = header.type === "DICTIONARY_PAGE" ? null : runProblem(column, schema, header, page);
    check(problem === null, `a page of ${name} has ${problem}`);
    reader.offset += size;
  }
  check(expanded <= maxBytes, `column ${name} expands to ${expanded} bytes, at most ${maxBytes} are read`);
  check(values === wanted, `column ${name} claims ${wanted} values, but its pages have ${values}`);
}

/**
 * Checks the runs of a page: repetition levels, definition levels, and indices into the dictionary. @returns what is
 * wrong, or null
 */
function runProblem(
  { path_in_schema, codec }: ColumnMetaData,
  schema: SchemaElement[],
  header: PageHeader,
  page: Uint8Array,
): string | null {
  const { data_page_header: v1, data_page_header_v2: v2, uncompressed_page_size: full } = header;
  const path = getSchemaPath(schema, path_in_schema);
  const levels = [getMaxRepetitionLevel(path), getMaxDefinitionLevel(path)];
  const count = (v1 ?? v2)!.num_values;
  const isIndexed = ["PLAIN_DICTIONARY", "RLE_DICTIONARY"].includes((v1 ?? v2)!.encoding);
  let at = 0, bytes = page;
  if (v1) bytes = decompressPage(page, full, codec, undefined);
  const lengths = v2 && [v2.repetition_levels_byte_length, v2.definition_levels_byte_length];
  for (const [i, most] of levels.entries()) {
    if (most === 0) {
      at += lengths?.[i] ?? 0;
      continue;
    }
    if (!lengths && at + 4 > bytes.length) return "levels cut off";
    const length = lengths?.[i] ?? new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true);
    if (!lengths) at += 4;
    // not limited to `length`, because hyparquet reads on to the page's end
    const problem = checkRuns(bytes.subarray(at), 32 - Math.clz32(most), count);
    if (problem !== null) return problem;
    at += length;
  }
  if (!isIndexed) return null;
  let values = bytes.subarray(at);
  if (v2 && v2.is_compressed !== false) values = decompressPage(values, full - at, codec, undefined);
  return values.length === 0 ? null : checkRuns(values.subarray(1), values[0], count - (v2?.num_nulls ?? 0));
}
