// Elementwise kernels: one for each function of one operand, and three for each function of two operands.
import type { BinaryOp, UnaryOp } from "../../kernels.ts";
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { i32, v, type V128 } from "../assembler/expressions.ts";
import { argument, argumentF32 } from "../threads.ts";
import { atMost, kernel, storeRow } from "./kernel.ts";
import { exp, log, sigmoid, softplus, swishDerivative, tanh } from "./math.ts";

/** Elements per tile: 64 KiB of f32, so that operands stay in the second-level cache. */
export const CHUNK = 16384;

type Unary = (f: Fn, x: V128, p0: V128, p1: V128) => V128;
const unaryOps: Record<UnaryOp, Unary> = {
  abs: (_, x) => v.abs(x),
  sign: (f, x) => v.sub(v.and(v.gt(x, f.splat(0)), f.splat(1)), v.and(v.lt(x, f.splat(0)), f.splat(1))),
  // math.ts's function never returns less than the smallest normal number
  exp: (f, x) => v.select(f.splat(0), exp(f, x), v.lt(x, f.splat(-87.3))),
  log: (f, x) => log(f, x),
  sqrt: (_, x) => v.sqrt(x),
  square: (_, x) => v.mul(x, x),
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
  lerp: (_, a, b, amount) => v.add(a, v.mul(amount, v.sub(b, a))),
};

export function addElementwise(m: ModuleBuilder): void {
  // arguments: x, out, length, p0, p1
  for (const [name, op] of Object.entries(unaryOps)) {
    kernel(m, `unary.${name}`, (f, tile) => {
      const start = f.let(i32.mul(tile, CHUNK));
      const n = atMost(f, CHUNK, i32.sub(argument(2), start));
      const [x, out] = [0, 1].map((place) => f.let(i32.add(argument(place), i32.shl(start, 2))));
      const [p0, p1] = [3, 4].map((place) => f.let(v.splat(argumentF32(place))));
      storeRow(f, out, n, (at, o) => op(f, f.let(f.load(i32.add(x, at), o)), p0, p1));
    });
  }
  // arguments: a, b, out, outer, inner, aOuter, bOuter, rows per tile, chunks per row, p0
  for (const [name, op] of Object.entries(binaryOps)) {
    for (const [aInner, bInner] of [[1, 1], [1, 0], [0, 1]]) {
      kernel(m, `binary.${name}.${aInner}${bInner}`, (f, tile) => {
        const chunks = f.let(argument(8));
        const start = f.let(i32.mul(i32.rem(tile, chunks), CHUNK));
        const n = atMost(f, CHUNK, i32.sub(argument(4), start));
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
}
