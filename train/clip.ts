// Clipping of gradients by their global norm (Pascanu et al. 2013), with the arithmetic of torch.nn.utils.clip_grad_norm_. The
// norm and the factor stay on the device, so that nothing waits for it.
import { check, positive } from "../src/check.ts";
import { full, noGrad, scope, type Tensor } from "../src/index.ts";
import { scaleInPlace } from "../src/ops/in_place.ts";

/** What torch adds to the norm before it divides. */
const more = 1e-6;

/**
 * Scales the gradients of parameters in place, so that all of them together have at most this norm. If one of them is not a
 * finite number, all become NaN.
 * @param maxNorm the largest norm, above 0
 * @param lossScale the factor that the gradients contain, for f16; the norm is that of the gradients without it
 * @returns the norm before clipping, one number; null if there are no gradients
 * @throws TypeError if `maxNorm` or `lossScale` is not a number above 0
 * @example Before an update
 * ```ts
 * import { type Adam, applyGradients, clipGradients } from "@tessera/vqgan/core";
 *
 * function update(optimizer: Adam): void {
 *   clipGradients(optimizer.parameters.values(), 1);
 *   applyGradients(optimizer);
 * }
 * ```
 */
export function clipGradients(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  lossScale: number = 1,
): Tensor | null {
  check("clipGradients", "maxNorm", maxNorm, positive);
  check("clipGradients", "lossScale", lossScale, positive);
  const gradients = [...parameters].flatMap(({ grad }) => grad ?? []);
  if (gradients.length === 0) return null;
  return noGrad(() =>
    scope(() => {
      const squares = gradients.reduce(
        (sum, g) => sum.add(g.square().sum()),
        full([], 0, gradients[0].backend),
      );
      const norm = squares.sqrt().mul(1 / lossScale);
      // norm - norm is 0, but NaN if the norm is not finite: Adam then leaves the weights as they are with f16, and the run
      // ends with f32. Without it the factor would be 0, and infinity times 0 would be NaN in some places only.
      const factor = full([], maxNorm, norm.backend).div(norm.add(more)).minimum(1).add(norm.sub(norm));
      for (const gradient of gradients) scaleInPlace(gradient, factor);
      return norm;
    })
  );
}
