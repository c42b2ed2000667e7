// Checks that all ranks have the same settings, the same pictures and, since each rank updates its own copy, the same weights.
import { createHash } from "node:crypto";
import { Random, type Tensor } from "../../src/index.ts";
import type { Ranks } from "./ranks.ts";

/**
 * Compares something on all ranks.
 * @param what what it is, in words, such as "settings"
 * @param wayOut what the user can do if it differs
 * @throws Error naming the first rank where it is not as on rank 0
 */
export async function checkSame(
  ranks: Ranks,
  what: string,
  value: string,
  wayOut = "start all ranks with the same command and the same files",
): Promise<void> {
  const all = await ranks.gather(value), other = all.findIndex((one) => one !== all[0]);
  if (other < 0) return;
  throw new Error(
    `rank ${other} does not have the same ${what} as rank 0 (${shortened(all[other])}, and on rank 0 ${
      shortened(all[0])
    }): ${wayOut}`,
  );
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** @throws Error if ranks have other bits in these tensors: a defect of a machine, or another driver of the GPU */
export async function checkSameBits(ranks: Ranks, tensors: Iterable<Tensor>): Promise<void> {
  if (ranks.size === 1) return;
  const hash = createHash("sha1");
  for (const tensor of tensors) hash.update(await tensor.floats());
  const wayOut =
    "a machine is faulty, or the GPUs have different drivers; repair that and resume from the last checkpoint";
  await checkSame(ranks, "weights", hash.digest("hex"), wayOut);
}

/** The stream of random numbers of a rank, as far along as that of rank 0. */
export function ofRank(random: Random, { rank }: Ranks): Random {
  if (rank === 0) return random;
  const { seed } = random.fork(`rank ${rank}`);
  return Random.from({ seed, counter: random.state().counter });
}
