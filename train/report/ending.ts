// ending.json in the folder of a run: how it ended. A run that goes on removes it, so there is none while one is trained, and none
// after a kill.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { jsonRecord } from "../../data/formats/json.ts";

/** The name of the file. */
export const endingFile = "ending.json";

/** How a run ended. */
export interface RunEnding {
  /** Whether it ended by itself, or by an interruption or an error. */
  readonly activity: "finished" | "stopped";
  /** The number of steps done. */
  readonly step: number;
  /** Why, such as "it has all its 100 steps". */
  readonly why: string;
}

/** Reads how the run in a folder ended; null if nothing says so. */
export async function readEnding(folder: string): Promise<RunEnding | null> {
  const told = jsonRecord(await readFile(join(folder, endingFile), "utf8").catch(() => "")) ?? {};
  const { activity, step, why } = told;
  const isEnding = activity === "finished" || activity === "stopped";
  return isEnding && typeof step === "number" && typeof why === "string" ? { activity, step, why } : null;
}
