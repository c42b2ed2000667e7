// Reads the numbers and texts that pickles are made of, from the first byte to the last (CPython's pickletools).

/** An invalid pickle. `truncated` means that it might be valid with more bytes. */
export class PickleError extends Error {
  readonly truncated: boolean;

  override readonly name = "PickleError";
  constructor(message: string, truncated = false) {
    super(message);
    this.truncated = truncated;
  }
}

/** The longest line of text, which holds a number or a name, and the longest that holds a string. */
const maxLine = 1024, maxStringLine = 2 ** 20;
const maxIntegerBytes = 256;

// a byte order mark is part of a text, because Python keeps it
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Half of a surrogate pair, in UTF-8 and read as Latin-1. */
const surrogate = /(\xed[\xa0-\xbf][\x80-\xbf])/;

/** Decodes a text as Python does, which also keeps halves of surrogate pairs ("surrogatepass"). */
function decoded(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    const parts = latin1(bytes).split(surrogate);
    if (parts.length === 1) throw new PickleError("a text is not UTF-8");
    return parts.map((part, i) => {
      const own = Uint8Array.from(part, (c) => c.charCodeAt(0));
      return i % 2 === 0 ? decoded(own) : String.fromCharCode(0xd000 | (own[1]! & 63) << 6 | own[2]! & 63);
    }).join("");
  }
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
};

/** Decodes a text of one byte per character, in pieces, because the number of arguments of a call is limited. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

/** The bytes of a pickle, and a position in them. */
export class PickleBytes {
  /** The position of the next byte. */
  at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = start;
  }

  /** Moves on by `length` bytes and returns where they began. */
  skip(length: number): number {
    const { at } = this;
    if (!(length >= 0 && length <= this.#bytes.length - at)) {
      throw new PickleError(`it is cut off at byte ${this.#bytes.length}`, true);
    }
    this.at = at + length;
    return at;
  }

  uint8(): number {
    return this.#bytes[this.skip(1)]!;
  }

  uint16(): number {
    return this.#view.getUint16(this.skip(2), true);
  }

  int32(): number {
    return this.#view.getInt32(this.skip(4), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  /** Numbers above 2^53 lose their last bits, but as a length each of them is beyond the end. */
  uint64(): number {
    const at = this.skip(8);
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  float64(): number {
    return this.#view.getFloat64(this.skip(8), false);
  }

  bytes(length: number): Uint8Array {
    const at = this.skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  text(length: number): string {
    return decoded(this.bytes(length));
  }

  /** A string of Python 2, whose bytes become one character each. */
  byteString(length: number): string {
    return latin1(this.bytes(length));
  }

  /** A little-endian two's complement integer. Beyond 2^53 it loses its last bits. */
  integer(length: number): number {
    if (length > maxIntegerBytes) {
      throw new PickleError(`an integer of ${length} bytes (at most ${maxIntegerBytes})`);
    }
    const bytes = this.bytes(length);
    let integer = 0n;
    for (let i = bytes.length - 1; i >= 0; i--) integer = integer << 8n | BigInt(bytes[i]!);
    return Number(BigInt.asIntN(bytes.length * 8, integer));
  }

  /** The bytes up to a line feed, which is left out. */
  #line(limit: number): Uint8Array {
    const from = this.at, length = this.#bytes.subarray(from, from + limit).indexOf(0x0a);
    if (length < 0) {
      const isCut = this.#bytes.length - from < limit;
      throw new PickleError(isCut ? "it is cut off" : `a line of text does not end (byte ${from})`, isCut);
    }
    this.at = from + length + 1;
    return this.#bytes.subarray(from, from + length);
  }

  /** A name. */
  line(): string {
    return decoded(this.#line(maxLine));
  }

  /** A number in decimal digits; "01" and "00" are true and false. */
  number(isWhole: boolean): number | boolean {
    const text = this.line();
    if (isWhole && (text === "01" || text === "00")) return text === "01";
    if (isWhole && /^[+-]?\d+L?$/.test(text)) return Number(BigInt(text.replace(/^\+|L$/g, "")));
    if (!isWhole && /^[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+|inf|nan)$/i.test(text)) {
      return Number(text.replace(/inf/i, "Infinity").replace(/nan/i, "NaN"));
    }
    throw new PickleError(`a line of text is not a number (byte ${this.at})`);
  }

  /** A byte string as Python's repr() writes it, with quotes and backslashes. */
  quotedString(): string {
    const text = latin1(this.#line(maxStringLine)), end = text.length - 1;
    if (end < 1 || text[0] !== text[end] || !`"'`.includes(text[0]!)) {
      throw new PickleError(`a string has no quotes (byte ${this.at})`);
    }
    return text.slice(1, end).replace(
      /\\(x[0-9a-f]{2}|[^])/g,
      (_, code: string) =>
        code.length > 1 ? String.fromCharCode(parseInt(code.slice(1), 16)) : escapes[code] ?? code,
    );
  }

  /** A text in Python's raw-unicode-escape. */
  escapedText(): string {
    return latin1(this.#line(maxStringLine)).replace(
      /\\u([0-9a-f]{4})|\\U(00(?:0\w|10)[0-9a-f]{4})/g,
      (_, four?: string, eight?: string) => String.fromCodePoint(parseInt(four ?? eight!, 16)),
    );
  }
}
