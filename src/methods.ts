// Operations as methods: x.add(y) is add(x, y). Kept apart so that tensor.ts knows no operation.
import * as ops from "./ops/index.ts";
import type { Operand } from "./ops/elementwise.ts";
import { type DType, type Shape, Tensor } from "./tensor.ts";

declare module "./tensor.ts" {
  interface Tensor {
    add(other: Operand): Tensor;
    sub(other: Operand): Tensor;
    mul(other: Operand): Tensor;
    div(other: Operand): Tensor;
    maximum(other: Operand): Tensor;
    minimum(other: Operand): Tensor;
    neg(): Tensor;
    abs(): Tensor;
    exp(): Tensor;
    log(): Tensor;
    sqrt(): Tensor;
    square(): Tensor;
    relu(): Tensor;
    sigmoid(): Tensor;
    swish(): Tensor;
    tanh(): Tensor;
    softplus(): Tensor;
    clamp(low: number, high: number): Tensor;
    cast(dtype: DType): Tensor;
    sum(axes?: number | readonly number[], keepDims?: boolean): Tensor;
    mean(axes?: number | readonly number[], keepDims?: boolean): Tensor;
    reshape(...shape: number[]): Tensor;
    permute(...order: number[]): Tensor;
    slice(starts: readonly number[], ends: readonly number[]): Tensor;
    expand(shape: Shape): Tensor;
  }
}

type Method = (this: Tensor, ...args: never[]) => Tensor;

const methods: Record<string, Method> = {
  reshape(this: Tensor, ...shape: number[]) {
    return ops.reshape(this, shape);
  },
  permute(this: Tensor, ...order: number[]) {
    return ops.permute(this, order);
  },
};
const direct = {
  add: ops.add,
  sub: ops.sub,
  mul: ops.mul,
  div: ops.div,
  maximum: ops.maximum,
  minimum: ops.minimum,
  neg: ops.neg,
  abs: ops.abs,
  exp: ops.exp,
  log: ops.log,
  sqrt: ops.sqrt,
  square: ops.square,
  relu: ops.relu,
  sigmoid: ops.sigmoid,
  swish: ops.swish,
  tanh: ops.tanh,
  softplus: ops.softplus,
  clamp: ops.clamp,
  cast: ops.cast,
  sum: ops.sum,
  mean: ops.mean,
  slice: ops.slice,
  expand: ops.expand,
};
for (const [name, op] of Object.entries(direct)) {
  const call = op as (x: Tensor, ...args: never[]) => Tensor;
  methods[name] = function (this: Tensor, ...args: never[]) {
    return call(this, ...args);
  };
}
Object.assign(Tensor.prototype, methods);
