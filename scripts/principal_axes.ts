// The directions in which vectors differ most (principal component analysis: eigenvectors of their covariance).
import { eigenParts } from "../src/eigen.ts";
import { finish } from "../src/parts.ts";

/** A direction of vectors. */
export interface PrincipalAxis {
  /** A vector of length 1. */
  readonly direction: Float64Array;
  /** The variance of the vectors along it. */
  readonly variance: number;
}

/** The principal axes of vectors that lie one after the other, those of the largest variance first. */
export function principalAxes(vectors: Float32Array, channels: number): PrincipalAxis[] {
  const rows = vectors.length / channels;
  const means = new Float64Array(channels), covariance = new Float64Array(channels ** 2);
  vectors.forEach((value, i) => means[i % channels] += value / rows);
  for (let row = 0; row < rows; row++) {
    const at = (c: number) => vectors[row * channels + c] - means[c];
    for (let i = 0; i < channels ** 2; i++) {
      covariance[i] += at(Math.floor(i / channels)) * at(i % channels) / rows;
    }
  }
  const { values, vectors: axes } = finish(eigenParts(covariance, channels, true));
  return [...values.keys()].reverse().map((i) => ({
    direction: axes!.slice(i * channels, (i + 1) * channels),
    variance: values[i],
  }));
}
