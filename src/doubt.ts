// Late errors about values that mean nothing, such as tokens of an image with NaN: an integer cannot be NaN, and a GPU
// cannot throw. So a number is kept beside the values that shows whether they are valid. It is checked when the values are
// read, because only then the program waits for the device.
import type { Tensor } from "./array.ts";
import { keep } from "./scope.ts";

/**
 * Makes reading `values`, or a view of them, throw if `number` shows that they mean nothing.
 * @param number a tensor of one element, which is freed together with the values
 * @param problemOf returns the error's message for the value of `number`, or null if nothing is wrong
 */
export function doubt(values: Tensor, number: Tensor, problemOf: (value: number) => string | null): void {
  keep(number);
  values.storage.doubt = {
    resolve: async () => {
      const problem = problemOf(await number.item());
      if (problem !== null) throw new Error(problem);
    },
    dispose: () => number.dispose(),
  };
}
