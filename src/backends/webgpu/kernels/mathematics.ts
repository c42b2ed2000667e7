// exp, log, tanh, sigmoid and softplus of four numbers, by the polynomials of the Cephes library (Moshier). WGSL's own
// functions may be wrong by several units in the last place, and tanh(100) is NaN with some drivers.
import { float } from "./wgsl.ts";

const polynomial = (x: string, coefficients: readonly number[]) =>
  coefficients.slice(1).reduce(
    (sum, c) => `fma(${sum}, ${x}, vec4f(${float(c)}))`,
    `vec4f(${float(coefficients[0])})`,
  );

/** The functions, as WGSL. */
export const mathematics = `
fn exp4(x: vec4f) -> vec4f {
  let bounded = clamp(x, vec4f(-87.3), vec4f(88.8));
  let n = vec4i(round(bounded * ${float(Math.LOG2E)}));
  // ln 2 = 355/512 - 2.1e-4. The first product is in integers: Mesa would fuse both and lose digits
  let r = fma(vec4f(n), vec4f(2.12194440e-4), bounded - vec4f(n * 355) / 512.0);
  let q = ${
  polynomial("r", [
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
  ])
};
  let power = bitcast<vec4f>((n + 127) << vec4u(23u));
  // the clamp loses NaN
  return select(fma(r * r, q, r + 1.0) * power, x, x != x);
}
fn sigmoid4(x: vec4f) -> vec4f { return 1.0 / (1.0 + exp4(-x)); }
fn log4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4i>(x);
  let m0 = bitcast<vec4f>((bits & vec4i(0x007fffff)) | vec4i(0x3f800000));
  let big = m0 > vec4f(${float(Math.SQRT2)});
  let e = vec4f((bits >> vec4u(23u)) - 127) + select(vec4f(), vec4f(1.0), big);
  let r = select(m0, m0 * 0.5, big) - 1.0;
  let r2 = r * r;
  let q = ${
  polynomial("r", [
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
  ])
};
  let small = fma(r2, vec4f(-0.5), fma(e, vec4f(-2.12194440e-4), q * r * r2));
  let value = fma(e, vec4f(0.693359375), r + small);
  var special = vec4u(0x7fc00000u, 0xff800000u, 0u, 0u); // NaN and -Infinity, which WGSL has no words for
  let far = bitcast<vec4f>(special);
  return select(select(value, vec4f(far.y), x == vec4f()), vec4f(far.x), (x < vec4f()) | (x != x));
}
fn tanh4(x: vec4f) -> vec4f {
  let z = x * x;
  let near = fma(x * z, ${
  polynomial("z", [
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
  ])
}, x);
  return select(1.0 - 2.0 / (exp4(x + x) + 1.0), near, abs(x) < vec4f(0.625));
}
fn softplus4(x: vec4f) -> vec4f { return max(x, vec4f()) + log4(1.0 + exp4(-abs(x))); }
fn swishGrad4(x: vec4f) -> vec4f {
  let s = sigmoid4(x);
  return s * fma(x, 1.0 - s, vec4f(1.0));
}`;
