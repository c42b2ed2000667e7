// Checks that all ranks have the same settings, the same pictures and, since each rank updates its own copy, the same weights.
import { createHash } from "node:crypto";
import { Random, type Tensor } from "../../src/index.ts";
import { SettingError } from "../errors.ts";
import type { Ranks } from "./ranks.ts";

const sameCommand = "start all ranks with the same command and the same files";

/**
 * Compares something on all ranks.
 * @param what what it is, in words, such as "pictures"
 * @param wayOut what the user can do if it differs
 * @throws Error naming the first rank where it is not as on rank 0
 */
export async function checkSame(
  ranks: Ranks,
  what: string,
  value: string,
  wayOut: string = sameCommand,
): Promise<void> {
  const all = await ranks.gather(value), other = all.findIndex((one) => one !== all[0]);
  if (other < 0) return;
  throw new Error(
    `rank ${other} does not have the same ${what} as rank 0 (${shortened(all[other])}, and on rank 0 ${
      shortened(all[0])
    }): ${wayOut}`,
  );
}

/** @throws SettingError naming the first setting that is not the same on all ranks, and its value on two of them */
export async function checkSameSettings(ranks: Ranks, settings: object): Promise<void> {
  checkSameTexts(await ranks.gather(JSON.stringify(settings)));
}

/** `checkSameSettings` for what all ranks have told already, as JSON. */
export function checkSameTexts(all: readonly string[]): void {
  for (const [rank, text] of all.entries()) {
    const difference = text === all[0] ? null : firstDifference(JSON.parse(all[0]), JSON.parse(text));
    if (difference === null) continue;
    const { path, first, other } = difference;
    throw new SettingError((word) =>
      `${word(path)} is ${shown(first)} on rank 0 and ${shown(other)} on rank ${rank}: ${sameCommand}`
    );
  }
}

type Json = Readonly<Record<string, unknown>>;

/** The path of the first value that differs, such as "optimizer.clip", and both values; null if there is none. */
function firstDifference(a: Json, b: Json): { path: string; first: unknown; other: unknown } | null {
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const first = a[key], other = b[key];
    if (isRecord(first) && isRecord(other)) {
      const inside = firstDifference(first, other);
      if (inside) return { ...inside, path: `${key}.${inside.path}` };
    } else if (JSON.stringify(first) !== JSON.stringify(other)) return { path: key, first, other };
  }
  return null;
}

const isRecord = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const shown = (value: unknown): string => value === undefined ? "not set" : shortened(JSON.stringify(value));

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** @throws Error if ranks have other bits in these tensors */
export async function checkSameBits(
  ranks: Ranks,
  tensors: Iterable<Tensor>,
  wayOut: string,
): Promise<void> {
  if (ranks.size === 1) return;
  const hash = createHash("sha1");
  for (const tensor of tensors) hash.update(await tensor.data());
  await checkSame(ranks, "weights", hash.digest("hex"), wayOut);
}

/** The stream of random numbers of a rank, as far along as that of rank 0. */
export function ofRank(random: Random, { rank }: Ranks): Random {
  if (rank === 0) return random;
  const { seed } = random.fork(`rank ${rank}`);
  return Random.from({ seed, counter: random.state().counter });
}
