// Winograd's transforms (Lavin & Gray 2016) by the method of Toom and Cook: polynomials are evaluated at six points,
// multiplied there and interpolated. Six points give 4 outputs of 3 taps, 3 outputs of 4 taps, or 5 outputs of 2.
import { type Fn } from "../assembler/assembler.ts";
import { type Ex, type Local, v, type V128 } from "../assembler/expressions.ts";
import { ABREAST, ABREAST_BYTES } from "../wide.ts";

/** The inputs of a patch along one side, and the number of its products. */
export const PATCH = 6;
export const PRODUCTS = PATCH * PATCH;
/** The sizes of filters that can be computed this way, as taps along one side. */
export type Taps = 2 | 3 | 4;
export const TAPS: readonly Taps[] = [2, 3, 4];
/** The sizes whose weight gradient can be computed by Winograd as well. */
export const GRAD_TAPS: readonly Taps[] = [3, 4];
/** Outputs of a patch along one side. */
export const outputs = (taps: Taps): number => PATCH + 1 - taps;
/**
 * A gap of one cache line between the products of a block. Without it their addresses would differ by multiples of 4096, so
 * that the 36 values of a transform would share the 8 places of one cache set.
 */
export const GAP = 64;
/** Bytes from one transformed patch to the next, with a gap for the same reason. */
export const patchStride = (channels: number): number =>
  Math.ceil(channels * 4 / ABREAST_BYTES) * ABREAST_BYTES + (channels % 512 === 0 ? GAP : 0);
/** Bytes of half a transform: the columns of a patch. */
export const COLUMNS = PRODUCTS * ABREAST_BYTES;

/** The transforms evaluate polynomials at 0, +-P, +-Q and infinity. Errors are half as large as with the usual 1 and 2. */
const P = Math.SQRT1_2;
const Q = Math.SQRT2;
const [P2, Q2] = [P * P, Q * Q];

type Vectors = readonly V128[];

/** B^T x evaluates a patch at the six points. The denominators are part of the filter transform. */
export function inputTransform(f: Fn, x: Vectors): V128[] {
  const even = (s: number) => f.let(f.fma(x[2], f.splat(-s), x[4]));
  const odd = (p: number, s: number) => f.let(v.mul(f.splat(p), f.fma(x[1], f.splat(-s), x[3])));
  const [e1, o1, e2, o2] = [even(Q2), odd(P, Q2), even(P2), odd(Q, P2)];
  const end = (a: V128, b: V128, c: V128) => f.fma(a, f.splat(P2 * Q2), f.fma(b, f.splat(-(P2 + Q2)), c));
  return [
    end(x[0], x[2], x[4]),
    v.add(e1, o1),
    v.sub(e1, o1),
    v.add(e2, o2),
    v.sub(e2, o2),
    end(x[1], x[3], x[5]),
  ];
}

/** G x evaluates a polynomial of 2 to 4 coefficients x at the six points, and divides by the denominators. */
export function filterTransform(f: Fn, x: Vectors): V128[] {
  const at = (p: number, norm: number) => {
    const scale = (i: number) => f.splat(p ** i / norm);
    const sum = (first: number) => {
      const low = v.mul(x[first], scale(first));
      return f.let(first + 2 < x.length ? f.fma(x[first + 2], scale(first + 2), low) : low);
    };
    const [even, odd] = [sum(0), sum(1)];
    return [v.add(even, odd), v.sub(even, odd)];
  };
  return [
    v.mul(x[0], f.splat(1 / (P2 * Q2))),
    ...at(P, 2 * P2 * (P2 - Q2)),
    ...at(Q, 2 * Q2 * (Q2 - P2)),
    x[x.length - 1],
  ];
}

/** A^T m interpolates `count` coefficients from the six products. */
export function outputTransform(f: Fn, m: Vectors, count: number): V128[] {
  const [s1, d1, s2, d2] = [v.add(m[1], m[2]), v.sub(m[1], m[2]), v.add(m[3], m[4]), v.sub(m[3], m[4])]
    .map((x) => f.let(x));
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = i % 2 === 0 ? [s1, s2] : [d1, d2];
    const sum = i === 0 ? v.add(a, b) : f.fma(b, f.splat(Q ** i), v.mul(a, f.splat(P ** i)));
    return i === 0 ? v.add(m[0], sum) : i === count - 1 ? v.add(m[5], sum) : sum;
  });
}

/**
 * A two-dimensional transform of vectors in memory: first columns, into `temporary`, then rows. `from(y, x)` returns the
 * address and offset of a vector, and `store(y, x, values)` stores results; several vectors are treated abreast (wide.ts).
 */
export function transform2d(
  f: Fn,
  size: number,
  transform: (f: Fn, x: Vectors) => V128[],
  from: (y: number, x: number) => readonly [at: Ex<"i32">, offset: number],
  temporary: Ex<"i32">,
  store: (y: number, x: number, values: readonly Local<"v128">[]) => void,
): void {
  /** Transforms one line of vectors. Returns the vectors abreast for each place. */
  const line = (from: (i: number) => readonly [at: Ex<"i32">, offset: number]) => {
    const places = Array.from({ length: size }, (_, i) => from(i)).map(([at, offset]) =>
      [f.let(at), offset] as const
    );
    const all = ABREAST.map((o) =>
      transform(f, places.map(([at, offset]) => f.let(v.load(at, offset + o)))).map((x) => f.let(x))
    );
    return all[0].map((_, i) => all.map((out) => out[i]));
  };
  const at = (y: number, x: number) => (y * size + x) * ABREAST_BYTES;
  f.brief(() => {
    let rows = 0;
    for (let x = 0; x < size; x++) {
      const out = line((y) => from(y, x));
      rows = out.length;
      out.forEach((values, y) => f.storeAbreast(temporary, values, at(y, x)));
    }
    for (let y = 0; y < rows; y++) {
      line((x) => [temporary, at(y, x)]).forEach((values, x) => store(y, x, values));
    }
  });
}
