// Elementwise operations. Each runs a kernel and then calls `record(name, output, inputs, saved, vjp)` (tape.ts), whose
// last argument is the derivative: a function that takes the gradient `g` of the output and the saved tensors, and returns
// the gradient of each input. Binary operations broadcast, and their gradients are summed back (`planBinary` and `sumTo`,
// broadcast.ts).
import { filled, materialize, type Operand, type Tensor } from "../array.ts";
import { record, tracked } from "../tape.ts";
import type { DType, Shape } from "../backends/buffer.ts";
import type { BinaryOp, UnaryOp } from "../backends/kernels.ts";
import { check, finite, isNumber, shown } from "../check.ts";
import { checkFloats, checkTensor } from "../operands.ts";
import { broadcastShapes, plain, planBinary, sumTo } from "./broadcast.ts";

function runUnary(op: UnaryOp, x: Tensor, p0 = 0, p1 = 0): Tensor {
  checkFloats(op, x);
  const from = plain(x);
  const out = x.like(x.shape);
  x.backend.run("unary", { op, x: from.slot, out: out.slot, p0, p1 });
  if (from !== x) from.dispose();
  return out;
}

/** Runs a binary kernel without recording it. */
function runBinary(op: BinaryOp, a: Tensor, b: Tensor, p0 = 0): Tensor {
  checkFloats(op, a, b);
  const shape = broadcastShapes(op, a.shape, b.shape);
  const plan = planBinary(a, b, shape);
  const out = a.like(shape, a.dtype === b.dtype ? a.dtype : "f32");
  const { aWalk, bWalk, outer, inner } = plan;
  a.backend.run("binary", {
    op,
    a: plan.a.slot,
    aWalk,
    b: plan.b.slot,
    bWalk,
    out: out.slot,
    outer,
    inner,
    p0,
  });
  if (plan.a !== a) plan.a.dispose();
  if (plan.b !== b) plan.b.dispose();
  return out;
}

/** Calls `op` with b. A number becomes a tensor on the device, and of the dtype, of the other operand, and is freed after it. */
function withTensor(b: Operand, beside: Tensor, op: (b: Tensor) => Tensor): Tensor {
  if (typeof b !== "number") return op(b);
  const f32 = filled(beside, [], b), number = cast(f32, beside.dtype);
  const out = op(number);
  for (const t of [f32, number]) t.dispose();
  return out;
}

/**
 * Stores the numbers as f32 or f16. f16 keeps 11 significant bits and overflows beyond 65504. The gradient is cast back to
 * the dtype of x. Returns x itself if it has this dtype.
 * @throws if x holds integers, or the device has no f16
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensor("cast", x);
  if (x.dtype === dtype) return x;
  if (x.dtype === "i32" || dtype === "i32") {
    throw new Error(`cast: cannot turn ${x.dtype} into ${dtype}; only f32 and f16 can be cast to each other`);
  }
  return record("cast", materialize(x, dtype), [x], [], (g) => [cast(g, x.dtype)]);
}

/** scale * x + shift, for two numbers. */
export function affine(x: Tensor, scale: number, shift: number): Tensor {
  if (!isNumber(scale) || !isNumber(shift)) {
    throw new TypeError(
      `affine: scale and shift are ${shown(scale)} and ${shown(shift)}, expected two numbers`,
    );
  }
  return record("affine", runUnary("affine", x, scale, shift), [x], [], (g) => [affine(g, scale, 0)]);
}

/** a + b, with numpy's broadcasting. */
export function add(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, 1, b);
  return record("add", runBinary("add", a, b), [a, b], [], (g) => [sumTo(g, a.shape), sumTo(g, b.shape)]);
}

/** a - b, with numpy's broadcasting. */
export function sub(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, 1, -b);
  return record("sub", runBinary("sub", a, b), [a, b], [], (g, _, needs) => [
    sumTo(g, a.shape),
    needs[1] ? sumTo(neg(g), b.shape) : null,
  ]);
}

/** a * b element by element, with numpy's broadcasting; `matmul` is the matrix product. */
export function mul(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, b, 0);
  const out = runBinary("mul", a, b);
  const save = [tracked(b) ? a : null, tracked(a) ? b : null].filter((t) => t !== null);
  return record("mul", out, [a, b], save, (g, saved, needs) => [
    needs[0] ? sumTo(runBinary("mul", g, saved.at(-1)!), a.shape) : null,
    needs[1] ? sumTo(runBinary("mul", g, saved[0]), b.shape) : null,
  ]);
}

/** a / b, with numpy's broadcasting. */
export function div(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, 1 / b, 0);
  const out = runBinary("div", a, b);
  // the gradients of a and b are g/b and -g (a/b)/b
  return record("div", out, [a, b], [b, out], (g, [divisor, quotient], needs) => {
    const scaled = runBinary("div", g, divisor);
    return [
      sumTo(scaled, a.shape),
      needs[1] ? sumTo(neg(runBinary("mul", scaled, quotient)), b.shape) : null,
    ];
  });
}

