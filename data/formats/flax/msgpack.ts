// MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md). The reader reads by range: maps, texts and
// numbers become values, binary parts stay in the file as stretches. The writer makes only the heads of values.
import { FormatError, type RandomAccess, Window } from "../source.ts";

/** Bytes that stay in the file: a `bin`, or an `ext` with its type. */
export class Stretch {
  readonly offset: number;
  readonly length: number;
  readonly type: number | null;

  constructor(offset: number, length: number, type: number | null) {
    this.offset = offset;
    this.length = length;
    this.type = type;
  }
}

export type Packed = null | boolean | number | string | Packed[] | Map<string, Packed> | Stretch;

/** Limits for damaged files. A VQGAN has 343 arrays, four levels deep; 200,000 arrays have two million values. */
const maxValues = 2 ** 22;
const maxDepth = 32;
const maxText = 2 ** 16;
/** The structure lies between the tensors in pieces of a few dozen bytes, so little is read ahead. */
const windowLength = 2 ** 9;

/** A file of which several stretches are read. */
export interface MsgpackFile {
  readonly source: RandomAccess;
  readonly window: Window;
  /** How many more values may be read. */
  valuesLeft: number;
}

export function msgpackFile(source: RandomAccess): MsgpackFile {
  return { source, window: new Window(source, windowLength), valuesLeft: maxValues };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads the value that exactly fills the bytes `from` to `to` of the file.
 * @throws FormatError with the position at which it is damaged, cut off, too deep or too large.
 */
export async function readMsgpack(file: MsgpackFile, from: number, to: number): Promise<Packed> {
  const reader = new Reader(file, from, to);
  const value = await reader.value(0);
  if (reader.at !== to) reader.fail(`its value ends at byte ${reader.at}, not at ${to}`);
  return value;
}

class Reader {
  readonly file: MsgpackFile;
  at: number;
  readonly end: number;

  constructor(file: MsgpackFile, at: number, end: number) {
    this.file = file;
    this.at = at;
    this.end = end;
  }

  fail(problem: string): never {
    throw new FormatError(this.file.source.path, `corrupt msgpack file: ${problem}`);
  }

  /** Moves on by `length` bytes and returns where they began. */
  #skip(length: number): number {
    if (!(length <= this.end - this.at)) {
      throw new FormatError(
        this.file.source.path,
        `truncated msgpack file: ${length} bytes needed at byte ${this.at}, but the end is at ${this.end}`,
      );
    }
    const { at } = this;
    this.at += length;
    return at;
  }

  /** Returns the next `length` bytes, of which there must be few. The view is valid until the next call. */
  async #bytes(length: number): Promise<DataView> {
    return await this.file.window.view(this.#skip(length), length, "a value");
  }

  /** Reads an unsigned integer of 1, 2, 4 or 8 bytes. */
  async #uint(size: number): Promise<number> {
    const view = await this.#bytes(size);
    if (size === 8) return Number(view.getBigUint64(0));
    return size === 4 ? view.getUint32(0) : size === 2 ? view.getUint16(0) : view.getUint8(0);
  }

  async #int(size: number): Promise<number> {
    const view = await this.#bytes(size);
    if (size === 8) return Number(view.getBigInt64(0));
    return size === 4 ? view.getInt32(0) : size === 2 ? view.getInt16(0) : view.getInt8(0);
  }

  async #text(length: number): Promise<string> {
    const { at } = this;
    if (length > maxText) this.fail(`a text of ${length} bytes at byte ${at} (at most ${maxText})`);
    const { buffer, byteOffset } = await this.#bytes(length);
    try {
      return utf8.decode(new Uint8Array(buffer, byteOffset, length));
    } catch {
      return this.fail(`the text at byte ${at} is not UTF-8`);
    }
  }

  #stretch(length: number, type: number | null): Stretch {
    return new Stretch(this.#skip(length), length, type);
  }

  async #ext(length: number): Promise<Stretch> {
    const type = await this.#int(1);
    return this.#stretch(length, type);
  }

  async #array(length: number, depth: number): Promise<Packed[]> {
    const items: Packed[] = [];
    for (let i = 0; i < length; i++) items.push(await this.value(depth + 1));
    return items;
  }

  async #map(length: number, depth: number): Promise<Map<string, Packed>> {
    const map = new Map<string, Packed>();
    for (let i = 0; i < length; i++) {
      const { at } = this;
      const key = await this.value(depth + 1);
      if (typeof key !== "string" && typeof key !== "number") {
        this.fail(`the key at byte ${at} is not a text`);
      }
      if (map.has(`${key}`)) this.fail(`the key ${key} at byte ${at} occurs twice`);
      map.set(`${key}`, await this.value(depth + 1));
    }
    return map;
  }

  async value(depth: number): Promise<Packed> {
    if (depth > maxDepth) this.fail(`more than ${maxDepth} levels at byte ${this.at}`);
    if (--this.file.valuesLeft < 0) this.fail(`more than ${maxValues} values`);
    const { at } = this;
    const code = await this.#uint(1);
    if (code < 0x80) return code;
    if (code < 0x90) return await this.#map(code & 15, depth);
    if (code < 0xa0) return await this.#array(code & 15, depth);
    if (code < 0xc0) return await this.#text(code & 31);
    if (code >= 0xe0) return code - 0x100;
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return code === 0xc3;
      case 0xc4: // bin 8, 16, 32
      case 0xc5:
      case 0xc6:
        return this.#stretch(await this.#uint(1 << code - 0xc4), null);
      case 0xc7: // ext 8, 16, 32
      case 0xc8:
      case 0xc9:
        return await this.#ext(await this.#uint(1 << code - 0xc7));
      case 0xca:
        return (await this.#bytes(4)).getFloat32(0);
      case 0xcb:
        return (await this.#bytes(8)).getFloat64(0);
      case 0xcc: // uint 8 to 64
      case 0xcd:
      case 0xce:
      case 0xcf:
        return await this.#uint(1 << code - 0xcc);
      case 0xd0: // int 8 to 64
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return await this.#int(1 << code - 0xd0);
      case 0xd4: // fixext 1 to 16
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return await this.#ext(1 << code - 0xd4);
      case 0xd9: // str 8, 16, 32
      case 0xda:
      case 0xdb:
        return await this.#text(await this.#uint(1 << code - 0xd9));
      case 0xdc:
      case 0xdd:
        return await this.#array(await this.#uint(code === 0xdc ? 2 : 4), depth);
      case 0xde:
      case 0xdf:
        return await this.#map(await this.#uint(code === 0xde ? 2 : 4), depth);
      default: // 0xc1
        return this.fail(`byte ${at} is 0xc1, which has no meaning`);
    }
  }
}

