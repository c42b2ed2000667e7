// The nearest code, and rows of a table by index.
import type { Place } from "../compile.ts";

/** out[n] = argmin over k of |z[n] - codebook[k]|^2; a later code must be strictly nearer, so the lowest index wins ties */
export function nearestCode(
  this: Place<{ codes: number; channels: number }>,
  z: Float32Array,
  codebook: Float32Array,
): number {
  const { codes, channels } = this.constants;
  let nearest = 0;
  let least = Infinity;
  for (let k = 0; k < codes; k++) {
    let distance = 0;
    for (let c = 0; c < channels; c++) {
      const difference = z[this.thread.x * channels + c] - codebook[k * channels + c];
      distance += difference * difference;
    }
    if (distance < least) {
      least = distance;
      nearest = k;
    }
  }
  return nearest;
}

/** out[i, c] = table[indices[i], c] */
export function gather(this: Place<{ columns: number }>, indices: Int32Array, table: Float32Array): number {
  return table[indices[this.thread.y] * this.constants.columns + this.thread.x];
}
