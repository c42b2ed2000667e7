// The checks that every operation makes of its operands: they are tensors, and they hold floats.
import { Tensor } from "./array.ts";
import { isNumber, type Rule, rule, shown } from "./check.ts";

/** @throws if a value is not a tensor, or one that was freed */
export function checkTensor(who: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return x.checkAlive();
  const advice = isNumber(x) ? "; full([], value) makes a tensor of a number" : "";
  throw new TypeError(`${who}: expected a tensor, got ${shown(x)}${advice}`);
}

/** The rule of an option that is a tensor. */
export const aTensor: Rule = rule("a tensor", (value) => value instanceof Tensor);

/** @throws unless all are tensors of floats, because kernels compute with floats only */
export function checkFloats(who: string, ...tensors: readonly Tensor[]): void {
  for (const x of tensors) {
    checkTensor(who, x);
    if (x.dtype !== "i32") continue;
    throw new Error(
      `${who}: needs a tensor of floats, this one is i32 (shape [${x.shape}]): make it with tensor(values, shape)`,
    );
  }
}
