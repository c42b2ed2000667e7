// Reads the directory of a ZIP archive (APPNOTE 6.3, with zip64), as far as needed to find stored entries. torch.save
// leaves the sizes in the local headers at zero, so the central directory at the end of the file is used.
import { Inflate } from "fflate";
import { FormatError, type RandomAccess, readRange } from "../source.ts";

export interface ZipEntry {
  readonly name: string;
  /** The number of bytes when unpacked. */
  readonly byteLength: number;
  readonly packedLength: number;
  /** 0 for stored entries, 8 for deflated ones. */
  readonly method: number;
  /** Where the entry's local header starts. */
  readonly headerOffset: number;
}

const endSignature = 0x06054b50;
const end64Signature = 0x06064b50;
const locatorSignature = 0x07064b50;
const centralSignature = 0x02014b50;
const localSignature = 0x04034b50;
/** The size limit of a directory: half a million entries. torch writes one entry per storage. */
const maxDirectory = 2 ** 26;
const utf8 = new TextDecoder();

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads a 64-bit number. Numbers above 2^53 lose their last bits, but all of them fail the range checks that follow.
 */
function uint64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** @throws FormatError if the directory is missing, damaged or too large, or if entries overlap. */
export async function readZipDirectory(source: RandomAccess): Promise<Map<string, ZipEntry>> {
  const { offset, length, count } = await findDirectory(source);
  const corrupt = (what: string) => new FormatError(source.path, `corrupt zip archive: ${what}`);
  if (length > maxDirectory) {
    throw corrupt(`its directory claims ${length} bytes (at most ${maxDirectory} are read)`);
  }
  const bytes = await readRange(source, offset, length, "the zip directory");
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > length || view.getUint32(at, true) !== centralSignature) {
      throw corrupt(`directory entry ${i} of ${count} is damaged (byte ${offset + at})`);
    }
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > length) throw corrupt(`directory entry ${i} of ${count} extends beyond the end`);
    const wide = readZip64Extra(view, nameEnd, extraEnd, [
      view.getUint32(at + 24, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 42, true),
    ]);
    const name = utf8.decode(bytes.subarray(at + 46, nameEnd));
    if (wide === null) throw corrupt(`entry ${name} has no zip64 sizes`);
    if (view.getUint16(at + 8, true) & 1) {
      throw new FormatError(
        source.path,
        "the zip archive is encrypted",
        "unpack it and save it without a password",
      );
    }
    const method = view.getUint16(at + 10, true);
    const [byteLength, packedLength, headerOffset] = wide;
    if (method === 0 && byteLength !== packedLength) throw corrupt(`entry ${name} has two different sizes`);
    if (entries.has(name)) throw corrupt(`two entries are named ${name}`);
    entries.set(name, { name, byteLength, packedLength, method, headerOffset });
    at = next;
  }
  checkOverlap(source, [...entries.values()], offset);
  return entries;
}

/** Refuses entries that share bytes, as in zip bombs. torch never writes them. */
function checkOverlap(source: RandomAccess, entries: ZipEntry[], directory: number): void {
  entries.sort((a, b) => a.headerOffset - b.headerOffset);
  for (const [i, entry] of entries.entries()) {
    const limit = entries[i + 1]?.headerOffset ?? directory;
    const end = entry.headerOffset + 30 + entry.packedLength;
    if (!(end <= limit)) {
      throw new FormatError(
        source.path,
        `corrupt zip archive: entry ${entry.name} claims bytes ${entry.headerOffset} to ${end}, but ` +
          `something else starts at byte ${limit}`,
      );
    }
  }
}

async function findDirectory(
  source: RandomAccess,
): Promise<{ offset: number; length: number; count: number }> {
  // the end record has 22 bytes and a comment of at most 65535
  const tailLength = Math.min(source.byteLength, 22 + 65535);
  const tail = await readRange(
    source,
    source.byteLength - tailLength,
    tailLength,
    "the end of the zip archive",
  );
  const view = viewOf(tail);
  let at = tailLength - 22;
  while (at >= 0 && view.getUint32(at, true) !== endSignature) at--;
  if (at < 0) {
    throw new FormatError(
      source.path,
      `truncated: the directory at the end of the zip archive is missing (the file has ${source.byteLength} bytes)`,
    );
  }
  const record = {
    offset: view.getUint32(at + 16, true),
    length: view.getUint32(at + 12, true),
    count: view.getUint16(at + 10, true),
  };
  if (at >= 20 && view.getUint32(at - 20, true) === locatorSignature) {
    const offset64 = uint64(view, at - 12);
    const wide = viewOf(await readRange(source, offset64, 56, "the zip64 end record"));
    if (wide.getUint32(0, true) !== end64Signature) {
      throw new FormatError(source.path, `corrupt zip archive: no zip64 end record at byte ${offset64}`);
    }
    record.offset = uint64(wide, 48);
    record.length = uint64(wide, 40);
    record.count = uint64(wide, 32);
  }
  return record;
}

