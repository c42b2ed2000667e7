// A job that a scheduler has put back into its queue runs the same command again. Its run then goes on: the folder of a run
// remembers the job that began it.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { writeAtomic } from "../../data/files/atomic.ts";
import { isDoubtful, isSilent } from "../../data/files/lock.ts";
import { jsonRecord } from "../../data/formats/json.ts";
import { variable } from "../../src/environment.ts";
import type { Ranks } from "../../train/distributed/ranks.ts";
import { printAside } from "../print.ts";

/** A job of Slurm, and the command in it, of which there may be several. */
interface Job {
  readonly job: string;
  readonly command: string;
}

const fileName = "job.json";

function currentJob(): Job | null {
  const id = variable("SLURM_JOB_ID");
  if (!id) return null;
  const hash = createHash("sha256").update(JSON.stringify(process.argv.slice(2)));
  return { job: `slurm ${variable("SLURM_CLUSTER_NAME") ?? ""} ${id}`, command: hash.digest("hex") };
}

/** Writes into the folder of a new run which job has begun it, if one has. */
export async function rememberJob(folder: string): Promise<void> {
  const job = currentJob();
  if (job === null) return;
  await writeAtomic(join(folder, fileName), (file) => file.writeFile(`${JSON.stringify(job, null, 2)}\n`));
}

/**
 * Returns the folder of the run that this job had begun before it was put back into the queue; null if there is none. If the
 * machine that trained it has failed, it waits until that machine has been silent long enough for the run to be taken.
 */
export async function requeuedRun(out: string, ranks: Ranks): Promise<string | null> {
  const job = currentJob(), restarts = Number(variable("SLURM_RESTART_COUNT") ?? 0);
  if (job === null || !(restarts > 0)) return null;
  return await ranks.first("looking for the run", async () => {
    const folder = await newestOf(job, out);
    if (folder !== null) await untilSilent(folder);
    return folder;
  });
}

async function untilSilent(folder: string): Promise<void> {
  const lock = join(folder, "lock.json");
  if (!await isDoubtful(lock)) return;
  printAside(`${folder} is in use by another machine: waiting for a sign of life`);
  await isSilent(lock);
}

async function newestOf(job: Job, out: string): Promise<string | null> {
  const names = await readdir(out).catch(() => []);
  for (const name of names.sort().reverse()) {
    const folder = join(out, name);
    const told = jsonRecord(await readFile(join(folder, fileName), "utf8").catch(() => ""));
    if (told?.job !== job.job || told.command !== job.command) continue;
    const checkpoints: string[] = await readdir(join(folder, "checkpoints")).catch(() => []);
    if (checkpoints.includes("last.safetensors")) return folder;
  }
  return null;
}
