// The Fréchet distance of two sets of features as if both were normally distributed (Dowson and Landau 1982; Heusel et al.
// 2017):
// |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr sqrt(C1^1/2 C2 C1^1/2), in double precision.
import { eigenParts } from "../../src/eigen.ts";
import type { Parts } from "../../src/parts.ts";

/**
 * The mean and the covariance of features that are added one by one. The features themselves are kept only as long as there are
 * fewer of them than they have numbers, so that memory stays below 16 n^2 bytes for n numbers, however many there are.
 */
export class Moments {
  /** How many numbers a feature has. */
  readonly size: number;
  #count = 0;
  readonly #sum: Float64Array;
  /** The first feature, from which the others are counted, so that little is lost to rounding. */
  #origin: Float64Array | null = null;
  #rows: Float64Array[] | null = [];
  /** The sum of the products of each two numbers; null as long as there are rows. */
  #products: Float64Array | null = null;

  constructor(size: number) {
    this.size = size;
    this.#sum = new Float64Array(size);
  }

  /** How many features were added. */
  get count(): number {
    return this.#count;
  }

  /** Adds a feature. @throws if it has another size */
  add(feature: ArrayLike<number>): void {
    if (feature.length !== this.size) {
      throw new Error(`Moments: a feature of ${feature.length} numbers, expected ${this.size}`);
    }
    const origin = this.#origin ??= Float64Array.from(feature);
    const row = Float64Array.from(origin, (o, i) => feature[i] - o);
    for (let i = 0; i < row.length; i++) this.#sum[i] += row[i];
    this.#count++;
    if (this.#rows && this.#rows.length < this.size) this.#rows.push(row);
    else {
      const products = this.#products ??= new Float64Array(this.size ** 2);
      for (const one of [...this.#rows ?? [], row]) addProducts(products, one);
      this.#rows = null;
    }
  }

  /** The mean feature. */
  mean(): Float64Array {
    return this.#sum.map((s, i) => s / this.#count + (this.#origin?.[i] ?? 0));
  }

  /** F, r rows, with F' F = C, the unbiased covariance; or C itself. */
  spread(): { readonly rows: readonly Float64Array[] } | { readonly covariance: Float64Array } {
    const { size } = this, count = this.#count, mean = this.#sum.map((s) => s / count);
    if (this.#rows) {
      const scale = 1 / Math.sqrt(count - 1);
      return { rows: this.#rows.map((row) => row.map((v, i) => (v - mean[i]) * scale)) };
    }
    const covariance = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j <= i; j++) {
        const c = (this.#products![i * size + j] - count * mean[i] * mean[j]) / (count - 1);
        covariance[i * size + j] = covariance[j * size + i] = c;
      }
    }
    return { covariance };
  }
}

/** Adds the lower triangle of row' row. */
function addProducts(products: Float64Array, row: Float64Array): void {
  const size = row.length;
  for (let i = 0; i < size; i++) {
    const line = products.subarray(i * size, i * size + i + 1), v = row[i];
    for (let j = 0; j <= i; j++) line[j] += v * row[j];
  }
}

/**
 * The Fréchet distance of two sets, in parts.
 * @returns a number from 0 on, up to rounding; NaN if a set has fewer than two features
 * @throws if the features have different sizes
 */
export function* frechetParts(a: Moments, b: Moments): Parts<number> {
  if (a.size !== b.size) throw new Error(`frechet: features of ${a.size} and ${b.size} numbers`);
  if (Math.min(a.count, b.count) < 2) return NaN;
  const m = a.mean(), n = b.mean();
  const far = m.reduce((sum, v, i) => sum + (v - n[i]) ** 2, 0);
  const one = a.spread(), two = b.spread();
  const both = yield* squareRoot(one, two, a.size);
  return far + traceOf(one, a.size) + traceOf(two, b.size) - 2 * both;
}

type Spread = ReturnType<Moments["spread"]>;

function traceOf(spread: Spread, size: number): number {
  let sum = 0;
  if ("rows" in spread) { for (const row of spread.rows) for (const v of row) sum += v * v; }
  else for (let i = 0; i < size; i++) sum += spread.covariance[i * (size + 1)];
  return sum;
}

/** tr sqrt(F C2 F') for any F with F' F = C1: these products have the same eigenvalues but for zeros. */
function* squareRoot(one: Spread, two: Spread, size: number): Parts<number> {
  const [first, second] = "rows" in one || !("rows" in two) ? [one, two] : [two, one];
  const factor = "rows" in first ? first.rows : yield* rootOf(first.covariance, size);
  const product = yield* inner(factor, second, size);
  const { values } = yield* eigenParts(product, factor.length, false);
  return values.reduce((sum, v) => sum + Math.sqrt(Math.max(0, v)), 0);
}

/** The rows sqrt(value) vector of a covariance, for its eigenvalues above 0. */
function* rootOf(covariance: Float64Array, size: number): Parts<Float64Array[]> {
  const { values, vectors } = yield* eigenParts(covariance, size, true);
  const rows: Float64Array[] = [];
  values.forEach((value, i) => {
    if (value > 0) rows.push(vectors!.slice(i * size, (i + 1) * size).map((v) => v * Math.sqrt(value)));
  });
  return rows;
}

/** F C F' for a factor F, where C is a covariance or given by rows. */
function* inner(factor: readonly Float64Array[], spread: Spread, size: number): Parts<Float64Array> {
  const count = factor.length, product = new Float64Array(count * count);
  const images: Float64Array[] = []; // rows x with F C F' = X F', or = X X'
  for (const row of factor) {
    if ("rows" in spread) images.push(Float64Array.from(spread.rows, (other) => dot(row, other)));
    else {
      const image = new Float64Array(size);
      for (let i = 0; i < size; i++) {
        image[i] = dot(row, spread.covariance.subarray(i * size, (i + 1) * size));
      }
      images.push(image);
    }
    yield;
  }
  const others = "rows" in spread ? images : factor;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) product[i * count + j] = product[j * count + i] = dot(images[i], others[j]);
    yield;
  }
  return product;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
