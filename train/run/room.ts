// Checks that the disk has room for checkpoints, before hours of training and before each of them is written.
import { formatBytes } from "../../data/formats/text.ts";
import { freeBytes } from "../../data/files/space.ts";
import type { Trainer } from "../trainer.ts";
import { checkpointBytes } from "./checkpoint.ts";
import type { RunSettings } from "./settings.ts";
import type { RunNote } from "./notes.ts";

/** Room for the header of a checkpoint and for what the file system keeps about it. */
const more = 2 ** 20;

/**
 * Checks the room for the next checkpoint.
 * @param atATime 2 for a new run that will write several: the last one stays until the next one is whole
 * @throws if it does not fit
 */
export async function checkRoom(folder: string, trainer: Trainer, atATime: 1 | 2 = 1): Promise<void> {
  const bytes = atATime * checkpointBytes(trainer), free = await freeBytes(folder);
  if (free === null || free >= bytes + more) return;
  const what = atATime === 1
    ? "a checkpoint takes"
    : "two checkpoints, one of which replaces the other, take";
  throw new Error(
    `${what} ${formatBytes(bytes)}, but the disk of ${folder} has only ${
      formatBytes(free)
    } left: make room there`,
  );
}

/**
 * The most checkpoints that a run has at a time: the last ones, the best one, and the one that is being written; with a guard
 * also the last good one and the one that may be good.
 */
export function checkpointsAtATime({ keep, gan }: Pick<RunSettings, "keep" | "gan">): number {
  return Math.max(1, keep) + 2 + (gan.guard ? 2 : 0);
}

/** Warns if the next checkpoint fits, but not all that the run will keep. */
export async function warnOfRoom(
  folder: string,
  trainer: Trainer,
  settings: Pick<RunSettings, "keep" | "gan">,
): Promise<RunNote[]> {
  const checkpoints = checkpointsAtATime(settings),
    bytes = checkpointBytes(trainer),
    free = await freeBytes(folder);
  if (free === null || free >= checkpoints * bytes + more) return [];
  const text =
    `warning: the run will need up to ${
      formatBytes(checkpoints * bytes)
    } for ${checkpoints} checkpoints at a time, but the disk of ` +
    `${folder} has ${formatBytes(free)} left`;
  return [{ kind: "warning", text }];
}
