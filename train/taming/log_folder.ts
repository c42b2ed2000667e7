// The log folders of taming's main.py: configs/*.yaml, and checkpoints/ with a last.ckpt or, in those of its fork, only
// checkpoints that are named after their epoch and step.
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { openCheckpoint, trainingState } from "../../data/index.ts";

/** A log folder, and what main.py reads in it when it resumes a run. */
export interface LogFolder {
  readonly path: string;
  /** The configs, in the order in which main.py merges them. */
  readonly configs: readonly string[];
}

/**
 * Finds the log folder that a path names: the folder itself, or a checkpoint in its checkpoints/.
 * @returns null if there is none, or it has no configs
 */
export async function findLogFolder(folderOrCheckpoint: string): Promise<LogFolder | null> {
  const path = await isFolder(folderOrCheckpoint) ? folderOrCheckpoint : folderAround(folderOrCheckpoint);
  if (path === null) return null;
  const configs = join(path, "configs");
  const names = await readdir(configs).catch(() => []);
  const found = names.filter((name) => name.endsWith(".yaml") && !name.startsWith(".")).sort();
  return found.length === 0 ? null : { path, configs: found.map((name) => join(configs, name)) };
}

function folderAround(checkpoint: string): string | null {
  const folder = dirname(resolve(checkpoint));
  return basename(folder) === "checkpoints" ? dirname(folder) : null;
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then((info) => info.isDirectory(), () => false);
}

/** The newest of several checkpoints. */
export interface NewestCheckpoint {
  readonly path: string;
  /** What the user should know about the choice. */
  readonly note: string;
}

/**
 * Finds the checkpoint with most steps in a folder; of two with as many, the one that was written last.
 * @returns null if there is none
 * @throws if none of them can be read
 */
export async function newestCheckpoint(folder: string): Promise<NewestCheckpoint | null> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".ckpt")).sort();
  const found: { path: string; step: number; time: number }[] = [], errors: unknown[] = [];
  for (const path of names.map((name) => join(folder, name))) {
    try {
      found.push({ path, step: await stepIn(path), time: (await stat(path)).mtimeMs });
    } catch (error) {
      errors.push(error);
    }
  }
  if (found.length === 0 && errors.length > 0) throw errors[0];
  const newest = found.sort((a, b) => a.step - b.step || a.time - b.time).at(-1);
  if (!newest) return null;
  const lost = errors.map((error) => `; left out: ${error instanceof Error ? error.message : error}`).join(
    "",
  );
  const choice = found.length === 1 ? "the only checkpoint" : `the newest of ${found.length} checkpoints`;
  return { path: newest.path, note: `${newest.path}: ${choice} there, at step ${newest.step}${lost}` };
}

async function stepIn(path: string): Promise<number> {
  const file = await openCheckpoint(path);
  try {
    return (await trainingState(file))?.step ?? 0;
  } finally {
    await file.close();
  }
}
