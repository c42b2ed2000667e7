// Elementwise kernels, strided copies and Adam: everything that passes over memory once.
import type { BinaryOp, UnaryOp } from "../../backend.ts";
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { exp, log, sigmoid, softplus, tanh } from "./math.ts";
import { argument, argumentF32 } from "../threads.ts";
import { ABREAST, ABREAST_BYTES } from "../wide.ts";

/** Elements a tile covers: 64 KiB of f32, so that operands stay in the second-level cache. */
export const CHUNK = 16384;

type Body = (f: Fn, tile: Local<"i32">, scratch: Local<"i32">) => void;

/** Adds a kernel: a function of (tile, scratch) that finds its arguments in the control block. */
export function kernel(m: ModuleBuilder, name: string, body: Body): void {
  m.fn(name, ["i32", "i32"], [], (f) => body(f, f.param(0, "i32"), f.param(1, "i32")));
}

/** out[i] = value(byte offset of i, as a sum) for i < n by vectors; the last lanes are stored one by one. */
export function storeRow(
  f: Fn,
  out: Local<"i32">,
  n: Local<"i32">,
  value: (at: Local<"i32">, offset: number) => V128,
): void {
  const at = f.local("i32");
  f.set(at, 0);
  const steps = (offsets: readonly number[]) => {
    const bytes = 16 * offsets.length;
    const end = f.let(i32.and(i32.shl(n, 2), -bytes));
    f.while(i32.lt(at, end), () => {
      f.abreast(offsets, (o) => f.store(i32.add(out, at), value(at, o), o));
      f.inc(at, bytes);
    });
  };
  steps(ABREAST);
  if (ABREAST.length > 1) steps([0]);
  const left = f.let(i32.and(n, 3));
  f.if(left, () => {
    const last = f.let(value(at, 0));
    const to = f.let(i32.add(out, at));
    f.storeF32(to, f32.lane(last, 0));
    f.if(i32.gt(left, 1), () => f.storeF32(to, f32.lane(last, 1), 4));
    f.if(i32.gt(left, 2), () => f.storeF32(to, f32.lane(last, 2), 8));
  });
}

type Unary = (f: Fn, x: V128, p0: V128, p1: V128) => V128;
const unaryOps: Record<UnaryOp, Unary> = {
  neg: (_, x) => v.neg(x),
  abs: (_, x) => v.abs(x),
  sign: (f, x) => v.sub(v.and(v.gt(x, f.splat(0)), f.splat(1)), v.and(v.lt(x, f.splat(0)), f.splat(1))),
  // the function beneath ends at the least normal number
  exp: (f, x) => v.select(f.splat(0), exp(f, x), v.lt(x, f.splat(-87.3))),
  log: (f, x) => log(f, x),
  sqrt: (_, x) => v.sqrt(x),
  square: (_, x) => v.mul(x, x),
  reciprocal: (f, x) => v.div(f.splat(1), x),
  relu: (f, x) => v.pmax(x, f.splat(0)),
  leakyRelu: (f, x, slope) => v.select(x, v.mul(x, slope), v.gt(x, f.splat(0))),
  sigmoid: (f, x) => sigmoid(f, x),
  swish: (f, x) => v.mul(x, sigmoid(f, x)),
  tanh: (f, x) => tanh(f, x),
  softplus: (f, x) => softplus(f, x),
  clamp: (_, x, low, high) => v.pmin(v.pmax(x, low), high),
  affine: (f, x, scale, shift) => f.fma(x, scale, shift),
};

type Binary = (f: Fn, a: V128, b: V128, p0: V128) => V128;
const binaryOps: Record<BinaryOp, Binary> = {
  add: (_, a, b) => v.add(a, b),
  sub: (_, a, b) => v.sub(a, b),
  mul: (_, a, b) => v.mul(a, b),
  div: (_, a, b) => v.div(a, b),
  maximum: (_, a, b) => v.max(a, b),
  minimum: (_, a, b) => v.min(a, b),
  greater: (f, a, b) => v.and(v.gt(a, b), f.splat(1)),
  equal: (f, a, b) => v.and(v.eq(a, b), f.splat(1)),
  swishGrad: (f, g, x) => v.mul(g, swishDerivative(f, x)),
  reluGrad: (f, g, y) => v.and(g, v.gt(y, f.splat(0))),
  leakyReluGrad: (f, g, y, slope) => v.select(g, v.mul(g, slope), v.gt(y, f.splat(0))),
};

/** d(x s(x))/dx = s (1 + x (1 - s)) with s the sigmoid. */
export function swishDerivative(f: Fn, x: V128): V128 {
  const input = f.let(x);
  const s = f.let(sigmoid(f, input));
  return v.mul(s, f.fma(input, v.sub(f.splat(1), s), f.splat(1)));
}

