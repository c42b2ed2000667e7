// Reads through a pickle once without building anything. It finds the end and refuses what torch.save does not write,
// so that pickleparser, which trusts its input, only runs on valid streams. Opcodes: CPython's pickletools.
import { isPlainFunction } from "./pickle_globals.ts";

/** An invalid pickle. `truncated` means that it might be valid with more bytes. */
export class PickleError extends Error {
  readonly truncated: boolean;

  override readonly name = "PickleError";
  constructor(message: string, truncated = false) {
    super(message);
    this.truncated = truncated;
  }
}

/**
 * The largest number of values that one pickle may create. A checkpoint with both Adam optimizers creates 30 thousand;
 * four million values of any kind need less than 1 GB.
 */
const maxOperations = 2 ** 22;
const maxLongBytes = 256;

/**
 * What is known about a value on the stack. A short string is kept, because STACK_GLOBAL takes its names from there.
 */
type Slot = { readonly kind: Kind } | string;
type Kind = "value" | "tuple" | "list" | "dict" | "set" | "class" | "function" | "object";
const value: Slot = { kind: "value" };
const tuple: Slot = { kind: "tuple" };
const list: Slot = { kind: "list" };
const dict: Slot = { kind: "dict" };
const set: Slot = { kind: "set" };
const object: Slot = { kind: "object" };
const classSlot: Slot = { kind: "class" };
const functionSlot: Slot = { kind: "function" };

export const opcode = {
  mark: 0x28,
  stop: 0x2e,
  long: 0x4c,
  string: 0x53,
  unicode: 0x56,
  long1: 0x8a,
  long4: 0x8b,
} as const;

/**
 * Decodes a text of one byte per character. It works in pieces, because the number of arguments of a call is limited.
 */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

class Checker {
  #at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #stack: Slot[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, Slot>();

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  run(): number {
    for (let count = 0; count < maxOperations; count++) {
      const at = this.#skip(1);
      const code = this.#bytes[at]!;
      if (code === opcode.stop) {
        if (this.#stack.length !== 1 || this.#marks.length !== 0) {
          this.#fail("it ends with values left over", at);
        }
        return this.#at;
      }
      this.#step(code, at);
    }
    return this.#fail(`it creates more than ${maxOperations} values`, this.#at);
  }

