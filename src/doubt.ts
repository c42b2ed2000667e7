// Values that cannot be trusted: NaN does not survive where integers are computed, and a GPU cannot throw. A number beside the
// values tells, and it is looked at when they are read, since only then anyone waits for the device.
import type { Tensor } from "./array.ts";
import { keep } from "./scope.ts";

/**
 * Lets whoever reads `values`, or a view of them, fail if `number` says that they mean nothing.
 * @param number of one element; it is freed with the values
 * @param problemOf what is wrong, as the message of an error; null if nothing is
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
