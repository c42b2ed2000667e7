// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011). The n-th number depends only on the seed and n, so
// saving these two integers is enough to resume a stream exactly.
import type { Tensor } from "./array.ts";
import type { Shape } from "./backends/buffer.ts";
import { check, checkOptions, finite, needed, notNegative, text, whole } from "./check.ts";
import { sizeOf } from "./shape.ts";
import { tensor } from "./tensor.ts";

/** The position of a stream of random numbers. */
export interface RandomState {
  /** As given to the constructor. */
  readonly seed: number;
  /** How many numbers of 32 bits were drawn. */
  readonly counter: number;
}

/** The upper 32 bits of a 32 x 32 bit product. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + (cross >>> 16)) >>> 0;
}

/** Writes the four random 32-bit words of a counter and a key, each below 2^53, to `out`. */
function philox(counter: number, seed: number, out: Uint32Array): void {
  let c0 = counter >>> 0, c1 = Math.floor(counter / 2 ** 32) >>> 0, c2 = 0, c3 = 0;
  let k0 = seed >>> 0, k1 = Math.floor(seed / 2 ** 32) >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0), low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c2), low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/**
 * A reproducible stream of random numbers.
 *
 * @example
 * ```ts
 * import { Random } from "@tessera/vqgan/core";
 *
 * const random = new Random(23);
 * const noise = random.normal([2, 3]); // a tensor
 * const again = Random.from(random.state()); // continues from where `random` is
 * ```
 */
export class Random {
  /** As given to the constructor. */
  readonly seed: number;

  #counter = 0;
  readonly #words = new Uint32Array(4);

  /** Starts a stream. @param seed a whole number from 0 to 2^53 - 1. @throws if it is not */
  constructor(seed: number) {
    this.seed = seed;
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new Error(`Random: seed ${seed} is not a whole number >= 0`);
    }
  }

  /** A stream that continues from `state`. @throws if it is not such a state */
  static from(state: RandomState): Random {
    checkOptions("Random.from", state, { seed: needed(whole(0)), counter: needed(whole(0)) });
    const random = new Random(state.seed);
    random.#counter = state.counter;
    if (state.counter % 4 !== 0) philox(Math.floor(state.counter / 4), state.seed, random.#words);
    return random;
  }

  /** Goes on from a position of this stream. @throws if it is none, or one of a stream with another seed */
  restore(state: RandomState): void {
    const from = Random.from(state);
    if (from.seed !== this.seed) {
      throw new Error(`Random.restore: the position is of seed ${from.seed}, but this is seed ${this.seed}`);
    }
    this.#counter = from.#counter;
    this.#words.set(from.#words);
  }

  /** The position of the stream, for `Random.from`. */
  state(): RandomState {
    return { seed: this.seed, counter: this.#counter };
  }

  /**
   * Another stream, which depends only on this seed and a name. This stream does not advance.
   * @throws if the name is not a string
   */
  fork(label: string): Random {
    check("Random.fork", "the name", label, text);
    let hash = 0x811c9dc5; // FNV-1a
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193) >>> 0;
    const words = new Uint32Array(4);
    philox(hash, this.seed, words);
    return new Random(words[0] + (words[1] & 0x1fffff) * 2 ** 32);
  }

  /** The next 32 random bits. */
  bits(): number {
    const lane = this.#counter % 4;
    if (lane === 0) philox(this.#counter / 4, this.seed, this.#words);
    this.#counter++;
    return this.#words[lane];
  }

  /** A number in [0, 1) with 24 random bits, so that it is exact in f32. */
  next(): number {
    return (this.bits() >>> 8) / 2 ** 24;
  }

  /** A whole number in [0, limit). @throws if the limit is not a whole number above 0 */
  integer(limit: number): number {
    check("Random.integer", "the limit", limit, whole(1));
    return Math.floor(((this.bits() * 2 ** 21 + (this.bits() >>> 11)) / 2 ** 53) * limit);
  }

  /** A normally distributed number, by the transform of Box and Muller. */
  gaussian(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    return radius * Math.cos(2 * Math.PI * this.next());
  }

  /** A tensor of numbers distributed evenly over [low, high). */
  uniform(shape: Shape, low: number = 0, high: number = 1): Tensor {
    check("Random.uniform", "low", low, finite);
    check("Random.uniform", "high", high, finite);
    return this.#filled(shape, () => low + (high - low) * this.next());
  }

  /** A tensor of normally distributed numbers. */
  normal(shape: Shape, mean: number = 0, std: number = 1): Tensor {
    check("Random.normal", "the mean", mean, finite);
    check("Random.normal", "the standard deviation", std, notNegative);
    return this.#filled(shape, () => mean + std * this.gaussian());
  }

  #filled(shape: Shape, draw: () => number): Tensor {
    const values = new Float32Array(sizeOf(shape));
    for (let i = 0; i < values.length; i++) values[i] = draw();
    return tensor(values, shape);
  }

  /** The numbers 0 to n - 1 in random order (Fisher-Yates). @throws if n is not a whole number from 0 on */
  shuffle(n: number): Int32Array {
    check("Random.shuffle", "the number", n, whole(0));
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
