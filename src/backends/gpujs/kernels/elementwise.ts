// Functions of single numbers, and the two kernels that apply them to every element.
import type { BinaryOp, UnaryOp } from "../../kernels.ts";
import type { Place, Scalar } from "../compile.ts";

/** The function that the kernel is compiled with: one of `unaryOps` or `binaryOps`. */
declare function op(...numbers: number[]): number;

/** 1 / (1 + e^-x) */
export const sigmoid: Scalar = (x) => 1 / (1 + Math.exp(-x));

/** d(x s)/dx = s (1 + x (1 - s)) with s the sigmoid of x */
export const swishDerivative: Scalar = (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x)));

/** Functions of x and the parameters p0 and p1. */
export const unaryOps: Record<UnaryOp, Scalar> = {
  abs: (x) => Math.abs(x),
  sign: (x) => x > 0 ? 1 : x < 0 ? -1 : 0,
  exp: (x) => Math.exp(x),
  log: (x) => Math.log(x),
  sqrt: (x) => Math.sqrt(x),
  square: (x) => x * x,
  relu: (x) => Math.max(x, 0),
  leakyRelu: (x, slope) => x > 0 ? x : slope * x,
  sigmoid: (x) => sigmoid(x),
  swish: (x) => x * sigmoid(x),
  tanh: (x) => Math.tanh(x),
  // log(1 + e^x) without overflow
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  clamp: (x, low, high) => Math.min(Math.max(x, low), high),
  affine: (x, scale, shift) => scale * x + shift,
};

/** Functions of both operands and the parameter p0. */
export const binaryOps: Record<BinaryOp, Scalar> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  greater: (a, b) => a > b ? 1 : 0,
  equal: (a, b) => a === b ? 1 : 0,
  swishGrad: (g, x) => g * swishDerivative(x),
  reluGrad: (g, y) => y > 0 ? g : 0,
  leakyReluGrad: (g, y, slope) => y > 0 ? g : slope * g,
  lerp: (a, b, amount) => a + amount * (b - a),
};

/** out[i] = op(x[i]) */
export function unary(this: Place<object>, x: Float32Array, p0: number, p1: number): number {
  return op(x[this.thread.x], p0, p1);
}

/** The strides of both operands along the rows (outer) and columns (inner) of the output. A stride of 0 repeats a number. */
interface Walks {
  readonly inner: number;
  readonly aOuter: number;
  readonly aInner: number;
  readonly bOuter: number;
  readonly bInner: number;
}

/** out[o, i] = op(a[o, i], b[o, i]) */
export function binary(this: Place<Walks>, a: Float32Array, b: Float32Array, p0: number): number {
  const { inner, aOuter, aInner, bOuter, bInner } = this.constants;
  const o = Math.floor(this.thread.x / inner);
  const i = this.thread.x % inner;
  return op(a[o * aOuter + i * aInner], b[o * bOuter + i * bInner], p0);
}
