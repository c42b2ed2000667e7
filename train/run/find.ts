// Finds the checkpoint from which a run goes on.
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { newestCheckpoint } from "../taming/log_folder.ts";
import { RunFolder } from "./folder.ts";

/**
 * Finds the checkpoint to resume: the file itself, or the last one in a run folder, which may also be a run by taming. If
 * none is named last, it is the one with most steps.
 * @throws if there is none.
 */
export async function checkpointOf(runOrFile: string): Promise<string> {
  const info = await stat(runOrFile).catch(() => null);
  if (info === null) throw new Error(`${runOrFile}: there is no such file or folder to resume from`);
  if (!info.isDirectory()) return runOrFile;
  const { lastCheckpoint } = new RunFolder(runOrFile);
  for (const path of [lastCheckpoint, join(dirname(lastCheckpoint), "last.ckpt")]) {
    if ((await stat(path).catch(() => null))?.isFile()) return path;
  }
  const newest = await newestCheckpoint(dirname(lastCheckpoint));
  if (newest) return newest.path;
  throw new Error(
    `${runOrFile}: this folder has no checkpoints/last.safetensors (or last.ckpt) to resume from`,
  );
}
