// Initial values of parameters: torch's defaults for convolutions, a narrow uniform distribution for the codebook, and a
// normal distribution for the discriminator. Without a Random they are zero, to save time if a checkpoint will fill them.
import { shown } from "../src/check.ts";
import { keep, ones, Random, type Shape, type Tensor, zeros } from "../src/index.ts";

/** The source of initial values; null leaves zeros for a loader to overwrite. */
export type Init = Random | null;

/** The number of inputs that one output sums over, for a weight [out, in, ...kernel]. */
export function fanIn(shape: Shape): number {
  return shape.slice(1).reduce((product, n) => product * n, 1);
}

/** @throws TypeError if it is left out by mistake, because a model of zeros would run without an error */
function checkInit(init: Init): void {
  if (init === null || init instanceof Random) return;
  throw new TypeError(
    `the source of initial values is ${
      shown(init)
    }, expected new Random(seed), or null for zeros that a file will replace`,
  );
}

/** A parameter drawn from U(-bound, bound). */
export function uniformParameter(init: Init, shape: Shape, bound: number): Tensor {
  checkInit(init);
  return parameter(init ? init.uniform(shape, -bound, bound) : zeros(shape));
}

/** A parameter drawn from N(mean, std). */
export function normalParameter(init: Init, shape: Shape, mean: number, std: number): Tensor {
  checkInit(init);
  return parameter(init ? init.normal(shape, mean, std) : zeros(shape));
}

export function constantParameter(shape: Shape, value: 0 | 1): Tensor {
  return parameter(value === 0 ? zeros(shape) : ones(shape));
}

/** Keeps a tensor alive after its scope, and lets `backward` compute its gradient. */
function parameter(t: Tensor): Tensor {
  t.requiresGrad = true;
  return buffer(t);
}

/** Keeps a tensor alive after its scope, as part of a module that does not learn it. */
export function buffer(t: Tensor): Tensor {
  made?.push(t);
  return keep(t);
}

/** The parameters and buffers made inside `allOrNothing`; null outside of it. */
let made: Tensor[] | null = null;

/**
 * Runs `build`, which makes modules. If it throws, for example because memory runs out, their parameters and buffers are
 * freed: nobody else could, because a constructor that throws returns no module.
 */
export function allOrNothing<T>(build: () => T): T {
  const outer = made, mine: Tensor[] = made = [];
  try {
    return build();
  } catch (error) {
    for (const t of mine.splice(0)) t.dispose();
    throw error;
  } finally {
    made = outer;
    outer?.push(...mine);
  }
}
