// Decodes the values of a Parquet page. hyparquet 1.31.5 has the decoders but trusts the numbers in a file, so each length is
// checked against the bytes first.
import type { DataReader, DecodedArray, Encoding, SchemaElement } from "hyparquet";
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";
import { byteStreamSplit } from "hyparquet/src/encoding.js";
import { readPlain } from "hyparquet/src/plain.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import { expect } from "./parquet_footer.ts";
import { readRuns } from "./parquet_runs.ts";

/** The most bytes that the texts of one page may expand to. */
const maxText = 2 ** 27;

const sizes: Readonly<Record<string, number>> = { INT32: 4, INT64: 8, INT96: 12, FLOAT: 4, DOUBLE: 8 };

/** The bytes of one value; null if values differ in length. */
function sizeOf({ type, type_length }: SchemaElement): number | null {
  if (type === "FIXED_LEN_BYTE_ARRAY") {
    expect(type_length !== undefined && type_length > 0, "its values have no length");
    return type_length;
  }
  return type !== undefined && Object.hasOwn(sizes, type) ? sizes[type] : null;
}

/**
 * Decodes `count` values.
 * @param bytes the values alone, which fill their buffer
 * @throws ParquetProblem if there are fewer bytes than the values need, or the encoding is unknown
 */
export function decodeValues(
  encoding: Encoding,
  element: SchemaElement,
  bytes: Uint8Array,
  count: number,
): DecodedArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), reader = { view, offset: 0 };
  const { type, type_length } = element, size = sizeOf(element);
  expect(type !== undefined, "a column has no type");
  if (count === 0) return [];
  switch (encoding) {
    case "PLAIN": {
      if (type === "BYTE_ARRAY") return plainTexts(bytes, view, count);
      const needed = size === null ? Math.ceil(count / 8) : size * count;
      expect(needed <= bytes.length, `${count} values in ${bytes.length} bytes`);
      return readPlain(reader, type, count, type_length);
    }
    case "RLE":
      expect(type === "BOOLEAN" && bytes.length >= 4, "runs of something that is neither true nor false");
      return Array.from(readRuns(bytes.subarray(4), 1, count), Boolean);
    case "BYTE_STREAM_SPLIT":
      expect(size !== null && size * count <= bytes.length, `${count} values in ${bytes.length} bytes`);
      return byteStreamSplit(reader, count, type, type_length);
    case "DELTA_BINARY_PACKED":
      expect(type === "INT32" || type === "INT64", "differences of something that is not whole");
      return unpackDifferences(reader, type === "INT32" ? new Int32Array(count) : new BigInt64Array(count));
    case "DELTA_LENGTH_BYTE_ARRAY":
      return textsAfterLengths(bytes, reader, new Int32Array(count), null);
    case "DELTA_BYTE_ARRAY":
      return textsAfterLengths(bytes, reader, new Int32Array(count), new Int32Array(count));
    default:
      return expect(false, `its encoding ${encoding} is unknown`) as never;
  }
}

function plainTexts(bytes: Uint8Array, view: DataView, count: number): Uint8Array[] {
  expect(count * 4 <= bytes.length, `${count} texts in ${bytes.length} bytes`);
  let at = 0;
  return Array.from({ length: count }, () => {
    expect(at + 4 <= bytes.length, "a text is cut off");
    const length = view.getUint32(at, true);
    expect(length <= bytes.length - at - 4, "a text is cut off");
    at += 4 + length;
    return bytes.subarray(at - length, at);
  });
}

/** Checks the head of a list of differences, which says how it is divided, and decodes it. */
function unpackDifferences<T extends Int32Array | BigInt64Array>(reader: DataReader, into: T): T {
  const head = { view: reader.view, offset: reader.offset };
  const block = readVarInt(head), parts = readVarInt(head), count = readVarInt(head);
  const isSound = block > 0 && block <= 2 ** 16 && parts > 0 && parts <= 2 ** 10 && block % parts === 0;
  expect(
    isSound && count === into.length,
    `${into.length} differences in blocks of ${block} / ${parts}, of ${count}`,
  );
  deltaBinaryUnpack(reader, into.length, into);
  return into;
}

/** Reads texts that follow their lengths and, with `prefixes`, share their beginning with the text before. */
function textsAfterLengths(
  bytes: Uint8Array,
  reader: DataReader,
  lengths: Int32Array,
  prefixes: Int32Array | null,
): Uint8Array[] {
  if (prefixes) unpackDifferences(reader, prefixes);
  unpackDifferences(reader, lengths);
  let at = reader.offset, total = 0, before = new Uint8Array(0);
  return Array.from(lengths, (length, i) => {
    const shared = prefixes?.[i] ?? 0;
    expect(length >= 0 && length <= bytes.length - at, "a text is cut off");
    expect(shared >= 0 && shared <= before.length, "a text begins with more than the one before has");
    expect((total += shared) <= maxText, `its texts have more than ${maxText} bytes`);
    const own = bytes.subarray(at, at += length);
    if (shared === 0) return before = own.slice();
    const text = new Uint8Array(shared + length);
    text.set(before.subarray(0, shared));
    text.set(own, shared);
    return before = text;
  });
}
