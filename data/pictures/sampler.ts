// The order in which pictures are visited. Every epoch has a new shuffle that is computed from the seed and the epoch
// alone. Seed, epoch and position are therefore the whole state, and a resumed run visits exactly the pictures that are
// left.
import { checkValues, flag, isWhole, whole } from "../../src/check.ts";
import { Random } from "../../src/random.ts";

/** The state of a sampler: it has visited `position` pictures of `epoch`. */
export interface SamplerState {
  /** How many pictures there are. */
  readonly length: number;
  /** The seed of the shuffles. */
  readonly seed: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** How many pictures of this epoch were visited. */
  readonly position: number;
  /**
   * The epoch whose shuffle is the first one. A run that goes on from another program's counts its epochs, but begins an order of
   * its own. Default 0.
   */
  readonly firstEpoch?: number;
}

/** One visit: the picture `index` is the `position`-th of its epoch. */
export interface Visit {
  /** Counted from 0. */
  readonly epoch: number;
  /** The position in the epoch, counted from 0. */
  readonly position: number;
  /** The index in the list of pictures. */
  readonly index: number;
}

/** The order in which a `Sampler` visits the pictures. */
export interface SamplerOptions {
  /** The seed of the shuffles. Default 0. */
  readonly seed?: number;
  /** Whether to shuffle. Default true; false visits the pictures in list order. */
  readonly shuffle?: boolean;
}

/**
 * Visits the numbers 0 to length - 1 once in every epoch, without end.
 * @example The first of 1,000 pictures
 * ```ts
 * import { Sampler } from "@tessera/vqgan";
 *
 * const sampler = new Sampler(1000, { seed: 23 });
 * const { index } = sampler.next();
 * ```
 */
export class Sampler {
  /** How many pictures there are. */
  readonly length: number;
  /** The seed of the shuffles. */
  readonly seed: number;
  readonly #shuffle: boolean;
  #epoch = 0;
  #position = 0;
  #firstEpoch = 0;
  #order: Int32Array | null = null;

  /** Begins at the first picture of epoch 0. @throws if there are no pictures, or the seed is not a whole number */
  constructor(length: number, options: SamplerOptions = {}) {
    this.length = length;
    if (!Number.isInteger(length) || length < 1) {
      throw new Error(`Sampler: ${length} pictures, at least 1 is needed`);
    }
    checkValues("Sampler", options, { seed: whole(0), shuffle: flag });
    this.seed = options.seed ?? 0;
    this.#shuffle = options.shuffle ?? true;
  }

  /** The epoch of the next visit, counted from 0. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Returns the next visit. */
  next(): Visit {
    if (this.#shuffle) {
      this.#order ??= new Random(this.seed).fork(`epoch ${this.#epoch - this.#firstEpoch}`).shuffle(
        this.length,
      );
    }
    const epoch = this.#epoch, position = this.#position;
    const index = this.#order?.[position] ?? position;
    if (++this.#position === this.length) {
      this.#epoch++;
      this.#position = 0;
      this.#order = null;
    }
    return { epoch, position, index };
  }

  /** Returns the current state, for `restore`. */
  state(): SamplerState {
    const state = { length: this.length, seed: this.seed, epoch: this.#epoch, position: this.#position };
    return this.#firstEpoch === 0 ? state : { ...state, firstEpoch: this.#firstEpoch };
  }

  /** Continues from a saved state. @throws if the number of pictures or the seed differs from the saved run */
  restore(state: SamplerState): void {
    const { length, seed, epoch, position, firstEpoch = 0 } = state;
    if (length !== this.length) {
      throw new Error(
        `the run was saved with ${length} pictures and there are ${this.length} now: restore the folder`,
      );
    }
    if (seed !== this.seed) throw new Error(`the run was saved with seed ${seed}, not ${this.seed}`);
    if (
      !isWhole(epoch) || !isWhole(position) || position >= length || !isWhole(firstEpoch) ||
      firstEpoch > epoch
    ) {
      throw new Error(`this is not a valid sampler state: epoch ${epoch}, position ${position} of ${length}`);
    }
    this.#epoch = epoch;
    this.#position = position;
    this.#firstEpoch = firstEpoch;
    this.#order = null;
  }
}
