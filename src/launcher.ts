// What MPI launchers and schedulers tell the processes that they start, by environment variables: how many there are, and which
// one this is.
import { variable } from "./environment.ts";

/** The place of a process among those that were started together. */
export interface Launched {
  /** Which of them this is, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** The variables that say so, such as "OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4". */
  readonly by: string;
}

/** A process that a launcher has started. */
export interface LaunchedProcess extends Launched {
  /** The variable that says how many there are, by which launchers are told apart. */
  readonly sizeVariable: string;
  /** How many of them are on this machine; null if the launcher does not say. */
  readonly here: number | null;
}

/** Reads an environment variable. */
type Read = (name: string) => string | undefined;

/** What the variables say cannot be, or is not enough. */
export class LauncherError extends Error {
  override readonly name = "LauncherError";
}

/**
 * The pairs of variables, those first that count where there are several: mpirun within a job of Slurm inherits what Slurm has
 * said about the processes that it started, which are not the ranks.
 */
const pairs = [
  ["OMPI_COMM_WORLD_RANK", ["OMPI_COMM_WORLD_SIZE"]],
  ["PMI_RANK", ["PMI_SIZE"]],
  ["PMIX_RANK", ["OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]], // PMIx has no variable for the size
  ["SLURM_PROCID", ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]],
] as const;

/**
 * Finds the place of this process among those that a launcher (mpirun, srun) or a job array has started. Where each job of an
 * array starts several processes, all of them count.
 * @returns null if the variables of no launcher are set
 * @throws LauncherError if they contradict each other or lack something
 * @example
 * ```ts
 * const { rank, size } = launched() ?? { rank: 0, size: 1 };
 * ```
 */
export function launched(read: Read = variable): Launched | null {
  const inside = launchedProcess(read), array = arrayTask(read);
  if (array === null) return inside && { rank: inside.rank, size: inside.size, by: inside.by };
  if (inside === null) return array;
  return {
    rank: array.rank * inside.size + inside.rank,
    size: array.size * inside.size,
    by: `${array.by}, ${inside.by}`,
  };
}

/**
 * Finds the place of this process among those that mpirun or srun has started together; job arrays do not count.
 * @returns null if there are no others that could have been
 * @throws LauncherError if the variables contradict each other or lack something
 */
export function launchedProcess(read: Read = variable): LaunchedProcess | null {
  const set = pairs.filter(([name]) =>
    read(name) !== undefined && !(name === "SLURM_PROCID" && isBatch(read))
  );
  const [first] = set;
  if (first === undefined) return null;
  const [rankName, sizeNames] = first, sizeName = sizeNames.find((name) => read(name) !== undefined);
  if (sizeName === undefined) {
    throw new LauncherError(
      `${shown(read, rankName)} says which process this is, but ${sizeNames.at(-1)} does not say of how many`,
    );
  }
  const rank = whole(read, rankName),
    size = whole(read, sizeName),
    by = `${shown(read, rankName)}, ${shown(read, sizeName)}`;
  if (rank >= size) throw new LauncherError(`${by}: process ${rank}, counted from 0, is not one of ${size}`);
  // a launcher inside another one leaves the variables of both, and nobody can tell which were meant
  const other = set.find(([name]) => !name.startsWith("SLURM_") && whole(read, name) !== rank);
  if (other) throw new LauncherError(`${shown(read, rankName)} contradicts ${shown(read, other[0])}`);
  return { rank, size, by, sizeVariable: sizeName, here: countHere(read) };
}

/** How many processes mpirun or srun has started on this machine. Slurm says it of all machines, as in "4(x2),3". */
function countHere(read: Read): number | null {
  const local = read("OMPI_COMM_WORLD_LOCAL_SIZE") ?? read("MPI_LOCALNRANKS");
  const counts = local ? [local] : (read("SLURM_STEP_TASKS_PER_NODE") ?? "").split(",").flatMap((part) => {
    const [, count = "", times = "1"] = /^(\d+)(?:\(x(\d{1,5})\))?$/.exec(part) ?? [];
    return Array<string>(Number(times)).fill(count);
  });
  const here = Number(counts[local ? 0 : Number(read("SLURM_NODEID"))]);
  return Number.isSafeInteger(here) && here > 0 ? here : null;
}

/** Whether this is the script of a Slurm job itself, where SLURM_PROCID is 0 although srun has started nothing. */
const isBatch = (read: Read): boolean =>
  read("SLURM_JOB_ID") !== undefined && read("SLURM_STEP_ID") === undefined;

function arrayTask(read: Read): Launched | null {
  const [id, count, min, max, step] = ["ID", "COUNT", "MIN", "MAX", "STEP"].map((name) =>
    `SLURM_ARRAY_TASK_${name}`
  );
  if (read(id) === undefined) return null;
  if (read(count) === undefined) {
    throw new LauncherError(
      `${shown(read, id)} says which job of an array this is, but ${count} does not say of how many`,
    );
  }
  const size = whole(read, count), first = read(min) === undefined ? 0 : whole(read, min);
  const stride = read(step) === undefined ? 1 : Math.max(1, whole(read, step));
  const rank = (whole(read, id) - first) / stride;
  const by = [id, count, min, max, step].filter((name) => read(name) !== undefined).map((name) =>
    shown(read, name)
  )
    .join(", ");
  const isGappy = read(max) !== undefined && (whole(read, max) - first) / stride + 1 !== size;
  if (!Number.isInteger(rank) || rank < 0 || rank >= size || isGappy) {
    throw new LauncherError(`${by}: the jobs of this array are not numbered evenly`);
  }
  return { rank, size, by };
}

function whole(read: Read, name: string): number {
  const text = read(name) ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new LauncherError(`${shown(read, name)} is not a whole number`);
}

const shown = (read: Read, name: string): string => `${name}=${read(name)}`;
