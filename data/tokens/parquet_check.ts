// Proofreads the page headers of a Parquet column before hyparquet 1.31.5 decodes it: that reader trusts them, and loops
// for ever on a negative count.
import type { ColumnMetaData } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";

/** Values and bytes that one column of a group of rows may expand to. */
const maxValues = 2 ** 27, maxBytes = 2 ** 30;

function check(holds: boolean, problem: string): void {
  if (!holds) throw new Error(problem);
}

const isCount = (n: unknown, most: number) =>
  Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= most;

/** Where the bytes of a column chunk begin and end in the file. */
export function chunkRange(column: ColumnMetaData): [start: number, end: number] {
  const { data_page_offset, dictionary_page_offset, total_compressed_size } = column;
  const start = Number(dictionary_page_offset || data_page_offset);
  return [start, start + Number(total_compressed_size)];
}

/** @throws if what the pages claim does not fit their bytes, or each other. */
export function checkPages(column: ColumnMetaData, bytes: ArrayBuffer): void {
  const wanted = Number(column.num_values), name = column.path_in_schema.join(".");
  check(isCount(wanted, maxValues), `column ${name} claims ${wanted} values`);
  const reader = { view: new DataView(bytes), offset: 0 };
  let values = 0, expanded = 0;
  while (reader.offset < bytes.byteLength) {
    const header = parquetHeader(reader), { compressed_page_size: size } = header;
    const left = bytes.byteLength - reader.offset, { uncompressed_page_size: full } = header;
    check(
      isCount(size, left) && isCount(full, maxBytes),
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
    reader.offset += size;
  }
  check(expanded <= maxBytes, `column ${name} expands to ${expanded} bytes, at most ${maxBytes}`);
  check(values === wanted, `column ${name} claims ${wanted} values, its pages ${values}`);
}
