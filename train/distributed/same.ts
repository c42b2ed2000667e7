// What must be the same on all ranks: what they train, and the weights, which each of them updates by itself.
import { createHash } from "node:crypto";
import { Random, type Tensor } from "../../src/index.ts";
import type { Ranks } from "./ranks.ts";

/**
 * Compares something on all ranks.
 * @param what what it is, in words
 * @throws Error naming the first rank where it is not as on rank 0
 */
export async function checkSame(ranks: Ranks, what: string, value: string): Promise<void> {
  const all = await ranks.gather(value), other = all.findIndex((one) => one !== all[0]);
  if (other < 0) return;
  throw new Error(
    `rank ${other} has other ${what} than rank 0 (${shortened(all[other])} and ${
      shortened(all[0])
    }): all ranks need the same ` +
      "command and the same files",
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
  await checkSame(ranks, "weights", hash.digest("hex"));
}

/** The stream of random numbers of a rank, as far along as that of rank 0. */
export function ofRank(random: Random, { rank }: Ranks): Random {
  if (rank === 0) return random;
  const { seed } = random.fork(`rank ${rank}`);
  return Random.from({ seed, counter: random.state().counter });
}
