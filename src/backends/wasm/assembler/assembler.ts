// A small WebAssembly assembler. Kernels are written with it in TypeScript and assembled when the backend starts. A `Fn`
// collects the statements of a function, which are made of expressions (expressions.ts); a `ModuleBuilder` links functions.
import {
  asF32,
  asF64,
  asI32,
  atomic,
  Ex,
  type F32,
  f32,
  type I32,
  i32,
  leb,
  Local,
  memarg,
  simd,
  v,
  type V128,
  type ValType,
} from "./expressions.ts";

const TYPE_CODE: Record<ValType, number> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** A function under construction: statements append to its body. */
export class Fn {
  readonly module: ModuleBuilder;
  readonly name: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];

  readonly code: number[] = [];
  readonly #locals: ValType[] = [];
  readonly #constants = new Map<number, Local<"v128">>();
  readonly #prologue: number[] = [];
  /** Inside `abreast`: the stores that are delayed, and the addresses by the code that computes them. */
  #abreast: { stores: number[][]; readonly addresses: Map<string, Local<"i32">> } | null = null;

  constructor(
    module: ModuleBuilder,
    name: string,
    params: readonly ValType[],
    results: readonly ValType[],
  ) {
    this.module = module;
    this.name = name;
    this.params = params;
    this.results = results;
  }

  param<T extends ValType>(index: number, type: T): Local<T> {
    if (this.params[index] !== type) {
      throw new Error(`${this.name}: parameter ${index} is ${this.params[index]}`);
    }
    return new Local(type, index);
  }

  local<T extends ValType>(type: T): Local<T> {
    this.#locals.push(type);
    return new Local(type, this.params.length + this.#locals.length - 1);
  }

  /** Keeps a value in a new local, so that it can be used several times without being computed again. */
  let<T extends ValType>(value: Ex<T>): Local<T> {
    const l = this.local(value.type);
    this.set(l, value);
    return l;
  }

  /** Sum of the four lanes: (0 + 2) + (1 + 3). */
  sum(a: V128): Ex<"f32"> {
    const t = this.let(a);
    return f32.add(f32.add(f32.lane(t, 0), f32.lane(t, 2)), f32.add(f32.lane(t, 1), f32.lane(t, 3)));
  }
  /** A constant in all four lanes. It is set once, at the start of the function, so that loops find it in a register. */
  splat(x: number): Local<"v128"> {
    let l = this.#constants.get(x);
    if (!l) {
      l = this.local("v128");
      this.#constants.set(x, l);
      this.#prologue.push(...v.splat(x).code, 0x21, ...leb(l.index));
    }
    return l;
  }

  /** a * b + c */
  fma(a: V128, b: V128, c: V128): V128 {
    return this.module.fma(a, b, c);
  }

  set<T extends ValType>(l: Local<T>, value: Ex<T> | number): void {
    const ex = typeof value === "number"
      ? (l.type === "i32" ? asI32(value) : l.type === "f32" ? asF32(value) : asF64(value))
      : value;
    if (ex.type !== l.type) throw new Error(`${this.name}: ${ex.type} assigned to a ${l.type} local`);
    this.code.push(...ex.code, 0x21, ...leb(l.index));
  }

  inc(l: Local<"i32">, by: I32): void {
    this.set(l, i32.add(l, by));
  }

  storeI32(at: I32, value: I32, offset = 0): void {
    this.code.push(...asI32(at).code, ...asI32(value).code, 0x36, ...memarg(2, offset));
  }
  storeF32(at: I32, value: F32, offset = 0): void {
    this.code.push(...asI32(at).code, ...asF32(value).code, 0x38, ...memarg(2, offset));
  }
  store(at: I32, value: V128, offset = 0): void {
    const to = this.#address(at), from = this.#abreast ? this.let(value) : value;
    const code = [...to.code, ...from.code, ...simd(0x0b), ...memarg(4, offset)];
    if (this.#abreast) this.#abreast.stores.push(code);
    else this.code.push(...code);
  }
  /** Stores vectors one after another in memory. */
  storeAbreast(at: I32, values: readonly V128[], offset = 0): void {
    values.forEach((value, i) => this.store(at, value, offset + 16 * i));
  }
  /** Like `v.load`; inside `abreast` the address `at` is computed only once for all offsets. */
  load(at: I32, offset = 0): V128 {
    return v.load(this.#address(at), offset);
  }

  /**
   * Emits the body for each offset. The stores are emitted after all bodies: the first store of each offset, then the second
   * one, and so on. Addresses are computed once. V8 joins two vectors into one of 256 bits only in code of this form
   * (wide.ts).
   */
  abreast(offsets: readonly number[], body: (offset: number) => void): void {
    const addresses = new Map<string, Local<"i32">>();
    this.brief(() => {
      const all = offsets.map((offset) => {
        const stores: number[][] = [];
        this.#abreast = { stores, addresses };
        body(offset);
        return stores;
      });
      this.#abreast = null;
      all[0].forEach((_, i) => all.forEach((stores) => this.code.push(...stores[i])));
    });
  }

  /**
   * Emits the body, and then sets the vectors that it made to zero. Otherwise the compiler would keep them alive through a
   * loop around the body, as if they were used again.
   */
  brief(body: () => void): void {
    const before = this.#locals.length, zero = this.splat(0);
    body();
    const constants = new Set([...this.#constants.values()].map(({ index }) => index));
    for (let i = before; i < this.#locals.length; i++) {
      const local = new Local(this.#locals[i], this.params.length + i);
      if (local.type === "v128" && !constants.has(local.index)) this.set(local as Local<"v128">, zero);
    }
  }

  #address(at: I32): Ex<"i32"> {
    const ex = asI32(at);
    if (!this.#abreast || ex instanceof Local) return ex;
    const { addresses } = this.#abreast, key = ex.code.join();
    const known = addresses.get(key) ?? this.let(ex);
    addresses.set(key, known);
    return known;
  }
  copyBytes(to: I32, from: I32, bytes: I32): void {
    this.code.push(...asI32(to).code, ...asI32(from).code, ...asI32(bytes).code, 0xfc, 10, 0, 0);
  }
  fillBytes(to: I32, byte: I32, bytes: I32): void {
    this.code.push(...asI32(to).code, ...asI32(byte).code, ...asI32(bytes).code, 0xfc, 11, 0);
  }

  atomicStore(at: I32, value: I32): void {
    this.code.push(...asI32(at).code, ...asI32(value).code, ...atomic(0x17));
  }
  /** Sleeps until notified, unless the word at `at` is no longer `expected`. */
  wait(at: I32, expected: I32): void {
    this.code.push(...asI32(at).code, ...asI32(expected).code, 0x42, 0x7f, ...atomic(0x01), 0x1a);
  }
  notify(at: I32, count: I32): void {
    this.code.push(...asI32(at).code, ...asI32(count).code, ...atomic(0x00), 0x1a);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.code.push(...asI32(condition).code, 0x04, 0x40);
    then();
    if (otherwise) {
      this.code.push(0x05);
      otherwise();
    }
    this.code.push(0x0b);
  }

  /** Runs the body while the condition holds. */
  while(condition: I32, body: () => void): void {
    this.code.push(0x02, 0x40, 0x03, 0x40, ...asI32(condition).code, 0x45, 0x0d, 1);
    body();
    this.code.push(0x0c, 0, 0x0b, 0x0b);
  }

  /** for (let i = from; i < to; i += step). `to` is evaluated in every iteration, so pass a local. */
  for(from: I32, to: I32, step: I32, body: (i: Local<"i32">) => void): void {
    const i = this.local("i32");
    this.set(i, asI32(from));
    this.while(i32.lt(i, to), () => {
      body(i);
      this.inc(i, step);
    });
  }

  /** A loop with its test at the end. It saves a jump in inner loops that run at least once. */
  doWhile(body: () => void, condition: () => I32): void {
    this.code.push(0x03, 0x40);
    body();
    this.code.push(...asI32(condition()).code, 0x0d, 0, 0x0b);
  }

  call(name: string, ...args: Ex[]): void {
    for (const a of args) this.code.push(...a.code);
    this.code.push(0x10, ...leb(this.module.indexOf(name)));
  }

  /** Calls the function at a table index. It must have the same type as the function `like`. */
  callIndirect(like: string, index: I32, ...args: Ex[]): void {
    for (const a of args) this.code.push(...a.code);
    this.code.push(...asI32(index).code, 0x11, ...leb(this.module.indexOf(like)), 0);
  }

  body(): number[] {
    const locals = this.#locals.flatMap((t) => [1, TYPE_CODE[t]]);
    const all = [...leb(this.#locals.length), ...locals, ...this.#prologue, ...this.code, 0x0b];
    return [...leb(all.length), ...all];
  }
}

/** Links functions into a module. The module imports one shared memory (env.memory) and has a table of all functions. */
export class ModuleBuilder {
  readonly relaxed: boolean;

  readonly #fns: Fn[] = [];
  readonly #index = new Map<string, number>();

  /** @param relaxed whether to use the fused multiply-add of relaxed SIMD */
  constructor(relaxed: boolean) {
    this.relaxed = relaxed;
  }

  /** a * b + c */
  fma(a: V128, b: V128, c: V128): V128 {
    return this.relaxed
      ? new Ex("v128", [...a.code, ...b.code, ...c.code, ...simd(0x105)])
      : v.add(v.mul(a, b), c);
  }

  fn(name: string, params: readonly ValType[], results: readonly ValType[], build: (f: Fn) => void): void {
    const f = new Fn(this, name, params, results);
    this.#index.set(name, this.#fns.length);
    this.#fns.push(f);
    build(f);
  }

  indexOf(name: string): number {
    const index = this.#index.get(name);
    if (index === undefined) throw new Error(`assembler: no function ${name} yet`);
    return index;
  }

  get names(): string[] {
    return [...this.#index.keys()];
  }

  bytes(maxPages: number): Uint8Array<ArrayBuffer> {
    const text = (s: string): number[] => [...leb(s.length), ...new TextEncoder().encode(s)];
    const section = (id: number, items: number[][]): number[] => {
      const content = [...leb(items.length), ...items.flat()];
      return [id, ...leb(content.length), ...content];
    };
    const types = this.#fns.map((f) => [
      0x60,
      f.params.length,
      ...f.params.map((t) => TYPE_CODE[t]),
      f.results.length,
      ...f.results.map((t) => TYPE_CODE[t]),
    ]);
    const n = this.#fns.length;
    const all = this.#fns.map((_, i) => leb(i));
    return Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, types),
      ...section(2, [[...text("env"), ...text("memory"), 2, 3, ...leb(1), ...leb(maxPages)]]),
      ...section(3, all),
      ...section(4, [[0x70, 0, ...leb(n)]]),
      ...section(7, this.#fns.map((f, i) => [...text(f.name), 0, ...leb(i)])),
      ...section(9, [[0, 0x41, 0, 0x0b, ...leb(n), ...all.flat()]]),
      ...section(10, this.#fns.map((f) => f.body())),
    ]);
  }
}