export function addElementwise(m: ModuleBuilder): void {
  // arguments: x, out, length, p0, p1
  for (const [name, op] of Object.entries(unaryOps)) {
    kernel(m, `unary.${name}`, (f, tile) => {
      const at = f.let(i32.mul(tile, CHUNK * 4));
      const end = f.let(i32.min(f.let(i32.add(at, CHUNK * 4)), f.let(i32.shl(argument(2), 2))));
      const x = f.let(argument(0));
      const out = f.let(argument(1));
      const p0 = f.let(v.splat(argumentF32(3)));
      const p1 = f.let(v.splat(argumentF32(4)));
      // whole vectors to the end: allocations are padded to 64 bytes
      f.while(i32.ltU(at, end), () => {
        f.abreast(ABREAST, (o) => {
          f.store(i32.add(out, at), op(f, f.let(f.load(i32.add(x, at), o)), p0, p1), o);
        });
        f.inc(at, ABREAST_BYTES);
      });
    });
  }
  // arguments: a, b, out, outer, inner, aOuter, bOuter, rows a tile, chunks a row, p0
  for (const [name, op] of Object.entries(binaryOps)) {
    for (const [aInner, bInner] of [[1, 1], [1, 0], [0, 1]]) {
      kernel(m, `binary.${name}.${aInner}${bInner}`, (f, tile) => {
        const chunks = f.let(argument(8));
        const start = f.let(i32.mul(i32.rem(tile, chunks), CHUNK));
        const n = f.let(i32.min(f.let(i32.sub(argument(4), start)), f.let(i32.const(CHUNK))));
        const row = f.let(i32.mul(i32.div(tile, chunks), argument(7)));
        const lastRow = f.let(i32.min(f.let(i32.add(row, argument(7))), f.let(argument(3))));
        const p0 = f.let(v.splat(argumentF32(9)));
        const address = (base: number, outer: number, inner: number) =>
          i32.add(
            argument(base),
            i32.shl(i32.add(i32.mul(row, argument(outer)), i32.mul(start, inner)), 2),
          );
        f.while(i32.lt(row, lastRow), () => {
          const a = f.let(address(0, 5, aInner));
          const b = f.let(address(1, 6, bInner));
          const out = f.let(address(2, 4, 1));
          const aSplat = aInner ? null : f.let(v.loadSplat(a));
          const bSplat = bInner ? null : f.let(v.loadSplat(b));
          storeRow(f, out, n, (at, o) =>
            op(
              f,
              aSplat ?? f.let(f.load(i32.add(a, at), o)),
              bSplat ?? f.let(f.load(i32.add(b, at), o)),
              p0,
            ));
          f.inc(row, 1);
        });
      });
    }
  }
  addCopy(m);
  addAdam(m);
}

export const MAX_RANK = 6;

/** arguments: from, to, rows, rows a tile, then size, from-stride and to-stride (bytes) of each of 6 dimensions */
function addCopy(m: ModuleBuilder): void {
  const size = (d: number) => argument(4 + d);
  const fromStride = (d: number) => argument(4 + MAX_RANK + d);
  const toStride = (d: number) => argument(4 + 2 * MAX_RANK + d);
  const last = MAX_RANK - 1;
  kernel(m, "copy", (f, tile) => {
    const row = f.let(i32.mul(tile, argument(3)));
    const end = f.let(i32.min(f.let(i32.add(row, argument(3))), f.let(argument(2))));
    const n = f.let(size(last));
    const fromStep = f.let(fromStride(last));
    const toStep = f.let(toStride(last));
    f.while(i32.lt(row, end), () => {
      const index = f.let(row);
      const from = f.let(argument(0));
      const to = f.let(argument(1));
      for (let d = last - 1; d >= 0; d--) {
        const i = d === 0 ? index : f.let(i32.remU(index, size(d)));
        f.inc(from, i32.mul(i, fromStride(d)));
        f.inc(to, i32.mul(i, toStride(d)));
        if (d > 0) f.set(index, i32.divU(index, size(d)));
      }
      f.if(i32.and(i32.eq(fromStep, 4), i32.eq(toStep, 4)), () => {
        f.copyBytes(to, from, i32.shl(n, 2));
      }, () => {
        f.for(0, n, 1, () => {
          f.storeI32(to, i32.load(from));
          f.inc(from, fromStep);
          f.inc(to, toStep);
        });
      });
      f.inc(row, 1);
    });
  });
}

/**
 * m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= step m / (sqrt(v) / correction + eps), as torch orders it.
 * arguments: param, grad, expAvg, expAvgSq, length, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1^t),
 * 1 / sqrt(1 - beta2^t), eps
 */
function addAdam(m: ModuleBuilder): void {
  kernel(m, "adam", (f, tile) => {
    const at = f.let(i32.mul(tile, CHUNK * 4));
    const end = f.let(i32.min(f.let(i32.add(at, CHUNK * 4)), f.let(i32.shl(argument(4), 2))));
    const [p, g, m1, m2] = [0, 1, 2, 3].map((n) => f.let(argument(n)));
    const [c1, b2, c2, rate, correction, eps] = [5, 6, 7, 8, 9, 10].map((n) =>
      f.let(v.splat(argumentF32(n)))
    );
    f.while(i32.ltU(at, end), () => {
      f.abreast(ABREAST, (o) => {
        const grad = f.let(f.load(i32.add(g, at), o));
        const first = f.let(f.load(i32.add(m1, at), o));
        f.set(first, v.add(first, v.mul(c1, v.sub(grad, first))));
        const second = f.let(v.add(v.mul(f.load(i32.add(m2, at), o), b2), v.mul(v.mul(grad, c2), grad)));
        const root = v.add(v.mul(v.sqrt(second), correction), eps);
        const to = i32.add(p, at);
        f.store(i32.add(m1, at), first, o);
        f.store(i32.add(m2, at), second, o);
        f.store(to, v.sub(f.load(to, o), v.div(v.mul(rate, first), root)), o);
      });
      f.inc(at, ABREAST_BYTES);
    });
  });
}
