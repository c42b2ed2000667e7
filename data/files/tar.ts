// Lists the members of a tar archive (POSIX ustar and pax, and GNU's long names and large sizes). Only the headers are
// read here. A member's bytes are read by range when they are needed, so that an archive of any size needs little
// memory.
import { FormatError, type RandomAccess, readRange, Window } from "../formats/source.ts";

/** A regular file in the archive. */
export interface TarMember {
  readonly name: string;
  /** Where its bytes begin in the archive, and how many there are. */
  readonly offset: number;
  readonly size: number;
}

const block = 512;
/** How much is read to find a header; those of small members lie close together. */
const windowLength = 2 ** 13;
/** The size limit of long names and pax headers, which are read into memory. Real ones have a few hundred bytes. */
const maxHeader = 2 ** 20;
const text = new TextDecoder();

/**
 * Yields the regular files of an archive in order, and skips folders.
 * @throws FormatError if the archive is cut short or corrupt, holds links (which have no bytes), or has a name that is
 * absolute, contains `..` or has control characters.
 */
export async function* tarMembers(source: RandomAccess): AsyncGenerator<TarMember> {
  const { path, byteLength } = source;
  const window = new Window(source, windowLength);
  let long: { path?: string; size?: number } = {};
  for (let at = 0;;) {
    if (byteLength - at < block) throw cutShort(path, `it ends at byte ${byteLength} without an end mark`);
    const { buffer, byteOffset } = await window.view(at, block, "a tar header");
    const header = new Uint8Array(buffer, byteOffset, block);
    if (header.every((byte) => byte === 0)) return;
    checkSum(path, header, at);
    const kind = String.fromCharCode(header[156]);
    const isExtra = "xgLK".includes(kind);
    const name = isExtra ? "a long header" : long.path ?? nameOf(header);
    const size = (isExtra ? undefined : long.size) ?? sizeOf(path, header, at);
    const offset = at + block;
    // the data is padded to a whole block, but an archive that is cut short may lack the padding
    if (!(size <= byteLength - offset)) {
      throw cutShort(
        path,
        `${quote(name)} claims ${size} bytes at byte ${offset}, the file has ${byteLength}`,
      );
    }
    at = offset + Math.ceil(size / block) * block;
    if (isExtra) {
      if (size > maxHeader) throw new FormatError(path, `a header of ${size} bytes (at most ${maxHeader})`);
      const bytes = await readRange(source, offset, size, "a long tar header");
      if (kind === "L") long = { ...long, path: cString(bytes) };
      if (kind === "x") long = { ...long, ...paxRecords(path, bytes) };
      continue;
    }
    long = {};
    checkName(path, name);
    if (kind === "5") continue;
    if (kind !== "0" && kind !== "\0" && kind !== "7") {
      const problem = `${quote(name)} is not a regular file (type ${quote(kind)}), so it has no bytes here`;
      throw new FormatError(
        path,
        problem,
        "pack the files themselves (tar --dereference --hard-dereference)",
      );
    }
    yield { name, offset, size };
  }
}

const cutShort = (path: string, problem: string) =>
  new FormatError(path, `the archive is cut short: ${problem}`);

/** Quotes a name as JSON, so that control characters in it do no harm in a message. */
const quote = (name: string) => JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);

function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return text.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Checks the header's checksum: the sum of its bytes, with the field of the checksum itself read as spaces. */
function checkSum(path: string, header: Uint8Array, at: number): void {
  let sum = 8 * 32;
  for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += header[i];
  const field = cString(header.subarray(148, 156)).trim();
  if (/^[0-7]+$/.test(field) && parseInt(field, 8) === sum) return;
  if (at === 0) {
    throw new FormatError(path, "this is not a tar archive", "unpack it first if it is compressed");
  }
  throw new FormatError(path, `corrupt: the header at byte ${at} does not match its checksum`);
}

/** Reads a size: octal digits or, if the top bit is set, a big-endian number (GNU). */
function sizeOf(path: string, header: Uint8Array, at: number): number {
  const field = header.subarray(124, 136);
  if (field[0] & 0x80) return field.subarray(1).reduce((n, byte) => n * 256 + byte, field[0] & 0x7f);
  const digits = cString(field).trim();
  if (/^[0-7]*$/.test(digits)) return digits === "" ? 0 : parseInt(digits, 8);
  throw new FormatError(path, `corrupt: the header at byte ${at} has the size ${quote(digits)}`);
}

function nameOf(header: Uint8Array): string {
  const name = cString(header.subarray(0, 100));
  const isUstar = cString(header.subarray(257, 263)).trimEnd() === "ustar" && header[262] === 0;
  const prefix = isUstar ? cString(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Reads path and size from the records "LENGTH KEY=VALUE\n" of a pax header, and ignores the others. */
function paxRecords(path: string, bytes: Uint8Array): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(32, at);
    const length = space < 0 ? NaN : Number(text.decode(bytes.subarray(at, space)));
    const record = Number.isInteger(length) && length > space - at
      ? text.decode(bytes.subarray(space + 1, at + length))
      : "";
    const equals = record.indexOf("=");
    if (equals < 0 || at + length > bytes.length) throw new FormatError(path, "corrupt: a broken pax header");
    const key = record.slice(0, equals), value = record.slice(equals + 1, -1);
    if (key === "path") found.path = value;
    if (key === "size") found.size = /^\d+$/.test(value) ? Number(value) : Infinity;
    at += length;
  }
  return found;
}

function checkName(path: string, name: string): void {
  const isBad = name.startsWith("/") || name.split(/[/\\]/).includes("..") || /\p{Cc}/u.test(name);
  if (!isBad && name !== "") return;
  const problem = `the name ${quote(name)} leads out of the archive, is empty or has control characters`;
  throw new FormatError(path, problem, "pack the files again with plain relative names");
}
