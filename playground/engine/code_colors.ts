// A colour for each token, so that codes that are close to each other look alike: the place of the code along the three directions
// in which the codebook is spread most (its principal components), as red, green and blue.
import { asyncScope, matmul, noGrad } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** Rounds of the power iteration. The first components of codebooks stand out, so that it converges early. */
const rounds = 60;

/** @returns three bytes for each token */
export async function codeColors({ model }: Engine, _: null): Promise<Uint8Array> {
  const { quantize } = model;
  const { codes, covariance, length } = await asyncScope(async () => {
    const table = noGrad(() => {
      const all = quantize.codebook.detach();
      return quantize.comparable(quantize.used ? quantize.lookup(quantize.used) : all);
    });
    const centred = noGrad(() => table.sub(table.mean(0, true)));
    const product = noGrad(() => matmul(centred.permute(1, 0), centred));
    return { codes: await centred.floats(), covariance: await product.floats(), length: table.shape[1] };
  });
  const count = codes.length / length, colors = new Uint8Array(count * 3);
  principalAxes(covariance, length, 3).forEach((axis, channel) => {
    const places = Float64Array.from({ length: count }, (_, code) => {
      let sum = 0;
      for (let i = 0; i < length; i++) sum += codes[code * length + i] * axis[i];
      return sum;
    });
    const spread = Math.sqrt(places.reduce((sum, x) => sum + x * x, 0) / count) || 1;
    places.forEach((x, code) => colors[code * 3 + channel] = 30 + 215 / (1 + Math.exp(-1.2 * x / spread)));
  });
  return colors;
}

/** The first directions of a covariance matrix [n, n] by power iteration, orthogonal to each other and of length 1. */
function principalAxes(covariance: Float32Array, n: number, wanted: number): Float64Array[] {
  const axes: Float64Array[] = [];
  for (let k = 0; k < Math.min(wanted, n); k++) {
    let axis = Float64Array.from({ length: n }, (_, i) => Math.sin(i + 1 + k));
    for (let round = 0; round < rounds; round++) {
      const next = new Float64Array(n);
      for (let row = 0; row < n; row++) {
        for (let column = 0; column < n; column++) next[row] += covariance[row * n + column] * axis[column];
      }
      for (const other of axes) {
        const along = other.reduce((sum, x, i) => sum + x * next[i], 0);
        other.forEach((x, i) => next[i] -= along * x);
      }
      const norm = Math.hypot(...next) || 1;
      axis = next.map((x) => x / norm);
    }
    axes.push(axis);
  }
  return axes;
}