const bigEndian = (code: number, n: number, size: number): number[] => [
  code,
  ...Array.from({ length: size }, (_, i) => Math.floor(n / 2 ** (8 * (size - 1 - i))) & 255),
];

/**
 * Returns the shortest head of a value with `n` bytes, items or entries. `codes` are those of its 8-, 16- and 32-bit
 * forms.
 */
function head(n: number, fixed: number | null, codes: readonly [number | null, number, number]): number[] {
  const [code8, code16, code32] = codes;
  if (fixed !== null) return [fixed];
  if (code8 !== null && n < 2 ** 8) return bigEndian(code8, n, 1);
  return n < 2 ** 16 ? bigEndian(code16, n, 2) : bigEndian(code32, n, 4);
}

/** The bytes that msgpack writes before and around contents. */
export const pack = {
  map: (entries: number) => head(entries, entries < 16 ? 0x80 | entries : null, [null, 0xde, 0xdf]),
  array: (items: number) => head(items, items < 16 ? 0x90 | items : null, [null, 0xdc, 0xdd]),
  uint: (n: number) =>
    n >= 2 ** 32 ? bigEndian(0xcf, n, 8) : head(n, n < 0x80 ? n : null, [0xcc, 0xcd, 0xce]),
  true: [0xc3],
  text(text: string): number[] {
    const bytes = new TextEncoder().encode(text);
    const n = bytes.length;
    return [...head(n, n < 32 ? 0xa0 | n : null, [0xd9, 0xda, 0xdb]), ...bytes];
  },
  /** The head of `length` bytes. */
  bin: (length: number) => head(length, null, [0xc4, 0xc5, 0xc6]),
  /** The head of `length` bytes with a type. */
  ext(type: number, length: number): number[] {
    const fixed = [1, 2, 4, 8, 16].indexOf(length);
    return [...head(length, fixed >= 0 ? 0xd4 + fixed : null, [0xc7, 0xc8, 0xc9]), type];
  },
};