/**
 * Returns [unpacked, packed, offset]. Values of 0xffffffff are replaced by those in the extra field; null if one is
 * missing.
 */
function readZip64Extra(
  view: DataView,
  from: number,
  to: number,
  values: [number, number, number],
): [number, number, number] | null {
  if (values.every((n) => n !== 0xffffffff)) return values;
  for (let at = from; at + 4 <= to;) {
    const end = at + 4 + view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1 && end <= to) {
      let field = at + 4;
      for (let i = 0; i < 3; i++) {
        if (values[i] !== 0xffffffff) continue;
        if (field + 8 > end) return null;
        values[i] = uint64(view, field);
        field += 8;
      }
      return values;
    }
    at = end;
  }
  return null;
}

/**
 * Returns the byte offset of a stored entry's contents. @throws FormatError if the entry is compressed or its header is
 * damaged
 */
export async function locateEntry(source: RandomAccess, entry: ZipEntry): Promise<number> {
  if (entry.method !== 0) {
    throw new FormatError(
      source.path,
      `zip entry ${entry.name} is compressed, so it cannot be read by range`,
      "unpack the archive and pack it again without compression (zip -0)",
    );
  }
  return await contentsOffset(source, entry);
}

async function contentsOffset(source: RandomAccess, entry: ZipEntry): Promise<number> {
  const header = viewOf(await readRange(source, entry.headerOffset, 30, `zip entry ${entry.name}`));
  if (header.getUint32(0, true) !== localSignature) {
    throw new FormatError(
      source.path,
      `corrupt zip archive: no entry at byte ${entry.headerOffset} (${entry.name})`,
    );
  }
  return entry.headerOffset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
}

/**
 * Reads a whole small entry and unpacks it if it is compressed. @throws FormatError if it is longer than `limit` bytes
 */
export async function readEntry(source: RandomAccess, entry: ZipEntry, limit: number): Promise<Uint8Array> {
  const { name, byteLength, packedLength, method } = entry;
  if (byteLength > limit || packedLength > limit) {
    throw new FormatError(
      source.path,
      `zip entry ${name} has ${byteLength} bytes, at most ${limit} are read`,
    );
  }
  const bytes = await readRange(
    source,
    await contentsOffset(source, entry),
    packedLength,
    `zip entry ${name}`,
  );
  if (method === 0) return bytes;
  if (method !== 8) {
    throw new FormatError(
      source.path,
      `zip entry ${name} is compressed with method ${method}`,
      "use torch.save as it is",
    );
  }
  const unpacked = inflated(bytes, byteLength);
  if (unpacked) return unpacked;
  throw new FormatError(
    source.path,
    `corrupt zip archive: entry ${name} does not unpack to ${byteLength} bytes`,
  );
}

/** A byte can unpack to a thousand, so that a piece of this length makes at most 66 MB. */
const pieceLength = 2 ** 16;

/** Unpacks in pieces, and stops when there is more than expected. @returns null if there is not what was expected */
function inflated(packed: Uint8Array, byteLength: number): Uint8Array | null {
  const unpacked = new Uint8Array(byteLength);
  let length = 0, isWhole = false;
  const inflate = new Inflate((chunk, isLast) => {
    if (length + chunk.length <= byteLength) unpacked.set(chunk, length);
    length += chunk.length;
    isWhole = isLast;
  });
  try {
    for (let at = 0; at < packed.length && length <= byteLength; at += pieceLength) {
      inflate.push(packed.subarray(at, at + pieceLength), at + pieceLength >= packed.length);
    }
  } catch {
    return null;
  }
  return isWhole && length === byteLength ? unpacked : null;
}
