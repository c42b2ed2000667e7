// Which shards of a corpus a call of encode works on, and the files that they are written to.
import { readdir } from "node:fs/promises";
import { dirname, join, parse } from "node:path";
import type { Shard } from "../data/pictures/shards.ts";
import { type Launched, launched, LauncherError } from "../src/launcher.ts";
import { UsageError } from "./options.ts";

/** The options that choose shards, of which a command line has one at most. */
export interface ShardFlags {
  readonly out: string;
  readonly shard?: Shard;
  readonly shards?: number;
}

/** The shards of a call. */
export interface Share {
  /** How many shards there are in all. */
  readonly of: number;
  /** Those of this call, counted from 1; null if the corpus is not divided. */
  readonly parts: readonly number[] | null;
  /** The variables of a launcher that have decided it; null if the command line has, alone. */
  readonly by: string | null;
}

/**
 * Decides which shards a call works on. `--shard` says it. `--shards` says how many there are, of which each of n workers takes
 * every nth. Otherwise there is one for each worker that a launcher has started.
 * @throws UsageError if the launcher's variables cannot be used
 */
export function shareOf(
  { shard, shards }: Omit<ShardFlags, "out">,
  find: () => Launched | null = launched,
): Share {
  if (shard) return { of: shard.of, parts: [shard.part], by: null };
  const { rank, size, by } = placeOf(find) ?? { rank: 0, size: 1, by: null };
  const of = shards ?? size;
  if (shards === undefined && size === 1) return { of, parts: null, by };
  const parts: number[] = [];
  for (let part = rank + 1; part <= of; part += size) parts.push(part);
  return { of, parts, by };
}

function placeOf(find: () => Launched | null): Launched | null {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof LauncherError)) throw error;
    throw new UsageError(`${error.message}; say which shard this call encodes, as in --shard 2/8`);
  }
}

/** Returns the path of the file of a shard: tokens.parquet, or tokens-2-of-8.parquet. */
export function shardPath(out: string, shard: Shard | null): string {
  if (!shard) return out;
  const { dir, name, ext } = parse(out);
  return join(dir, `${name}-${shard.part}-of-${shard.of}${ext}`);
}

/**
 * Looks for files of the same name that hold shards of another number, which would have the same pictures again. A launcher
 * that starts only the workers that have failed counts fewer of them.
 * @throws UsageError if there is one
 */
export async function refuseOtherShards(out: string, { of, parts, by }: Share): Promise<void> {
  if (parts === null && by === null) return; // nobody divides anything
  const { name, ext } = parse(out);
  for (const found of (await readdir(dirname(out)).catch(() => [])).sort()) {
    const finished = found.replace(/\.partial$/, "");
    if (!finished.startsWith(`${name}-`) || !finished.endsWith(ext)) continue;
    const [, other] = /^\d+-of-(\d+)$/.exec(finished.slice(name.length + 1, -ext.length)) ?? [];
    if (other === undefined || Number(other) === of) continue;
    const counted = by === null ? "" : ` (${by})`;
    throw new UsageError(
      `${
        join(dirname(out), found)
      } is one of ${other} shards, but this call divides the pictures into ${of}${counted}: ` +
        `say --shards ${other} to go on, or give the tokens another name`,
    );
  }
}
