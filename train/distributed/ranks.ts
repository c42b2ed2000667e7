// What training and evaluation know about the other processes that work with them. Each process is a rank, counted from 0, and
// has a copy of the model. All ranks must call these functions in the same order. Only rank 0 writes files and prints.
import type { Tensor } from "../../src/index.ts";

/** The processes that work together. One process is `oneRank`; `openRanks` finds those that a launcher of MPI has started. */
export interface Ranks {
  /** The number of this process, from 0. */
  readonly rank: number;
  /** How many processes there are. */
  readonly size: number;
  /** Whether this is rank 0. */
  readonly isFirst: boolean;
  /**
   * Adds up tensors of f32 over all ranks, in place: every rank gets t0 + t1 + t2 + ..., added in this order, so that the bits
   * are those of one process that accumulates. It begins at once, and other work may be done until the promise resolves.
   * @throws Error if the ranks sum other shapes
   */
  sum(tensors: readonly Tensor[]): Promise<void>;
  /** Gives every rank the values that the tensors have on rank 0. */
  broadcast(tensors: readonly Tensor[]): Promise<void>;
  /**
   * Returns the values of all ranks, from rank 0 on: anything that `structuredClone` can copy.
   * @param work long work that ends with this call, such as "validation". The others wait longer for a rank that does it.
   */
  gather<T>(value: T, work?: string): Promise<T[]>;
  /**
   * Does work on rank 0 alone and returns its result on all ranks, which wait for it.
   * @param what the work in a few words, such as "saving"
   * @throws what the work throws; on the other ranks an Error with the same message
   */
  first<T>(what: string, work: () => T | Promise<T>): Promise<T>;
}

/** One process that works alone. */
export const oneRank: Ranks = {
  rank: 0,
  size: 1,
  isFirst: true,
  sum: () => Promise.resolve(),
  broadcast: () => Promise.resolve(),
  gather: (value) => Promise.resolve([value]),
  first: async (_what, work) => await work(),
};

/** Sums the gradients of parameters over all ranks. */
export function sumGradients(ranks: Ranks, parameters: ReadonlyMap<string, Tensor>): Promise<void> {
  return ranks.sum([...parameters.values()].flatMap(({ grad }) => grad ?? []));
}

/** Returns the mean of a tensor over all ranks, which belongs to the surrounding scope; with one rank the tensor itself. */
export async function meanOf(ranks: Ranks, tensor: Tensor): Promise<Tensor> {
  if (ranks.size === 1) return tensor;
  const sum = tensor.detach().mul(1);
  await ranks.sum([sum]);
  return sum.mul(1 / ranks.size);
}

/** Returns the means of numbers over all ranks, by their names, which are the same everywhere. */
export async function meansOver(
  ranks: Ranks,
  values: Readonly<Record<string, number>>,
): Promise<Record<string, number>> {
  const all = await ranks.gather(values);
  if (all.length === 1) return values;
  const mean = (name: string) => all.reduce((sum, one) => sum + one[name], 0) / all.length;
  return Object.fromEntries(Object.keys(values).map((name) => [name, mean(name)]));
}
