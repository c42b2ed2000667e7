// Confidence intervals by the bootstrap (Efron 1979): pictures are drawn again with replacement, many times, and the means of
// the draws are spread as the mean itself would be over other sets of pictures.
import { Random } from "../../src/index.ts";

/** The mean of some numbers, and where it lies with a probability of 95 %. */
export interface Interval {
  /** The mean over the pictures. */
  readonly mean: number;
  /** The 2.5th percentile of the means of the draws; NaN if fewer than two pictures have a number. */
  readonly low: number;
  /** The 97.5th percentile; NaN in the same case. */
  readonly high: number;
}

/** How often pictures are drawn again. */
export const draws = 1000;

/**
 * The mean of each column over the pictures, with its interval. Columns have one number for each picture; NaN is left out.
 * @param seed of the draws, which are the same for all columns @param pictures how many numbers each column has
 */
export function bootstrap(
  columns: Readonly<Record<string, Float64Array>>,
  pictures: number,
  seed: number,
): Record<string, Interval> {
  const random = new Random(seed).fork("bootstrap"), names = Object.keys(columns);
  const means = names.map(() => new Float64Array(draws));
  const times = new Uint32Array(pictures);
  for (let draw = 0; draw < draws; draw++) {
    times.fill(0);
    for (let i = 0; i < pictures; i++) times[Math.floor(random.next() * pictures)]++;
    names.forEach((name, column) => means[column][draw] = meanOf(columns[name], times));
  }
  const once = new Uint32Array(pictures).fill(1);
  return Object.fromEntries(names.map((name, column) => {
    const hasSpread = columns[name].filter((value) => !Number.isNaN(value)).length > 1;
    if (!hasSpread) return [name, { mean: meanOf(columns[name], once), low: NaN, high: NaN }];
    const sorted = means[column].filter((mean) => !Number.isNaN(mean)).sort();
    const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
    return [name, { mean: meanOf(columns[name], once), low: at(0.025), high: at(0.975) }];
  }));
}

function meanOf(values: Float64Array, times: Uint32Array): number {
  let sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (times[i] === 0 || Number.isNaN(values[i])) continue;
    sum += values[i] * times[i];
    count += times[i];
  }
  return sum / count;
}
