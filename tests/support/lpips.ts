// LPIPS with random weights, for tests in which only the same numbers matter.
import { LPIPS } from "../../nn/index.ts";
import { Random } from "../../src/index.ts";

/** LPIPS on a SqueezeNet with random weights, which the caller frees. */
export function randomLpips(): LPIPS {
  const lpips = new LPIPS("squeeze"), random = new Random(3);
  for (const [key, t] of lpips.stateDict()) {
    if (key.startsWith("scaling")) continue;
    t.assign(key.startsWith("lin") ? random.uniform(t.shape) : random.normal(t.shape, 0, 0.1));
  }
  lpips.ready = true;
  return lpips;
}
