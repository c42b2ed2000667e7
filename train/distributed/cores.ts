// Divides the cores of a machine among the processes that a launcher has started on it.
import { cpus } from "node:os";
import process from "node:process";
import { isGranted, usableCores, variable } from "../../src/environment.ts";

/** The cores of a machine. */
export interface Cores {
  /** How many it has, as far as this process may know. */
  readonly all: number;
  /** How many of them this process may use: launchers and schedulers bind processes to some. */
  readonly own: number;
}

/** Counts the cores of this machine. */
export function findCores(): Cores {
  const own = usableCores();
  return { own, all: isGranted({ name: "sys", kind: "cpus" }) ? Math.max(own, cpus().length) : own };
}

/** The threads of each of `here` processes: its share of the machine's cores, at most those that it may use, and 16. */
export function threadsOf({ all, own }: Cores, here: number): number {
  return Math.max(1, Math.min(16, own, Math.floor(all / here)));
}

/**
 * Gives this process its share, unless TESSERA_THREADS is set. Call it before the first tensor is made.
 * @param here how many processes there are on this machine
 * @returns what may be wrong with how they were started
 */
export function divideCores(cores: Cores, here: number): string[] {
  if (variable("TESSERA_THREADS") === undefined) {
    process.env.TESSERA_THREADS = String(threadsOf(cores, here));
  }
  const { all, own } = cores;
  if (own > 1 || all < 2 * here) return [];
  return [
    `warning: the launcher lets each of ${here} processes use only one of ${all} cores; --bind-to none of Open MPI lets them share ` +
    "all, and --cpus-per-task of srun reserves several for each",
  ];
}
