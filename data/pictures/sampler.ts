// The order in which pictures are visited, by one process or by several that share them. Every epoch has a new shuffle that is
// computed from the seed and the epoch alone. Seed, epoch and position are therefore the whole state, and a resumed run visits
// exactly the pictures that are left.
import { checkValues, flag, isWhole, object, whole } from "../../src/check.ts";
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
   * The epoch whose shuffle is the first one. A run that goes on from another program's counts its epochs, but begins an order
   * of its own. Default 0.
   */
  readonly firstEpoch?: number;
  /**
   * Where each of several processes goes on, in visits counted over all epochs, if they had not come equally far. `epoch` and
   * `position` are those of the first of them.
   */
  readonly ranks?: readonly number[];
}

/** The visits of one of several processes: blocks of `block` visits, counted over all epochs, are dealt out in turn. */
export interface Share {
  /** Which process this is, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** How many visits one after the other belong to the same process: the size of its batches. */
  readonly block: number;
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
  /** Which visits are made, where several processes share the pictures. Default: all. */
  readonly share?: Share;
}

/**
 * Visits the numbers 0 to length - 1 once in every epoch, without end. With a share it skips the visits of the other processes.
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
  readonly #share: Share | undefined;
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
    checkValues("Sampler", options, { seed: whole(0), shuffle: flag, share: object });
    this.seed = options.seed ?? 0;
    this.#shuffle = options.shuffle ?? true;
    this.#share = options.share;
    this.#skip();
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
    this.#goTo(this.#visit + 1);
    this.#skip();
    return { epoch, position, index };
  }

  /** The number of the next visit, counted over all epochs. */
  get #visit(): number {
    return this.#epoch * this.length + this.#position;
  }

  #goTo(visit: number): void {
    const epoch = Math.floor(visit / this.length);
    if (epoch !== this.#epoch) this.#order = null;
    this.#epoch = epoch;
    this.#position = visit % this.length;
  }

  /** Goes on to the next visit that is this process's own. */
  #skip(): void {
    if (!this.#share) return;
    const { rank, size, block } = this.#share, turn = Math.floor(this.#visit / block);
    const others = (rank - turn % size + size) % size;
    if (others > 0) this.#goTo((turn + others) * block);
  }

  /** Returns the current state, for `restore`. */
  state(): SamplerState {
    const state = { length: this.length, seed: this.seed, epoch: this.#epoch, position: this.#position };
    return this.#firstEpoch === 0 ? state : { ...state, firstEpoch: this.#firstEpoch };
  }

  /**
   * Continues from a saved state, which may be that of another number of processes.
   * @throws if the number of pictures or the seed differs from the saved run
   */
  restore(state: SamplerState): void {
    const { length, seed, epoch, position, firstEpoch = 0, ranks } = state;
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
    if (this.#share && ranks?.length === this.#share.size) this.#goTo(ranks[this.#share.rank]);
    this.#skip();
  }
}

/**
 * The state of several processes together, each of which has its own: that of the one that has come least far. Unreadable
 * pictures let one get ahead of the others, and then it also says how far each has come.
 * @param block the size of their batches
 */
export function jointState(states: readonly SamplerState[], block: number): SamplerState {
  if (states.length === 1) return states[0];
  const visits = states.map(({ epoch, position, length }) => epoch * length + position);
  const least = Math.min(...visits), { ranks: _, ...first } = states[visits.indexOf(least)];
  const isEven = visits.every((visit, rank) => visit === least + rank * block);
  return isEven ? first : { ...first, ranks: visits };
}