/** The larger of the two; where they are equal, each gets half of the gradient. */
export function maximum(a: Tensor, b: Operand): Tensor {
  return withTensor(b, a, (b) => extremum("maximum", a, b));
}

/** The smaller of the two; where they are equal, each gets half of the gradient. */
export function minimum(a: Tensor, b: Operand): Tensor {
  return withTensor(b, a, (b) => extremum("minimum", a, b));
}

function extremum(op: "maximum" | "minimum", a: Tensor, b: Tensor): Tensor {
  return record(op, runBinary(op, a, b), [a, b], [a, b], (g, [x, y], needs) => {
    const tie = affine(runBinary("equal", x, y), 0.5, 0);
    const share = (p: Tensor, q: Tensor, shape: Shape) => {
      const [large, small] = op === "maximum" ? [p, q] : [q, p];
      return sumTo(runBinary("mul", g, runBinary("add", runBinary("greater", large, small), tie)), shape);
    };
    return [needs[0] ? share(x, y, a.shape) : null, needs[1] ? share(y, x, b.shape) : null];
  });
}

/** 1 where a > b, else 0. No gradient. */
export function greater(a: Tensor, b: Operand): Tensor {
  return withTensor(b, a, (b) => runBinary("greater", a, b));
}

/** 1 where a equals b, else 0. No gradient. */
export function equal(a: Tensor, b: Operand): Tensor {
  return withTensor(b, a, (b) => runBinary("equal", a, b));
}

/** -x */
export function neg(x: Tensor): Tensor {
  return affine(x, -1, 0);
}

/** |x|; the gradient at 0 is 0. */
export function abs(x: Tensor): Tensor {
  return record("abs", runUnary("abs", x), [x], [x], (g, [x]) => [runBinary("mul", g, runUnary("sign", x))]);
}

/** e^x */
export function exp(x: Tensor): Tensor {
  const out = runUnary("exp", x);
  return record("exp", out, [x], [out], (g, [y]) => [runBinary("mul", g, y)]);
}

/** The natural logarithm. */
export function log(x: Tensor): Tensor {
  return record("log", runUnary("log", x), [x], [x], (g, [x]) => [runBinary("div", g, x)]);
}

/** The square root; the gradient at 0 is infinite. */
export function sqrt(x: Tensor): Tensor {
  const out = runUnary("sqrt", x);
  return record("sqrt", out, [x], [out], (g, [y]) => [affine(runBinary("div", g, y), 0.5, 0)]);
}

/** x * x */
export function square(x: Tensor): Tensor {
  return record(
    "square",
    runUnary("square", x),
    [x],
    [x],
    (g, [x]) => [affine(runBinary("mul", g, x), 2, 0)],
  );
}

/** max(x, 0) */
export function relu(x: Tensor): Tensor {
  const out = runUnary("relu", x);
  return record("relu", out, [x], [out], (g, [y]) => [runBinary("reluGrad", g, y)]);
}

/** x where it is positive, slope * x elsewhere. */
export function leakyRelu(x: Tensor, slope: number = 0.2): Tensor {
  check("leakyRelu", "the slope", slope, finite);
  const out = runUnary("leakyRelu", x, slope);
  return record("leakyRelu", out, [x], [out], (g, [y]) => [runBinary("leakyReluGrad", g, y, slope)]);
}

/** 1 / (1 + e^-x) */
export function sigmoid(x: Tensor): Tensor {
  const out = runUnary("sigmoid", x);
  return record("sigmoid", out, [x], [out], (g, [y]) => {
    return [runBinary("mul", g, runBinary("sub", y, runUnary("square", y)))];
  });
}

/** x * sigmoid(x), taming's `nonlinearity` (Ramachandran et al. 2017). */
export function swish(x: Tensor): Tensor {
  return record("swish", runUnary("swish", x), [x], [x], (g, [x]) => [runBinary("swishGrad", g, x)]);
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  const out = runUnary("tanh", x);
  return record("tanh", out, [x], [out], (g, [y]) => {
    return [runBinary("mul", g, affine(runUnary("square", y), -1, 1))];
  });
}

/** log(1 + e^x), without overflow. */
export function softplus(x: Tensor): Tensor {
  return record("softplus", runUnary("softplus", x), [x], [x], (g, [x]) => {
    return [runBinary("mul", g, runUnary("sigmoid", x))];
  });
}

/** x limited to [low, high]; no gradient outside. @throws if low is above high, or one of them is not a number */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  if (!isNumber(low) || !isNumber(high) || !(low <= high)) {
    throw new Error(
      `clamp: the limits are ${shown(low)} and ${shown(high)}, expected a low number and a high one`,
    );
  }
  return record("clamp", runUnary("clamp", x, low, high), [x], [x], (g, [x]) => {
    const outside = runBinary("add", greater(x, high), withTensor(low, x, (low) => greater(low, x)));
    return [runBinary("mul", g, affine(outside, -1, 1))];
  });
}
