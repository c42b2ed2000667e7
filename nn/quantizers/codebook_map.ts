// A codebook to look at: which codes are near to each other, and where each lies on its principal axes, the directions in which
// codes differ most (principal component analysis: eigenvectors of the covariance of the codes).
import { check, isWhole, rule, whole } from "../../src/check.ts";
import { eigenParts } from "../../src/eigen.ts";
import { asyncScope, noGrad, tensor } from "../../src/index.ts";
import { inTurns, type Parts } from "../../src/parts.ts";
import type { Quantizer } from "./quantizer.ts";

const upTo = (least: number, most: number) =>
  rule(`a whole number from ${least} to ${most}`, (n) => isWhole(n) && n >= least && n <= most);

/** A code, and how far it is. */
export interface Neighbour {
  /** Its token. */
  readonly code: number;
  /** The Euclidean distance. */
  readonly distance: number;
}

/**
 * A map of a codebook, as it was when the map was made.
 * @example The codes nearest to code 7, and where it lies in two dimensions
 * ```ts
 * import { CodebookMap, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * const map = await CodebookMap.of(model.quantize);
 * console.log(map.nearest(map.code(7), 5)); // 7 itself comes first, at distance 0
 * const [x, y] = map.places(map.code(7));
 * console.log(x, y, map.shares); // shares: how much of the variance each axis shows
 * ```
 */
export class CodebookMap {
  /**
   * The code of each token, row by row, as it is compared with vectors: of length 1 if only directions count. Without taming's
   * remap tokens are the numbers of the codes.
   */
  readonly codes: Float32Array;
  /** How many numbers a code has. */
  readonly channels: number;
  /** The mean of the codes, where the axes cross. */
  readonly mean: Float64Array;
  /** The axes as vectors of length 1, most important first. The largest number of each is positive. */
  readonly axes: readonly Float64Array[];
  /** The share of the variance of the codes along each axis, from 0 to 1. */
  readonly shares: readonly number[];

  private constructor(codes: Float32Array, channels: number, axes: Axes) {
    this.codes = codes;
    this.channels = channels;
    this.mean = axes.mean;
    this.axes = axes.axes;
    this.shares = axes.shares;
  }

  /**
   * Reads the codebook and finds its axes. 16,384 codes of 256 numbers take about a second, in which other events run.
   * @param axes how many, at most that of a code's numbers; default 2
   * @throws if a code is not finite
   */
  static async of(quantizer: Quantizer, axes: number = 2): Promise<CodebookMap> {
    const { codebook } = quantizer, channels = codebook.shape[1];
    check("CodebookMap", "the number of axes", axes, upTo(1, channels));
    const { used } = quantizer, count = used?.size ?? codebook.shape[0];
    const all = Int32Array.from({ length: count }, (_, token) => token);
    const codes = await asyncScope(() => noGrad(() => quantizer.lookup(tensor(all), used)).floats());
    return new CodebookMap(codes, channels, await inTurns(codebook.backend, axesOf(codes, channels, axes)));
  }

  /** The code of a token. @throws if there is no such token */
  code(index: number): Float32Array {
    check("CodebookMap", "the code", index, upTo(0, this.codes.length / this.channels - 1));
    return this.codes.subarray(index * this.channels, (index + 1) * this.channels);
  }

  /**
   * Where vectors lie on the axes: one number for each axis, vector by vector.
   * @param vectors any number of vectors of `channels` numbers; default: all codes
   */
  places(vectors: Float32Array = this.codes): Float32Array {
    const { channels, axes, mean } = this, places = new Float32Array(vectors.length / channels * axes.length);
    for (let at = 0; at < places.length; at++) {
      const from = Math.floor(at / axes.length) * channels, axis = axes[at % axes.length];
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += (vectors[from + c] - mean[c]) * axis[c];
      places[at] = sum;
    }
    return places;
  }

  /** The codes nearest to a vector of `channels` numbers, nearest first; of two that are equally near, the lower one first. */
  nearest(vector: ArrayLike<number>, count: number): Neighbour[] {
    check("CodebookMap", "the number of codes", count, whole(1));
    const { codes, channels } = this, found: Neighbour[] = [];
    for (let code = 0; code * channels < codes.length; code++) {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += (codes[code * channels + c] - vector[c]) ** 2;
      const distance = Math.sqrt(sum);
      if (found.length === count && distance >= found[count - 1].distance) continue;
      const before = found.findIndex((other) => distance < other.distance);
      found.splice(before < 0 ? found.length : before, 0, { code, distance });
      if (found.length > count) found.pop();
    }
    return found;
  }
}

interface Axes {
  readonly mean: Float64Array;
  readonly axes: Float64Array[];
  readonly shares: number[];
}

function* axesOf(codes: Float32Array, channels: number, count: number): Parts<Axes> {
  const rows = codes.length / channels;
  const mean = new Float64Array(channels), covariance = new Float64Array(channels * channels);
  for (let i = 0; i < codes.length; i++) mean[i % channels] += codes[i] / rows;
  const centred = new Float64Array(channels);
  for (let row = 0; row < rows; row++) {
    if (row % 256 === 0) yield;
    for (let c = 0; c < channels; c++) centred[c] = codes[row * channels + c] - mean[c];
    for (let c = 0; c < channels; c++) {
      for (let d = 0; d <= c; d++) covariance[c * channels + d] += centred[c] * centred[d] / rows;
    }
  }
  let total = 0;
  for (let c = 0; c < channels; c++) {
    total += covariance[c * channels + c];
    for (let d = 0; d < c; d++) covariance[d * channels + c] = covariance[c * channels + d];
  }
  const { values, vectors } = yield* eigenParts(covariance, channels, true);
  const order = Array.from({ length: count }, (_, i) => channels - 1 - i); // values rise
  const axes = order.map((i) => {
    const axis = vectors!.slice(i * channels, (i + 1) * channels);
    const largest = axis.reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a);
    return largest < 0 ? axis.map((x) => -x) : axis;
  });
  return { mean, axes, shares: order.map((i) => total > 0 ? Math.max(0, values[i]) / total : 0) };
}
