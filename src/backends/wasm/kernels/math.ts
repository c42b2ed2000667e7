// Mathematical functions of four f32 lanes: exp, log, tanh and functions made of them. Range reduction and minimax
// polynomials are those of the Cephes library (Moshier); errors stay within about 2 units in the last place.
import { type Fn } from "../assembler/assembler.ts";
import { v, type V128 } from "../assembler/expressions.ts";

/** A polynomial by Horner's rule, with the highest coefficient first. */
function polynomial(f: Fn, x: V128, coefficients: readonly number[]): V128 {
  return coefficients.slice(1).reduce<V128>((sum, c) => f.fma(sum, x, f.splat(c)), f.splat(coefficients[0]));
}

const ROUND = 1.5 * 2 ** 23 + 127;

/** e^x. Infinite from 88.38 on (f32 ends at 88.72), 1.2e-38 from -87.3 down; NaN stays NaN. */
export function exp(f: Fn, x: V128): V128 {
  const bounded = f.let(v.pmax(v.pmin(x, f.splat(88.8)), f.splat(-87.3)));
  // floats beyond 2^23 are whole numbers, so the sum is rounded, and its low bits are the exponent n
  const shifted = f.let(f.fma(bounded, f.splat(Math.LOG2E), f.splat(ROUND)));
  const n = f.let(v.sub(shifted, f.splat(ROUND)));
  // ln 2 in two parts, so that n * ln 2 loses no bits
  const r = f.let(f.fma(n, f.splat(2.12194440e-4), f.fma(n, f.splat(-0.693359375), bounded)));
  const p = polynomial(f, r, [
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
  ]);
  const mantissa = f.fma(v.mul(r, r), p, v.add(r, f.splat(1)));
  return v.mul(mantissa, v.shlI32(shifted, 23));
}

/** 1 / (1 + e^-x) */
export function sigmoid(f: Fn, x: V128): V128 {
  return v.div(f.splat(1), v.add(f.splat(1), exp(f, v.neg(x))));
}

/** d(x s(x))/dx = s (1 + x (1 - s)) with s the sigmoid. */
export function swishDerivative(f: Fn, x: V128): V128 {
  const input = f.let(x);
  const s = f.let(sigmoid(f, input));
  return v.mul(s, f.fma(input, v.sub(f.splat(1), s), f.splat(1)));
}

/** Natural logarithm; -Infinity at 0, NaN below, Infinity at Infinity. */
export function log(f: Fn, x: V128): V128 {
  const input = f.let(x);
  const bits = (n: number) => f.let(v.splatI32(n));
  const m = f.let(v.or(v.and(input, bits(0x007fffff)), bits(0x3f800000))); // in [1, 2)
  const big = f.let(v.gt(m, f.splat(Math.SQRT2)));
  const e = f.let(v.fromI32(v.addI32(v.shrI32(input, 23), bits(-127))));
  f.set(e, v.add(e, v.and(big, f.splat(1))));
  const r = f.let(v.sub(v.select(v.mul(m, f.splat(0.5)), m, big), f.splat(1)));
  const r2 = f.let(v.mul(r, r));
  const p = polynomial(f, r, [
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
  ]);
  const small = f.fma(r2, f.splat(-0.5), f.fma(e, f.splat(-2.12194440e-4), v.mul(v.mul(p, r), r2)));
  const value = f.let(f.fma(e, f.splat(0.693359375), v.add(r, small)));
  const zero = v.eq(input, f.splat(0));
  const outside = v.or(v.lt(input, f.splat(0)), v.ne(input, input));
  const finite = v.select(input, v.select(f.splat(-Infinity), value, zero), v.eq(input, f.splat(Infinity)));
  return v.select(f.splat(NaN), finite, outside);
}

/** Hyperbolic tangent: a polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel. */
export function tanh(f: Fn, x: V128): V128 {
  const input = f.let(x);
  const z = f.let(v.mul(input, input));
  const p = polynomial(f, z, [
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
  ]);
  const near = f.let(f.fma(v.mul(input, z), p, input));
  const far = v.sub(f.splat(1), v.div(f.splat(2), v.add(exp(f, v.add(input, input)), f.splat(1))));
  return v.select(near, far, v.lt(v.abs(input), f.splat(0.625)));
}

/** log(1 + e^x) without overflow. log(1 + e) is log(u) e / (u - 1) with u = 1 + e rounded, or e if u is 1 (Goldberg 1991). */
export function softplus(f: Fn, x: V128): V128 {
  const input = f.let(x);
  const e = f.let(exp(f, v.neg(v.abs(input))));
  const u = f.let(v.add(f.splat(1), e));
  const rest = v.select(e, v.mul(log(f, u), v.div(e, v.sub(u, f.splat(1)))), v.eq(u, f.splat(1)));
  return v.add(v.max(input, f.splat(0)), rest);
}
