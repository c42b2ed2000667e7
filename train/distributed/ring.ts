// The memory that the training's thread and MPI's thread share: a ring buffer of orders, and a block of staging memory through
// which all numbers pass.

/** What MPI's thread can do. `offset` and `count` are in bytes of the staging memory. */
export const commands = {
  /** Sums `count` bytes of f32 in the order of the ranks. The bucket after it is used for the slices of the others. */
  sumInOrder: 0,
  /** Sums them as the library does, in whatever order it likes. */
  sumByLibrary: 1,
  /** Gathers blocks of `count` bytes. That of this rank lies at its place among the others already. */
  gather: 2,
  /** Sends `count` bytes from rank 0 to all others. */
  broadcast: 3,
  /** Waits for all others and ends MPI. */
  close: 4,
} as const;
export type Command = (typeof commands)[keyof typeof commands];

/** A command in the ring. */
export interface Order {
  readonly command: Command;
  readonly offset: number;
  readonly count: number;
  /** How many seconds a rank that is alive may be behind. */
  readonly patience: number;
}

/** The words of the control block. `ending` is set when all ranks have done all work, and only MPI itself has to end. */
export const word = { issued: 0, done: 1, failed: 2, abort: 3, ending: 4 } as const;
const firstOrder = 16, orderWords = 4, orders = 64;

/** Bytes of a control block for any number of ranks. */
export const controlBytes = 4 * (firstOrder + orderWords * orders);

/** Bytes of a bucket, and how many buckets are on their way at a time. Each has as much again for the slices of others. */
export const bucketBytes = 16 * 2 ** 20, buckets = 3;
export const stagingBytes = 2 * buckets * bucketBytes;

/** Writes an order. @returns its number, counted from 1: `word.done` reaches it when the order is done */
export function issue(words: Int32Array, { command, offset, count, patience }: Order): number {
  const issued = Atomics.load(words, word.issued);
  words.set([command, offset, count, patience], firstOrder + orderWords * (issued % orders));
  Atomics.store(words, word.issued, issued + 1);
  Atomics.notify(words, word.issued);
  return issued + 1;
}

/** Reads an order by its number. */
export function orderAt(words: Int32Array, number: number): Order {
  const at = firstOrder + orderWords * ((number - 1) % orders);
  const [command, offset, count, patience] = words.subarray(at, at + orderWords);
  return { command: command as Command, offset, count, patience };
}
