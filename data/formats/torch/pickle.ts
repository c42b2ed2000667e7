// Reads Python pickles as torch.save writes them. Each opcode is checked as it runs, nothing from the file is executed, and
// work and memory are limited. Opcodes and their meaning: CPython's pickletools.
import { PickleBytes, PickleError } from "./pickle_bytes.ts";
import {
  PickleClass,
  PickleDict,
  PickleGlobals,
  PickleObject,
  type TensorBuilder,
} from "./pickle_globals.ts";

export { PickleError };

/** Resolves the references of a pickle to data outside it, which are torch's storages. */
export interface PickleContext extends TensorBuilder {
  persistent(id: unknown): unknown;
}

/**
 * The work that one pickle may ask for. Each opcode costs 1, and what it makes costs more, in proportion to its memory. A
 * checkpoint with both Adam optimizers costs 0.2 million, one with 200,000 tensors 26 million; what costs 2^25 takes less
 * than 1 GB.
 */
const maxCost = 2 ** 25;
const cost = { memo: 2, tuple: 4, list: 8, bytes: 8, dict: 14, call: 14 } as const;

/** Names are short; those of classes are part of messages. */
const maxName = 1024;

/**
 * Reads the object whose pickle starts at `start`, and returns where that pickle ends. Dicts become Maps, lists and
 * tuples become arrays, and unknown classes become PickleObjects.
 * @throws PickleError if the pickle is invalid, and whatever `context` throws.
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  context: PickleContext,
): { value: unknown; end: number } {
  return new PickleReader(bytes, start, context).run();
}

class PickleReader {
  readonly #in: PickleBytes;
  readonly #context: PickleContext;
  readonly #globals: PickleGlobals;
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  /** The arrays that are lists. All others are tuples, which cannot be filled. */
  readonly #lists = new Set<unknown>();
  #spent = 0;
  /** Where the current opcode is. */
  #at = 0;

  constructor(bytes: Uint8Array, start: number, context: PickleContext) {
    this.#in = new PickleBytes(bytes, start);
    this.#context = context;
    this.#globals = new PickleGlobals(context, (n) => this.#spend(n));
  }

  run(): { value: unknown; end: number } {
    while (true) {
      this.#spend(1);
      this.#at = this.#in.at;
      const code = this.#in.uint8();
      if (code === 0x2e) break; // STOP
      this.#step(code);
    }
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0) this.#fail("it ends with values left over");
    return { value, end: this.#in.at };
  }

  #fail(problem: string): never {
    throw new PickleError(`${problem} (pickle byte ${this.#at})`);
  }

  #spend(n: number): void {
    this.#spent += n;
    if (this.#spent > maxCost) this.#fail("it makes more values than a checkpoint has");
  }

  #push(value: unknown, price = 0): void {
    if (price > 0) this.#spend(price);
    this.#stack.push(value);
  }

  #pop(): unknown {
    const floor = this.#marks.at(-1) ?? 0;
    if (this.#stack.length <= floor) this.#fail("it takes more values than it has created");
    return this.#stack.pop();
  }

  #top(): unknown {
    const top = this.#pop();
    this.#stack.push(top);
    return top;
  }

  /** Takes everything above the last mark. */
  #popMark(): unknown[] {
    const floor = this.#marks.pop();
    if (floor === undefined) return this.#fail("it refers to a mark that does not exist");
    return this.#stack.splice(floor);
  }

  #isTuple(value: unknown): value is readonly unknown[] {
    return Array.isArray(value) && !this.#lists.has(value);
  }

  #pushList(): void {
    const list: unknown[] = [];
    this.#lists.add(list);
    this.#push(list, cost.list);
  }

  /** Says what a value is, for messages. */
  #kindOf(value: unknown): string {
    if (Array.isArray(value)) return this.#lists.has(value) ? "list" : "tuple";
    if (value instanceof PickleDict || value instanceof PickleObject) return "object";
    if (value instanceof Map) return "dict";
    if (value instanceof Set) return "set";
    return value instanceof PickleClass ? "class" : "value";
  }

  #remember(index: number): void {
    this.#spend(cost.memo);
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    if (!this.#memo.has(index)) this.#fail(`it refers to value ${index}, which it has not created`);
    this.#push(this.#memo.get(index));
  }

  #append(elements: readonly unknown[]): void {
    const list = this.#top();
    if (list instanceof PickleObject) list.append(elements);
    else if (Array.isArray(list) && this.#lists.has(list)) {
      for (const element of elements) list.push(element);
    } else this.#fail(`it fills a ${this.#kindOf(list)} as if it were a list`);
  }

  #setItems(items: readonly unknown[]): void {
    const dict = this.#top();
    if (items.length % 2 !== 0) this.#fail("a dict has a key without a value");
    if (!(dict instanceof Map || dict instanceof PickleObject)) {
      return this.#fail(`it fills a ${this.#kindOf(dict)} as if it were a dict`);
    }
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  #addItems(items: readonly unknown[]): void {
    const set = this.#top();
    if (!(set instanceof Set)) return this.#fail(`it fills a ${this.#kindOf(set)} as if it were a set`);
    for (const item of items) set.add(item);
  }

  #setState(state: unknown): void {
    const object = this.#top();
    if (object instanceof PickleObject) object.state = state;
    else if (!(object instanceof PickleDict)) this.#fail(`it sets the state of a ${this.#kindOf(object)}`);
    // the state of an OrderedDict is torch's `_metadata`, which is of no use here
  }

  #class(module: unknown, name: unknown): void {
    const isName = (text: unknown): text is string => typeof text === "string" && text.length <= maxName;
    if (!isName(module) || !isName(name)) return this.#fail("a class has no name");
    this.#push(this.#globals.resolve(module, name));
  }

  /** Calls what is on the stack. `NEWOBJ` calls only classes, and `NEWOBJ_EX` has named arguments, which are ignored. */
  #call(isNew: boolean, hasNamed: boolean): void {
    if (hasNamed && !(this.#pop() instanceof Map)) this.#fail("it calls without a dict");
    const args = this.#pop(), callee = this.#pop();
    if (!this.#isTuple(args)) return this.#fail("it calls without a tuple");
    if (!(callee instanceof PickleClass) || isNew && callee.isFunction) {
      return this.#fail(`it calls a ${this.#kindOf(callee)}`);
    }
    this.#spend(cost.call);
    this.#push(this.#globals.call(callee, args));
  }

  #step(code: number): void {
    const bytes = this.#in;
    switch (code) {
      case 0x80: { // PROTO
        const version = bytes.uint8();
        if (version < 2 || version > 5) this.#fail(`its protocol is ${version}, not 2 to 5`);
        return;
      }
      case 0x95: // FRAME
        return void bytes.skip(8);
      case 0x28: // MARK
        return void this.#marks.push(this.#stack.length);
      case 0x30: // POP
        return void this.#pop();
      case 0x31: // POP_MARK
        return void this.#popMark();
      case 0x32: // DUP
        return this.#push(this.#top());

      case 0x70: // PUT
        return this.#remember(Number(bytes.number(true)));
      case 0x71: // BINPUT
        return this.#remember(bytes.uint8());
      case 0x72: // LONG_BINPUT
        return this.#remember(bytes.uint32());
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x67: // GET
        return this.#recall(Number(bytes.number(true)));
      case 0x68: // BINGET
        return this.#recall(bytes.uint8());
      case 0x6a: // LONG_BINGET
        return this.#recall(bytes.uint32());

      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        return this.#push(code === 0x88);
      case 0x49: // INT
      case 0x4c: // LONG
        return this.#push(bytes.number(true));
      case 0x46: // FLOAT
        return this.#push(bytes.number(false));
      case 0x4b: // BININT1
        return this.#push(bytes.uint8());
      case 0x4d: // BININT2
        return this.#push(bytes.uint16());
      case 0x4a: // BININT
        return this.#push(bytes.int32());
      case 0x47: // BINFLOAT
        return this.#push(bytes.float64());
      case 0x8a: // LONG1
        return this.#push(bytes.integer(bytes.uint8()));
      case 0x8b: // LONG4
        return this.#push(bytes.integer(bytes.uint32()));

      case 0x43: // SHORT_BINBYTES
        return this.#push(bytes.bytes(bytes.uint8()), cost.bytes);
      case 0x42: // BINBYTES
        return this.#push(bytes.bytes(bytes.uint32()), cost.bytes);
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.#push(bytes.bytes(bytes.uint64()), cost.bytes);
      case 0x53: // STRING
        return this.#push(bytes.quotedString());
      case 0x55: // SHORT_BINSTRING
        return this.#push(bytes.byteString(bytes.uint8()));
      case 0x54: // BINSTRING
        return this.#push(bytes.byteString(bytes.uint32()));
      case 0x56: // UNICODE
        return this.#push(bytes.escapedText());
      case 0x8c: // SHORT_BINUNICODE
        return this.#push(bytes.text(bytes.uint8()));
      case 0x58: // BINUNICODE
        return this.#push(bytes.text(bytes.uint32()));
      case 0x8d: // BINUNICODE8
        return this.#push(bytes.text(bytes.uint64()));

      case 0x29: // EMPTY_TUPLE
        return this.#push([], cost.tuple);
      case 0x85: // TUPLE1
        return this.#push([this.#pop()], cost.tuple);
      case 0x86: // TUPLE2
        return this.#push([this.#pop(), this.#pop()].reverse(), cost.tuple);
      case 0x87: // TUPLE3
        return this.#push([this.#pop(), this.#pop(), this.#pop()].reverse(), cost.tuple);
      case 0x74: // TUPLE
        return this.#push(this.#popMark(), cost.tuple);
      case 0x5d: // EMPTY_LIST
        return this.#pushList();
      case 0x61: // APPEND
        return this.#append([this.#pop()]);
      case 0x65: // APPENDS
        return this.#append(this.#popMark());
      case 0x7d: // EMPTY_DICT
        return this.#push(new Map(), cost.dict);
      case 0x73: // SETITEM
        return this.#setItems([this.#pop(), this.#pop()].reverse());
      case 0x75: // SETITEMS
        return this.#setItems(this.#popMark());
      case 0x8f: // EMPTY_SET
        return this.#push(new Set(), cost.dict);
      case 0x90: // ADDITEMS
        return this.#addItems(this.#popMark());
      case 0x91: // FROZENSET
        return this.#push(new Set(this.#popMark()), cost.dict);

      case 0x63: // GLOBAL
        return this.#class(bytes.line(), bytes.line());
      case 0x93: { // STACK_GLOBAL
        const name = this.#pop();
        return this.#class(this.#pop(), name);
      }
      case 0x51: // BINPERSID: a storage, or (before torch 1.6) a class with its source text
        return this.#push(this.#context.persistent(this.#pop()), cost.call);
      case 0x52: // REDUCE
        return this.#call(false, false);
      case 0x81: // NEWOBJ
        return this.#call(true, false);
      case 0x92: // NEWOBJ_EX
        return this.#call(true, true);
      case 0x62: // BUILD
        return this.#setState(this.#pop());

      default:
        this.#fail(`opcode 0x${code.toString(16)} is not one that torch.save writes`);
    }
  }
}