  #fail(problem: string, at: number): never {
    throw new PickleError(`${problem} (pickle byte ${at})`);
  }

  /** Moves on by `length` bytes and returns where they began. */
  #skip(length: number): number {
    const at = this.#at;
    if (!(length <= this.#bytes.length - at)) {
      throw new PickleError(`it is cut off at byte ${this.#bytes.length}`, true);
    }
    this.#at = at + length;
    return at;
  }

  #uint8(): number {
    return this.#bytes[this.#skip(1)]!;
  }

  #uint32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  #uint64(): number {
    const at = this.#skip(8);
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  /** Reads text up to a line feed. Names and numbers are short; only the string opcodes need a larger limit. */
  #line(limit = 1024): string {
    const from = this.#at;
    const end = this.#bytes.subarray(from, from + limit).indexOf(0x0a);
    if (end < 0) {
      if (this.#bytes.length - from < limit) {
        throw new PickleError(`it is cut off at byte ${this.#bytes.length}`, true);
      }
      return this.#fail("a line of text does not end", from);
    }
    this.#at = from + end + 1;
    return end > 1024 ? "" : latin1(this.#bytes.subarray(from, from + end));
  }

  #text(length: number): Slot {
    const at = this.#skip(length);
    return length <= 200 ? latin1(this.#bytes.subarray(at, at + length)) : value;
  }

  #push(slot: Slot): void {
    this.#stack.push(slot);
  }

  #pop(count = 1): Slot {
    const floor = this.#marks.at(-1) ?? 0;
    if (this.#stack.length - count < floor) {
      this.#fail("it takes more values than it has created", this.#at - 1);
    }
    let last: Slot = value;
    for (let i = 0; i < count; i++) last = this.#stack.pop()!;
    return last;
  }

  /** Removes everything above the last mark, and returns how many values that were. */
  #popMark(): number {
    const floor = this.#marks.pop();
    if (floor === undefined) return this.#fail("it refers to a mark that does not exist", this.#at - 1);
    const count = this.#stack.length - floor;
    this.#stack.length = floor;
    return count;
  }

  /** Checks that the last value is of one of these kinds. It stays on the stack. */
  #expectTop(...kinds: Kind[]): void {
    const top = this.#pop();
    const kind = typeof top === "string" ? "value" : top.kind;
    if (!kinds.includes(kind)) this.#fail(`it fills a ${kind} as if it were a ${kinds[0]}`, this.#at - 1);
    this.#push(top);
  }

  #remember(index: number): void {
    const top = this.#pop();
    this.#push(top);
    this.#memo.set(index, top);
  }

  #recall(index: number): void {
    const slot = this.#memo.get(index);
    if (slot === undefined) this.#fail(`it refers to value ${index}, which it has not created`, this.#at - 1);
    else this.#push(slot);
  }

  #pushGlobal(module: string, name: string): void {
    this.#push(isPlainFunction(module, name) ? functionSlot : classSlot);
  }

  /** Calling a class makes an object with its own state; calling a function makes a value without one. */
  #call(argumentKinds: readonly Kind[], ...callees: Kind[]): void {
    for (const kind of argumentKinds) {
      const slot = this.#pop();
      if (typeof slot === "string" || slot.kind !== kind) {
        this.#fail(`it calls without a ${kind}`, this.#at - 1);
      }
    }
    const callee = this.#pop();
    const kind = typeof callee === "string" ? "value" : callee.kind;
    if (!callees.includes(kind)) this.#fail(`it calls a ${kind}`, this.#at - 1);
    this.#push(kind === "class" ? object : value);
  }

  #step(code: number, at: number): void {
    switch (code) {
      case 0x80: { // PROTO
        const version = this.#uint8();
        if (version < 2 || version > 5) this.#fail(`its protocol is ${version}, not 2 to 5`, at);
        return;
      }
      case 0x95: // FRAME
        this.#skip(8);
        return;
      case opcode.mark:
        this.#marks.push(this.#stack.length);
        return;
      case 0x30: // POP
        this.#pop();
        return;
      case 0x31: // POP_MARK
        this.#popMark();
        return;
      case 0x32: { // DUP
        const top = this.#pop();
        this.#push(top);
        this.#push(top);
        return;
      }

      case 0x70: // PUT
        return this.#remember(parseInt(this.#line(), 10));
      case 0x71: // BINPUT
        return this.#remember(this.#uint8());
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#uint32());
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x67: // GET
        return this.#recall(parseInt(this.#line(), 10));
      case 0x68: // BINGET
        return this.#recall(this.#uint8());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#uint32());

      case 0x4e: // NONE
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        return this.#push(value);
      case 0x49: // INT
      case opcode.long:
      case 0x46: // FLOAT
        this.#line();
        return this.#push(value);
      case opcode.string:
      case opcode.unicode:
        this.#line(2 ** 20);
        return this.#push(value);
      case 0x4b: // BININT1
        this.#skip(1);
        return this.#push(value);
      case 0x4d: // BININT2
        this.#skip(2);
        return this.#push(value);
      case 0x4a: // BININT
        this.#skip(4);
        return this.#push(value);
      case 0x47: // BINFLOAT
        this.#skip(8);
        return this.#push(value);
      case opcode.long1:
      case opcode.long4: {
        const length = code === opcode.long1 ? this.#uint8() : this.#uint32();
        if (length > maxLongBytes) this.#fail(`an integer of ${length} bytes (at most ${maxLongBytes})`, at);
        this.#skip(length);
        return this.#push(value);
      }
      case 0x43: // SHORT_BINBYTES
        this.#skip(this.#uint8());
        return this.#push(value);
      case 0x42: // BINBYTES
        this.#skip(this.#uint32());
        return this.#push(value);
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        this.#skip(this.#uint64());
        return this.#push(value);
      case 0x55: // SHORT_BINSTRING
      case 0x8c: // SHORT_BINUNICODE
        return this.#push(this.#text(this.#uint8()));
      case 0x54: // BINSTRING
      case 0x58: // BINUNICODE
        return this.#push(this.#text(this.#uint32()));
      case 0x8d: // BINUNICODE8
        return this.#push(this.#text(this.#uint64()));

      case 0x29: // EMPTY_TUPLE
        return this.#push(tuple);
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        this.#pop(code - 0x84);
        return this.#push(tuple);
      case 0x74: // TUPLE
        this.#popMark();
        return this.#push(tuple);
      case 0x5d: // EMPTY_LIST
        return this.#push(list);
      case 0x61: // APPEND
        this.#pop();
        return this.#expectTop("list", "object");
      case 0x65: // APPENDS
        this.#popMark();
        return this.#expectTop("list", "object");
      case 0x7d: // EMPTY_DICT
        return this.#push(dict);
      case 0x73: // SETITEM
        this.#pop(2);
        return this.#expectTop("dict", "object");
      case 0x75: // SETITEMS
        if (this.#popMark() % 2 !== 0) this.#fail("a dict has a key without a value", at);
        return this.#expectTop("dict", "object");
      case 0x8f: // EMPTY_SET
        return this.#push(set);
      case 0x90: // ADDITEMS
        this.#popMark();
        return this.#expectTop("set");
      case 0x91: // FROZENSET
        this.#popMark();
        return this.#push(set);

      case 0x63: // GLOBAL
        return this.#pushGlobal(this.#line(), this.#line());
      case 0x93: { // STACK_GLOBAL
        const name = this.#pop(), module = this.#pop();
        if (typeof name !== "string" || typeof module !== "string") {
          return this.#fail("a class has no name", at);
        }
        return this.#pushGlobal(module, name);
      }
      case 0x51: // BINPERSID: a storage, or (before torch 1.6) a class with its source text
        this.#pop();
        return this.#push(classSlot);
      case 0x52: // REDUCE
        return this.#call(["tuple"], "class", "function");
      case 0x81: // NEWOBJ
        return this.#call(["tuple"], "class");
      case 0x92: // NEWOBJ_EX
        return this.#call(["dict", "tuple"], "class");
      case 0x62: // BUILD
        this.#pop();
        return this.#expectTop("object");

      default:
        this.#fail(`opcode 0x${code.toString(16)} is not one that torch.save writes`, at);
    }
  }
}

/**
 * Returns where the pickle that starts at `start` ends (the byte after its STOP).
 * @throws PickleError with the position at which the pickle becomes invalid; `truncated` is true if `bytes` only ends
 * too soon.
 */
export function checkPickle(bytes: Uint8Array, start: number): number {
  return new Checker(bytes, start).run();
}
