// Work that every rank does, and that fails on all of them if it fails on one.
import type { Ranks } from "./ranks.ts";

/** Another rank has failed. Only that rank has its error. */
export class RankFailedError extends Error {
  /** "RankFailedError" */
  override readonly name = "RankFailedError";
  /** The first rank that has failed. */
  readonly rank: number;

  /** Makes the error. @param reason the message of the rank's own error */
  constructor(rank: number, reason: string) {
    super(`rank ${rank}: ${reason}`);
    this.rank = rank;
  }
}

/** Another rank was told to stop. */
export class RankStoppedError extends Error {
  /** "RankStoppedError" */
  override readonly name = "RankStoppedError";
}

/** How the work of a rank went. */
interface Outcome<T> {
  readonly value?: T;
  /** Why there is no value. */
  readonly failure?: string;
  /** Whether that is because the rank was told to stop. */
  readonly isStopped?: boolean;
}

/**
 * Does work on every rank and returns the results of all, from rank 0 on: anything that `structuredClone` can copy.
 * @param what the work in a few words, such as "evaluation"
 * @param signal what stops the work: then it throws the signal's reason
 * @throws what the work throws here; else, if it fails on another rank, a RankFailedError; else, if another rank was told to
 * stop, a RankStoppedError
 */
export async function together<T>(
  ranks: Ranks,
  what: string,
  work: () => T | Promise<T>,
  signal?: AbortSignal,
): Promise<T[]> {
  let mine: Outcome<T>, thrown: { readonly error: unknown } | null = null;
  try {
    mine = { value: await work() };
  } catch (error) {
    thrown = { error };
    const isStopped = signal?.aborted === true && error === signal.reason;
    mine = { failure: error instanceof Error ? error.message : String(error), isStopped };
  }
  const all = await ranks.gather(mine, what);
  const failed = all.findIndex(({ failure, isStopped }) => failure !== undefined && !isStopped);
  const stopped = all.findIndex(({ isStopped }) => isStopped);
  if (thrown && (failed < 0 || !mine.isStopped)) throw thrown.error;
  if (failed >= 0) throw new RankFailedError(failed, all[failed].failure!);
  if (stopped >= 0) throw new RankStoppedError(`rank ${stopped} was told to stop`);
  return all.map(({ value }) => value!);
}
