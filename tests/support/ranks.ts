// Several ranks within one process, for tests that need neither MPI nor other processes.
import type { Ranks } from "../../train/index.ts";

const notHere = (name: string) => () => Promise.reject(new Error(`${name}: these ranks only gather`));

/** Does work on so many ranks at the same time. @returns how it went on each, from rank 0 on */
export async function onRanks<T>(
  size: number,
  work: (ranks: Ranks) => Promise<T>,
): Promise<PromiseSettledResult<T>[]> {
  let values: unknown[] = [], meeting = Promise.withResolvers<unknown[]>();
  const gather = async <V>(rank: number, value: V): Promise<V[]> => {
    const { promise, resolve } = meeting;
    values[rank] = structuredClone(value);
    if (Object.keys(values).length === size) { // all are here
      resolve(values);
      values = [];
      meeting = Promise.withResolvers();
    }
    return structuredClone(await promise) as V[];
  };
  return await Promise.allSettled(Array.from({ length: size }, async (_, rank) =>
    await work({
      rank,
      size,
      isFirst: rank === 0,
      sum: notHere("sum"),
      broadcast: notHere("broadcast"),
      gather: (value) => gather(rank, value),
      first: notHere("first"),
    })));
}

/** What all ranks return. @throws what the first of them throws that fails */
export async function allRanks<T>(size: number, work: (ranks: Ranks) => Promise<T>): Promise<T[]> {
  return (await onRanks(size, work)).map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}
