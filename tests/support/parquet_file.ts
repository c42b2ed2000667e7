// Writes Parquet files field by field, also hostile ones that no library would write.
import { Buffer } from "node:buffer";

/** A value of Thrift's compact protocol. A structure is a list of its fields with their numbers. */
export type Thrift =
  | { readonly int: number | bigint; readonly wide?: boolean }
  | { readonly text: string | Uint8Array }
  | { readonly list: readonly Thrift[]; readonly claim?: number }
  | { readonly fields: readonly (readonly [id: number, value: Thrift])[] };

export const int = (n: number | bigint, wide = false): Thrift => ({ int: n, wide });
export const text = (t: string | Uint8Array): Thrift => ({ text: t });
/** @param claim the length that the list claims to have */
export const list = (items: readonly Thrift[], claim?: number): Thrift => ({ list: items, claim });
export const struct = (...fields: readonly (readonly [id: number, value: Thrift])[]): Thrift => ({ fields });

export function varint(n: number | bigint): number[] {
  const bytes: number[] = [];
  let left = BigInt(n);
  do {
    bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
    left >>= 7n;
  } while (left > 0n);
  return bytes;
}

const zigzag = (n: number | bigint) => varint(BigInt(n) < 0n ? -2n * BigInt(n) - 1n : 2n * BigInt(n));

function typeOf(value: Thrift): number {
  if ("int" in value) return value.wide ? 6 : 5;
  return "text" in value ? 8 : "list" in value ? 9 : 12;
}

/** The bytes of a value. */
export function thrift(value: Thrift): number[] {
  if ("int" in value) return zigzag(value.int);
  if ("text" in value) {
    const bytes = typeof value.text === "string" ? Buffer.from(value.text) : value.text;
    return [...varint(bytes.length), ...bytes];
  }
  if ("list" in value) {
    const type = value.list.length > 0 ? typeOf(value.list[0]) : 12,
      length = value.claim ?? value.list.length;
    return [
      ...(length < 15 ? [length << 4 | type] : [0xf0 | type, ...varint(length)]),
      ...value.list.flatMap(thrift),
    ];
  }
  const fields: number[] = [];
  let before = 0;
  for (const [id, field] of value.fields) {
    fields.push((id - before) << 4 | typeOf(field), ...thrift(field));
    before = id;
  }
  return [...fields, 0];
}

/** A page of a column: its header's own fields, and its bytes as they lie in the file. */
export interface PageToWrite {
  readonly bytes: Uint8Array;
  readonly count: number;
  /** The length when unpacked. Default: that of the bytes. */
  readonly full?: number;
  /** Parquet's number of the encoding: 0 plain, 5 differences, 7 texts that share beginnings, 8 by dictionary. */
  readonly encoding?: number;
  /** Whether it is a dictionary, whose values are not in the column itself. */
  readonly isDictionary?: boolean;
}

/** The first bytes of a file. */
export const magic: Uint8Array = Uint8Array.from(Buffer.from("PAR1"));

/** A file with the one column `encoding`, a list of INT32 without nulls, or (`isText`) a text. */
export function parquetFile(
  pages: readonly PageToWrite[],
  {
    rows = 1,
    codec = 0,
    isText = false,
    count = pages.reduce((n, p) => n + (p.isDictionary ? 0 : p.count), 0),
  } = {},
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [magic];
  for (const { bytes, count, full = bytes.length, encoding = 0, isDictionary = false } of pages) {
    const own = struct(
      [1, int(count)],
      [2, int(encoding)],
      ...(isDictionary ? [] : [[3, int(3)], [4, int(3)]] as const),
    );
    const lengths = [[2, int(full)], [3, int(bytes.length)]] as const;
    const header = struct([1, int(isDictionary ? 2 : 0)], ...lengths, [isDictionary ? 7 : 5, own]);
    parts.push(Uint8Array.from(thrift(header)), bytes);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0) - 4;
  const path = isText ? ["encoding"] : ["encoding", "list", "element"];
  const chunk = struct(
    [1, int(isText ? 6 : 1)],
    [2, list([int(0)])],
    [3, list(path.map(text))],
    [4, int(codec)],
    [5, int(count, true)],
    [6, int(length, true)],
    [7, int(length, true)],
    [9, int(4, true)],
  );
  const schema = isText
    ? [
      struct([4, text("root")], [5, int(1)]),
      struct([1, int(6)], [3, int(0)], [4, text("encoding")], [6, int(0)]),
    ]
    : [
      struct([4, text("root")], [5, int(1)]),
      struct([3, int(0)], [4, text("encoding")], [5, int(1)], [6, int(3)]),
      struct([3, int(2)], [4, text("list")], [5, int(1)]),
      struct([1, int(1)], [3, int(0)], [4, text("element")]),
    ];
  const group = struct([1, list([struct([2, int(4, true)], [3, chunk])])], [2, int(length, true)], [
    3,
    int(rows, true),
  ]);
  return withFooter(parts, struct([1, int(1)], [2, list(schema)], [3, int(rows, true)], [4, list([group])]));
}

/** A file of these parts with a footer. */
export function withFooter(parts: readonly Uint8Array[], footer: Thrift): Uint8Array<ArrayBuffer> {
  const bytes = thrift(footer), end = Buffer.alloc(8);
  end.writeUInt32LE(bytes.length);
  end.write("PAR1", 4);
  return new Uint8Array(Buffer.concat([...parts, Uint8Array.from(bytes), end]));
}

/** A part with its length before it, as levels have in pages of the first version. */
export function withLength(bytes: readonly number[]): number[] {
  return [...new Uint8Array(Uint32Array.of(bytes.length).buffer), ...bytes];
}

/** A run of a value that is stored in one byte. */
export const run = (length: number, value: number): number[] => [...varint(length * 2), value];
