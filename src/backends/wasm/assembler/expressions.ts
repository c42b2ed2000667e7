// WebAssembly's instructions as typed expressions, such as i32.add(a, b) and v.load(at). An expression holds its bytes.
// The opcodes are those of the WebAssembly core specification 3.0, with SIMD, threads and relaxed SIMD.

export type ValType = "i32" | "f32" | "f64" | "v128";

/** An expression: code that leaves one value of a type on the stack. If it is used twice, it is computed twice. */
export class Ex<T extends ValType = ValType> {
  readonly type: T;
  readonly code: readonly number[];

  constructor(type: T, code: readonly number[]) {
    this.type = type;
    this.code = code;
  }
}
export type I32 = Ex<"i32"> | number;
export type F32 = Ex<"f32"> | number;
export type F64 = Ex<"f64"> | number;
export type V128 = Ex<"v128">;

/** A local variable: an expression that can be assigned. */
export class Local<T extends ValType = ValType> extends Ex<T> {
  readonly index: number;

  constructor(type: T, index: number) {
    super(type, [0x20, ...leb(index)]);
    this.index = index;
  }
}

/** Unsigned LEB128. */
export function leb(n: number): number[] {
  const out: number[] = [];
  do {
    const byte = n % 128;
    n = Math.floor(n / 128);
    out.push(n > 0 ? byte | 0x80 : byte);
  } while (n > 0);
  return out;
}

/** Signed LEB128. */
function sleb(n: number): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = n & 0x7f;
    n >>= 7;
    if ((n === 0 && !(byte & 0x40)) || (n === -1 && byte & 0x40)) return [...out, byte];
    out.push(byte | 0x80);
  }
}

function float32Bytes(x: number): number[] {
  return [...new Uint8Array(new Float32Array([x]).buffer)];
}

export const asI32 = (x: I32): Ex<"i32"> => typeof x === "number" ? new Ex("i32", [0x41, ...sleb(x | 0)]) : x;
export const asF32 = (x: F32): Ex<"f32"> =>
  typeof x === "number" ? new Ex("f32", [0x43, ...float32Bytes(x)]) : x;
export const asF64 = (x: F64): Ex<"f64"> =>
  typeof x === "number" ? new Ex("f64", [0x44, ...new Uint8Array(new Float64Array([x]).buffer)]) : x;

const i2 = (op: number) => (a: I32, b: I32): Ex<"i32"> =>
  new Ex("i32", [...asI32(a).code, ...asI32(b).code, op]);
export const atomic = (op: number, align = 2): number[] => [0xfe, op, align, 0];
const f1 = (op: number) => (a: F32): Ex<"f32"> => new Ex("f32", [...asF32(a).code, op]);
const f2 = (op: number) => (a: F32, b: F32): Ex<"f32"> =>
  new Ex("f32", [...asF32(a).code, ...asF32(b).code, op]);
const fCompare = (op: number) => (a: F32, b: F32): Ex<"i32"> =>
  new Ex("i32", [...asF32(a).code, ...asF32(b).code, op]);
const d2 = (op: number) => (a: F64, b: F64): Ex<"f64"> =>
  new Ex("f64", [...asF64(a).code, ...asF64(b).code, op]);
export const simd = (op: number): number[] => [0xfd, ...leb(op)];
const v1 = (op: number) => (a: V128): V128 => new Ex("v128", [...a.code, ...simd(op)]);
const v2 = (op: number) => (a: V128, b: V128): V128 => new Ex("v128", [...a.code, ...b.code, ...simd(op)]);
export const memarg = (align: number, offset: number): number[] => [align, ...leb(offset)];

export const i32 = {
  const: (n: number): Ex<"i32"> => asI32(n),
  load: (at: I32, offset = 0): Ex<"i32"> => new Ex("i32", [...asI32(at).code, 0x28, ...memarg(2, offset)]),
  add: i2(0x6a),
  sub: i2(0x6b),
  mul: i2(0x6c),
  div: i2(0x6d),
  rem: i2(0x6f),
  divU: i2(0x6e),
  remU: i2(0x70),
  and: i2(0x71),
  or: i2(0x72),
  shl: i2(0x74),
  shrU: i2(0x76),
  eq: i2(0x46),
  lt: i2(0x48),
  ltU: i2(0x49),
  gt: i2(0x4a),
  le: i2(0x4c),
  ge: i2(0x4e),
  eqz: (a: I32): Ex<"i32"> => new Ex("i32", [...asI32(a).code, 0x45]),
  atomicLoad: (at: I32): Ex<"i32"> => new Ex("i32", [...asI32(at).code, ...atomic(0x10)]),
  /** Subtracts, and returns the previous value. */
  atomicSub: (at: I32, n: I32): Ex<"i32"> =>
    new Ex("i32", [...asI32(at).code, ...asI32(n).code, ...atomic(0x25)]),
  select: (a: I32, b: I32, condition: I32): Ex<"i32"> =>
    new Ex("i32", [...asI32(a).code, ...asI32(b).code, ...asI32(condition).code, 0x1b]),
  min: (a: Ex<"i32">, b: Ex<"i32">): Ex<"i32"> => i32.select(a, b, i32.lt(a, b)),
  max: (a: Ex<"i32">, b: Ex<"i32">): Ex<"i32"> => i32.select(a, b, i32.gt(a, b)),
};

