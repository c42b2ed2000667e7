// Operations that write over their first operand, for gradients and averages of weights: a result of its own would take as much
// memory again. They are outside the tape.
import type { Tensor } from "../array.ts";
import { checkFloats } from "../operands.ts";

/** x *= factor, which is a tensor of one number. @throws if x is a view, or the factor has more numbers */
export function scaleInPlace(x: Tensor, factor: Tensor): void {
  if (factor.size !== 1) throw new Error(`scaleInPlace: the factor has shape [${factor.shape}]`);
  inPlace("mul", x, factor, 0);
}

/** x += amount * (target - x). @throws if the sizes differ, or x is a view */
export function lerpInPlace(x: Tensor, target: Tensor, amount: number): void {
  if (x.size !== target.size) {
    throw new Error(`lerpInPlace: shape [${target.shape}] does not fit shape [${x.shape}]`);
  }
  inPlace("lerp", x, target, amount);
}

function inPlace(op: "mul" | "lerp", x: Tensor, other: Tensor, p0: number): void {
  checkFloats(op, x, other);
  if (!x.isPlain || !other.isPlain) {
    throw new Error(`${op} in place: a tensor of shape [${x.shape}] is a view`);
  }
  x.storage.version++;
  const line = { outer: 0, inner: 1 } as const,
    bWalk = other.size === 1 ? { outer: 0, inner: 0 } as const : line;
  const [a, b] = [x.slot, other.slot];
  x.backend.run("binary", { op, a, aWalk: line, b, bWalk, out: a, outer: 1, inner: x.size, p0 });
}
