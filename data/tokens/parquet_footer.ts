// Reads the footer of a Parquet file, which says where everything is. It is measured before hyparquet 1.31.5 parses it: that
// reader makes an array as long as the file claims, and follows a schema of any depth.
import { type FileMetaData, parquetMetadata, type SchemaElement } from "hyparquet";
import { FormatError, type RandomAccess, readRange } from "../formats/source.ts";

/** The largest footer in bytes and in values. A row group of four columns has about 200 values. */
const maxFooter = 2 ** 26, maxValues = 2 ** 22;
/** Thrift's structures are six levels deep in Parquet, and the columns of a token file four. */
const maxDepth = 32;

/** Something in a Parquet file that cannot be, or, with a way out, that is not read. */
export class ParquetProblem extends Error {
  readonly wayOut: string | null;

  constructor(message: string, wayOut: string | null = null) {
    super(message);
    this.wayOut = wayOut;
  }
}

export function expect(holds: boolean, problem: string): asserts holds {
  if (!holds) throw new ParquetProblem(problem);
}

/** Whether a number from a file counts something of which there can be `most`. */
export const isCount = (n: unknown, most: number): n is number =>
  Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= most;

/** @throws ParquetProblem if the footer is missing, damaged or too large */
export async function readFooter(source: RandomAccess): Promise<FileMetaData> {
  const { byteLength } = source;
  if (byteLength === 0) throw new FormatError(source.path, "the file is empty");
  expect(byteLength >= 12, `a file of ${byteLength} bytes is too short`);
  const end = new DataView((await readRange(source, byteLength - 8, 8, "the end of the file")).buffer);
  expect(end.getUint32(4, true) === 0x31524150, "it does not end with PAR1, it may be cut off");
  const length = end.getUint32(0, true);
  expect(length <= Math.min(byteLength - 12, maxFooter), `its footer claims ${length} bytes`);
  const footer = await readRange(source, byteLength - 8 - length, length + 8, "the footer");
  measureThrift(footer, 0, { left: maxValues });
  const metadata = parquetMetadata(footer, { geoparquet: false });
  checkSchema(metadata.schema);
  return metadata;
}

/**
 * Walks over a structure of Thrift's compact protocol without making anything.
 * @returns where it ends
 * @throws ParquetProblem if it is cut off, too deep, or has too many values
 */
export function measureThrift(bytes: Uint8Array, from: number, budget: { left: number }, depth = 0): number {
  let at = from;
  const skip = (length: number): number => {
    expect(length <= bytes.length - at, "a structure is cut off");
    return (at += length) - length;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1, byte = 128; byte >= 128; scale *= 128) {
      expect(scale < 2 ** 70, "a number is too long");
      byte = bytes[skip(1)];
      value += (byte & 127) * scale;
    }
    return value;
  };
  const element = (type: number): void => {
    expect(budget.left-- > 0, `its structure has more than ${maxValues} values`);
    if (type === 3) skip(1); // byte
    else if (type === 4 || type === 5 || type === 6) varint();
    else if (type === 7) skip(8); // double
    else if (type === 8) skip(varint()); // bytes
    else if (type === 12) at = measureThrift(bytes, at, budget, depth + 1);
    else if (type === 9) list();
    else expect(type === 1 || type === 2, `a structure has the unknown type ${type}`);
  };
  const list = (): void => {
    expect(++depth <= maxDepth, "its structure is too deep");
    const head = bytes[skip(1)], type = head & 15, short = head >> 4;
    const length = short === 15 ? varint() : short;
    expect(length <= budget.left, `a list claims ${length} values`);
    for (let i = 0; i < length; i++) element(type === 1 || type === 2 ? 3 : type);
    depth--;
  };
  expect(depth <= maxDepth, "its structure is too deep");
  while (true) {
    const head = bytes[skip(1)];
    if ((head & 15) === 0) return at;
    if (head >> 4 === 0) varint(); // the field's number
    element(head & 15);
  }
}

/** @throws ParquetProblem if the elements do not form one tree, or a deep one */
function checkSchema(schema: readonly SchemaElement[]): void {
  expect(schema.length <= 2 ** 14, `its schema has ${schema.length} elements`);
  const open: number[] = []; // how many children each element on the path still needs
  for (const [i, { name, num_children: children = 0, repetition_type }] of schema.entries()) {
    expect(
      i === 0 || repetition_type !== undefined,
      `the element ${name} of its schema has no kind of repetition`,
    );
    expect(i === 0 || open.length > 0, `the element ${name} of its schema belongs to nothing`);
    expect(isCount(children, schema.length), `${name} claims ${children} children`);
    expect(open.length < maxDepth, "its schema is too deep");
    if (i > 0) open[open.length - 1]--;
    open.push(children);
    while (open.at(-1) === 0) open.pop();
  }
  expect(schema.length > 0 && open.length === 0, "its schema is cut off");
}
