// The order in which pictures are visited. Every epoch has a new shuffle, which is computed from seed and epoch alone, so
// that three numbers say where a run stands, and a resumed run visits exactly the pictures that are left.
import { checkValues, flag, whole } from "../../src/check.ts";
import { Random } from "../../src/random.ts";

/** Where a sampler stands: it has visited `position` pictures of `epoch`. */
export interface SamplerState {
  /** How many pictures there are. */
  readonly length: number;
  /** Of the shuffles. */
  readonly seed: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** Pictures of this epoch that were visited. */
  readonly position: number;
}

/** One visit: the picture `index` is the `position`-th of its epoch. */
export interface Visit {
  /** Counted from 0. */
  readonly epoch: number;
  /** Its place in the epoch. */
  readonly position: number;
  /** Its place in the list. */
  readonly index: number;
}

/** In which order a `Sampler` visits. */
export interface SamplerOptions {
  /** Default 0. */
  readonly seed?: number;
  /** Default true; false visits in list order. */
  readonly shuffle?: boolean;
}

/**
 * Visits the numbers 0 to length - 1 in every epoch, without end.
 * @example The first of a thousand
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
  /** Of the shuffles. */
  readonly seed: number;
  readonly #shuffle: boolean;
  #epoch = 0;
  #position = 0;
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

  /** The next visit. */
  next(): Visit {
    if (this.#shuffle) {
      this.#order ??= new Random(this.seed).fork(`epoch ${this.#epoch}`).shuffle(this.length);
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

  /** Where it stands, for `restore`. */
  state(): SamplerState {
    return { length: this.length, seed: this.seed, epoch: this.#epoch, position: this.#position };
  }

  /** Goes to a saved place. @throws if the pictures or the seed are not those of the saved run. */
  restore(state: SamplerState): void {
    const { length, seed, epoch, position } = state;
    if (length !== this.length) {
      throw new Error(
        `the run was saved with ${length} pictures and there are ${this.length} now: restore the folder`,
      );
    }
    if (seed !== this.seed) throw new Error(`the run was saved with seed ${seed}, not ${this.seed}`);
    if (
      !Number.isInteger(epoch) || epoch < 0 || !Number.isInteger(position) || position < 0 ||
      position >= length
    ) {
      throw new Error(`not a sampler's place: epoch ${epoch}, position ${position} of ${length}`);
    }
    this.#epoch = epoch;
    this.#position = position;
    this.#order = null;
  }
}
