// How a gradient passes from a code to the vector that it replaces, although the choice of the code has no derivative.
import type { Tensor } from "../../src/index.ts";
import type { QuantizerPass } from "./quantizer.ts";

/** The shortest length that a vector is divided by. */
const LEAST = 1e-6;

/**
 * The codes, with a gradient at the vectors. `codes` must be detached.
 * @param codes the code of each vector, [..., C] as the vectors
 */
export function passThrough(vectors: Tensor, codes: Tensor, how: QuantizerPass["gradient"]): Tensor {
  return how === "rotation" ? rotated(vectors, codes) : straightThrough(vectors, codes);
}

/** z + sg[e - z]: the value of e up to rounding, and the gradient of e unchanged for z (van den Oord et al. 2017). */
function straightThrough(z: Tensor, e: Tensor): Tensor {
  return z.add(e.sub(z.detach()));
}

/**
 * |e| / |z| R z, where R turns the direction of z into that of e. Factor and rotation are constants, so that the gradient is
 * turned and scaled back by them, and keeps its angle to the vector (Fifty et al. 2024, arXiv 2410.06424). With z' and e' of
 * length 1 and w = (z' + e') / |z' + e'|, R z = z - 2 w (w z) + 2 e' (z' z).
 */
function rotated(z: Tensor, e: Tensor): Tensor {
  const length = (x: Tensor) => x.square().sum(-1, true).sqrt().maximum(LEAST);
  const fixed = z.detach(), long = length(fixed), wide = length(e);
  const from = fixed.div(long), to = e.div(wide);
  const middle = from.add(to), w = middle.div(length(middle));
  const along = (axis: Tensor) => axis.mul(z).sum(-1, true);
  const turned = z.sub(w.mul(along(w)).mul(2)).add(to.mul(along(from)).mul(2));
  return turned.mul(wide.div(long));
}
