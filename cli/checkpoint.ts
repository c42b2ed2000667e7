// Where a command finds the checkpoint that it was given.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { checkpointOf } from "../train/index.ts";
import { fetched } from "./fetch.ts";
import { printAside } from "./print.ts";

/**
 * Returns the path of a checkpoint. What is named by hf: or https: is downloaded first; in a run's folder it is the checkpoint
 * from which the run would go on.
 */
export async function checkpointPath(given: string): Promise<string> {
  const path = await fetched(given);
  const checkpoints = await stat(join(path, "checkpoints")).catch(() => null);
  if (!checkpoints?.isDirectory()) return path;
  const inside = await checkpointOf(path);
  printAside(`checkpoint: ${inside}`);
  return inside;
}
