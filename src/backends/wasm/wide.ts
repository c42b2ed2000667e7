// Vectors of 256 bits. WebAssembly's vectors have 128 bits, but V8 can join two that are neighbours in memory and go through
// the same instructions.
import { ModuleBuilder } from "./assembler/assembler.ts";
import { f32, v } from "./assembler/expressions.ts";
import { hasWideFlags } from "./v8_flags.ts";

/**
 * Whether V8 joins vectors. Joined or not, they compute the same, so this cannot be tried. It follows from the flags
 * (v8_flags.ts), and from a probe of the processor: V8 needs AVX2, and a processor that fuses multiply and add has that, but
 * for a few from 2012 to 2015. In Deno V8 then checks no bounds; what takes the place of these checks is in
 * docs/reliability.md.
 */
export const WIDE = hasWideFlags() && fusesMultiplyAdd();

/** Whether x * x - y is rounded only once. For x = 1 + 2^-12 and y = 1 + 2^-11 it is 2^-24 then, and otherwise 0. */
export function fusesMultiplyAdd(): boolean {
  const m = new ModuleBuilder(true);
  m.fn("probe", ["f32", "f32"], ["f32"], (f) => {
    const x = f.let(v.splat(f.param(0, "f32"))), y = f.let(v.splat(f.param(1, "f32")));
    f.code.push(...f32.lane(f.fma(x, x, v.neg(y)), 0).code);
  });
  const bytes = m.bytes(1);
  if (!WebAssembly.validate(bytes)) return false;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return (exports.probe as (x: number, y: number) => number)(1 + 2 ** -12, 1 + 2 ** -11) !== 0;
}

/** Byte offsets of the vectors that a kernel treats together, and their size. Their stores must follow one another. */
export const ABREAST: readonly number[] = WIDE ? [0, 16] : [0];
export const ABREAST_BYTES = 16 * ABREAST.length;
