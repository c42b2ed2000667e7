// Reads Python pickles with pickleparser, after `checkPickle` has accepted them. The reader below passes the bytes on
// and corrects what pickleparser 0.2 gets wrong: integers are signed and of any length, and Python 2 strings are bytes.
import { Parser } from "pickleparser";
import { checkPickle, latin1, opcode, PickleError } from "./pickle_check.ts";
import { PickleGlobals, type TensorBuilder } from "./pickle_globals.ts";

export { PickleError };

/** Resolves the references of a pickle to data outside it, which are torch's storages. */
export interface PickleContext extends TensorBuilder {
  persistent(id: unknown): unknown;
}

/**
 * Reads the object whose pickle starts at `start`, and returns where that pickle ends. Dicts become Maps, tuples become
 * arrays, and unknown classes become PickleObjects.
 * @throws PickleError if the pickle is invalid, and whatever `context` throws.
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  context: PickleContext,
): { value: unknown; end: number } {
  const end = checkPickle(bytes, start);
  const parser = new Parser({
    nameResolver: new PickleGlobals(context),
    persistentResolver: { resolve: (id: unknown) => context.persistent(id) },
    unpicklingTypeOfDictionary: "Map",
    unpicklingTypeOfSet: "Set",
  });
  return { value: parser.read<unknown>(new PickleReader(bytes.subarray(start, end))), end };
}

const utf8 = new TextDecoder();

/** Converts a little-endian two's complement integer to decimal digits. */
function decimal(bytes: Uint8Array): string {
  let integer = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) integer = integer << 8n | BigInt(bytes[i]!);
  return BigInt.asIntN(bytes.length * 8, integer).toString();
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

/** Resolves Python's backslash escapes, as repr() writes them for a byte string. */
function unescape(text: string): string {
  return text.replace(
    /\\(x[0-9a-f]{2}|[^])/g,
    (_, code: string) =>
      code.length > 1 ? String.fromCharCode(parseInt(code.slice(1), 16)) : escapes[code] ?? code,
  );
}

/**
 * Implements pickleparser's reader interface. pickleparser calls `hasNext` before each opcode, where this class
 * replaces the opcodes that pickleparser misreads.
 */
class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #opcode: number | null = null;
  #line: string | null = null;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  hasNext(): boolean {
    if (this.#at >= this.#bytes.length) return false;
    switch (this.#bytes[this.#at]) {
      case opcode.long1:
        this.skip(1);
        this.#replace(opcode.long, decimal(this.bytes(this.byte())));
        break;
      case opcode.long4:
        this.skip(1);
        this.#replace(opcode.long, decimal(this.bytes(this.uint32())));
        break;
      case opcode.string:
        this.skip(1);
        this.#replace(opcode.string, unescape(this.line()));
        break;
      case opcode.unicode:
        this.skip(1);
        this.#replace(
          opcode.unicode,
          this.line().replace(
            /\\u([0-9a-f]{4})/g,
            (_, code: string) => String.fromCharCode(parseInt(code, 16)),
          ),
        );
        break;
    }
    return true;
  }

  #replace(code: number, line: string): void {
    this.#opcode = code;
    this.#line = line;
  }

  #skipFrom(length: number): number {
    const at = this.#at;
    this.skip(length);
    return at;
  }

  skip(length: number): void {
    if (!(length >= 0 && length <= this.#bytes.length - this.#at)) {
      throw new PickleError(`it is cut off at byte ${this.#bytes.length}`);
    }
    this.#at += length;
  }

  byte(): number {
    const replaced = this.#opcode;
    this.#opcode = null;
    return replaced ?? this.#bytes[this.#skipFrom(1)]!;
  }

  bytes(length: number): Uint8Array {
    const at = this.#skipFrom(length);
    return this.#bytes.subarray(at, at + length);
  }

  uint16(): number {
    return this.#view.getUint16(this.#skipFrom(2), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#skipFrom(4), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#skipFrom(4), true);
  }

  uint64(): number {
    const at = this.#skipFrom(8);
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  float64(): number {
    return this.#view.getFloat64(this.#skipFrom(8), false);
  }

  string(length: number, encoding: "ascii" | "utf-8"): string {
    const bytes = this.bytes(length);
    return encoding === "ascii" ? latin1(bytes) : utf8.decode(bytes);
  }

  line(): string {
    const replaced = this.#line;
    this.#line = null;
    if (replaced !== null) return replaced;
    const length = this.#bytes.subarray(this.#at).indexOf(0x0a);
    const text = latin1(this.bytes(length));
    this.skip(1);
    return text;
  }
}
