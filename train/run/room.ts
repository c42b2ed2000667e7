// Checks that the disk has room for checkpoints, before hours of training and before each of them is written.
import { formatBytes } from "../../data/formats/text.ts";
import { freeBytes } from "../../data/files/space.ts";
import type { Trainer } from "../trainer.ts";
import { checkpointBytes } from "./checkpoint.ts";
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
 * Warns if the next checkpoint fits, but not all that the run will keep: the last ones, the best one, and the one that is being
 * written.
 * @param keep how many of the last ones stay
 */
export async function warnOfRoom(folder: string, trainer: Trainer, keep: number): Promise<RunNote[]> {
  const checkpoints = Math.max(1, keep) + 2;
  const bytes = checkpointBytes(trainer), free = await freeBytes(folder);
  if (free === null || free >= checkpoints * bytes + more) return [];
  const text =
    `warning: the run will need up to ${
      formatBytes(checkpoints * bytes)
    } for ${checkpoints} checkpoints at a time, but the disk of ` +
    `${folder} has ${formatBytes(free)} left`;
  return [{ kind: "warning", text }];
}