export const f32 = {
  load: (at: I32, offset = 0): Ex<"f32"> => new Ex("f32", [...asI32(at).code, 0x2a, ...memarg(2, offset)]),
  add: f2(0x92),
  sub: f2(0x93),
  mul: f2(0x94),
  div: f2(0x95),
  max: f2(0x97),
  sqrt: f1(0x91),
  neg: f1(0x8c),
  lt: fCompare(0x5d),
  eq: fCompare(0x5b),
  fromI32: (a: I32): Ex<"f32"> => new Ex("f32", [...asI32(a).code, 0xb2]),
  fromF64: (a: F64): Ex<"f32"> => new Ex("f32", [...asF64(a).code, 0xb6]),
  lane: (v: V128, lane: number): Ex<"f32"> => new Ex("f32", [...v.code, ...simd(0x1f), lane]),
};

export const f64 = {
  const: (n: number): Ex<"f64"> => asF64(n),
  add: d2(0xa0),
  sub: d2(0xa1),
  mul: d2(0xa2),
  div: d2(0xa3),
  sqrt: (a: F64): Ex<"f64"> => new Ex("f64", [...asF64(a).code, 0x9f]),
  fromF32: (a: F32): Ex<"f64"> => new Ex("f64", [...asF32(a).code, 0xbb]),
  fromI32: (a: I32): Ex<"f64"> => new Ex("f64", [...asI32(a).code, 0xb7]),
};

/** Vectors of four f32 lanes. For a * b + c see `Fn.fma`, which is fused if the engine has relaxed SIMD. */
export const v = {
  load: (at: I32, offset = 0): V128 => new Ex("v128", [...asI32(at).code, ...simd(0), ...memarg(4, offset)]),
  loadSplat: (at: I32, offset = 0): V128 =>
    new Ex("v128", [...asI32(at).code, ...simd(0x09), ...memarg(2, offset)]),
  splat: (a: F32): V128 => new Ex("v128", [...asF32(a).code, ...simd(0x13)]),
  splatI32: (a: I32): V128 => new Ex("v128", [...asI32(a).code, ...simd(0x11)]),
  add: v2(0xe4),
  sub: v2(0xe5),
  mul: v2(0xe6),
  div: v2(0xe7),
  min: v2(0xe8),
  max: v2(0xe9),
  /** Takes one instruction, while `min` and `max` take six. It keeps a NaN in `a`, but not a NaN in `b`. */
  pmin: v2(0xea),
  pmax: v2(0xeb),
  abs: v1(0xe0),
  neg: v1(0xe1),
  sqrt: v1(0xe3),
  eq: v2(0x41),
  ne: v2(0x42),
  lt: v2(0x43),
  gt: v2(0x44),
  and: v2(0x4e),
  or: v2(0x50),
  andNot: v2(0x4f),
  addI32: v2(0xae),
  shlI32: (a: V128, bits: number): V128 => new Ex("v128", [...a.code, ...asI32(bits).code, ...simd(0xab)]),
  shrI32: (a: V128, bits: number): V128 => new Ex("v128", [...a.code, ...asI32(bits).code, ...simd(0xac)]),
  fromI32: v1(0xfa),
  /** The lanes of `a` where the mask is set, and those of `b` elsewhere. */
  select: (a: V128, b: V128, mask: V128): V128 =>
    new Ex("v128", [...a.code, ...b.code, ...mask.code, ...simd(0x52)]),
  zero: (): V128 => new Ex("v128", [...simd(0x0c), ...new Array<number>(16).fill(0)]),
  /** Chooses four of the eight lanes of a (0-3) and b (4-7). */
  shuffle: (a: V128, b: V128, lanes: readonly number[]): V128 =>
    new Ex("v128", [
      ...a.code,
      ...b.code,
      ...simd(0x0d),
      ...lanes.flatMap((l) => [0, 1, 2, 3].map((i) => 4 * l + i)),
    ]),
};
