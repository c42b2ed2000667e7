// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011). The n-th number depends on seed and n alone, so
// saving two integers resumes a stream exactly.
import type { Tensor } from "./array.ts";
import type { Shape } from "./backends/buffer.ts";
import { sizeOf } from "./shape.ts";
import { tensor } from "./tensor.ts";

export interface RandomState {
  readonly seed: number;
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
 * @example new Random(23).uniform([2, 3], -1, 1)
 */
export class Random {
  readonly seed: number;

  #counter = 0;
  readonly #words = new Uint32Array(4);

  /** @param seed a whole number from 0 to 2^53 - 1 */
  constructor(seed: number) {
    this.seed = seed;
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new Error(`Random: seed ${seed} is not a whole number >= 0`);
    }
  }

  static from(state: RandomState): Random {
    const random = new Random(state.seed);
    random.#counter = state.counter;
    if (state.counter % 4 !== 0) philox(Math.floor(state.counter / 4), state.seed, random.#words);
    return random;
  }

  state(): RandomState {
    return { seed: this.seed, counter: this.#counter };
  }

  /** A stream of its own, fixed by this seed and a name; this stream does not move. */
  fork(label: string): Random {
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

  /** A whole number in [0, limit). */
  integer(limit: number): number {
    return Math.floor(((this.bits() * 2 ** 21 + (this.bits() >>> 11)) / 2 ** 53) * limit);
  }

  /** A normal number by Box and Muller's transform. */
  gaussian(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    return radius * Math.cos(2 * Math.PI * this.next());
  }

  uniform(shape: Shape, low = 0, high = 1): Tensor {
    return this.#filled(shape, () => low + (high - low) * this.next());
  }

  normal(shape: Shape, mean = 0, std = 1): Tensor {
    return this.#filled(shape, () => mean + std * this.gaussian());
  }

  #filled(shape: Shape, draw: () => number): Tensor {
    const values = new Float32Array(sizeOf(shape));
    for (let i = 0; i < values.length; i++) values[i] = draw();
    return tensor(values, shape);
  }

  /** The numbers 0 to n - 1 in random order (Fisher-Yates). */
  shuffle(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
