// Finds the processes that an MPI launcher has started, and checks that they fit together before anything is computed.
import { hostname } from "node:os";
import process from "node:process";
import { check, oneOf } from "../../src/check.ts";
import { variable } from "../../src/environment.ts";
import { SettingError } from "../errors.ts";
import { type Cores, divideCores, findCores } from "./cores.ts";
import { hasFfi } from "./ffi.ts";
import { findLauncher, type Launcher } from "./launcher.ts";
import { candidates } from "./library.ts";
import { MpiRanks } from "./mpi.ts";
import { oneRank, type Ranks } from "./ranks.ts";
import { checkSameTexts } from "./same.ts";

/** How processes are found and how they sum. */
export interface RanksOptions {
  /**
   * `mpi`: those that a launcher of MPI has started. `one`: this process alone. `auto` (the default): as `mpi` if a launcher
   * has started several processes, else as `one`.
   */
  readonly ranks?: "auto" | "mpi" | "one";
  /**
   * How gradients are summed. `ordered` (the default): from rank 0 on, with the bits of one process that accumulates. `fast`:
   * by the library's MPI_Iallreduce, which adds in an order of its own. It may be faster: bench/README.md has figures.
   */
  readonly allReduce?: "ordered" | "fast";
}

/** The processes, and how they end. */
export interface OpenRanks {
  /** The processes, for `beginRun`, `resumeRun` and `Trainer`. */
  readonly ranks: Ranks;
  /** One line about them; null for one process. */
  readonly description: string | null;
  /** What may be wrong with how they were started. */
  readonly warnings: readonly string[];
  /**
   * Ends MPI in good order. All ranks must call it.
   * @returns null, or a sentence to print if the library itself did not end although all work is done; the process ends all
   * the same
   */
  close(): Promise<string | null>;
  /** Ends all ranks because of an error of this one. With one process it returns. */
  abort(): Promise<void>;
}

/** Seconds without a sign of life after which a rank counts as lost. */
const silence = 30;

const alone: OpenRanks = {
  ranks: oneRank,
  description: null,
  warnings: [],
  close: () => Promise.resolve(null),
  abort: () => Promise.resolve(),
};

/** What a rank says about itself. */
interface Identity {
  readonly host: string;
  readonly pid: number;
  readonly runtime: string;
  readonly cores: Cores;
}

/**
 * Opens the ranks. The cores of each machine are divided among its ranks (TESSERA_THREADS, unless it is set), so call it before
 * the first tensor is made.
 * @throws Error if there is no launcher or no library where one is asked for, if the library does not find the processes that
 * the launcher has started, or if they have different runtimes or different options
 * @example A script that `mpirun -n 4` starts
 * ```ts
 * import { openRanks, Trainer, type VQGAN } from "@tessera/vqgan";
 *
 * async function trainTogether(model: VQGAN): Promise<void> {
 *   const { ranks, close } = await openRanks();
 *   const trainer = new Trainer(model, { learningRate: () => 4.5e-6 * ranks.size, ranks });
 *   // ... steps on other pictures on each rank
 *   trainer.dispose();
 *   await close();
 * }
 * ```
 */
export async function openRanks(options: RanksOptions = {}): Promise<OpenRanks> {
  const { ranks: choice = "auto", allReduce = "ordered" } = options;
  check("openRanks", "ranks", choice, oneOf("auto", "mpi", "one"));
  check("openRanks", "allReduce", allReduce, oneOf("ordered", "fast"));
  const launcher = choice === "one" ? null : findLauncher();
  if (launcher === null) {
    if (choice !== "mpi") return alone;
    throw new Error(
      "MPI: no launcher has started this process together with others: start the command with mpirun -n 2 or srun in front of it",
    );
  }
  if (!hasFfi) {
    throw new Error("MPI: several processes need Deno or Bun, because Node cannot call the MPI library");
  }
  const mpi = await MpiRanks.open({
    paths: pathsFor(launcher),
    wayOut: launcher.wayOut,
    silence: Number(variable("TESSERA_RANK_TIMEOUT")) || silence,
    isFast: allReduce === "fast",
  });
  try {
    return await checked(launcher, mpi, allReduce);
  } catch (error) {
    await mpi.terminate();
    throw error;
  }
}

/** Checks that the ranks belong together, and divides the cores of this machine among them. */
async function checked(launcher: Launcher, mpi: MpiRanks, allReduce: string): Promise<OpenRanks> {
  checkSize(launcher, mpi);
  const all = (await mpi.gatherTexts(JSON.stringify(identity()))).map((text) => JSON.parse(text) as Identity);
  mpi.setNames(all.map(({ host, pid }) => `${host}, process ${pid}`));
  checkRuntimes(all);
  checkSameTexts(await mpi.gatherTexts(JSON.stringify({ allReduce })));
  const mine = all[mpi.rank], here = all.filter(({ host }) => host === mine.host).length;
  const warnings = divideCores(mine.cores, here);
  const hosts = new Set(all.map(({ host }) => host)).size;
  return {
    ranks: mpi,
    description: `${mpi.size} ranks on ${count(hosts, "host")}, by ${mpi.library}; ${
      count(Number(process.env.TESSERA_THREADS), "thread")
    } each on ${all[0].host}`,
    warnings,
    close: () => mpi.close(),
    abort: () => mpi.abort(),
  };
}

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`;

/** The files to try, or the one that the user names. */
function pathsFor({ library, refuses }: Launcher): readonly string[] {
  const named = variable("TESSERA_MPI");
  return named ? [named] : candidates(library, refuses);
}

function checkSize({ name, variable, size, wayOut }: Launcher, mpi: MpiRanks): void {
  if (mpi.size === size) return;
  throw new SettingError((word) =>
    `MPI: ${name} has started ${size} processes (${variable}), but the library ${mpi.library} finds ${mpi.size}: this launcher and ` +
    `this library do not belong together. ${
      wayOut[0].toUpperCase() + wayOut.slice(1)
    }. Or set TESSERA_MPI to the file of ` +
    `another library, or let each process work alone (${word("ranks", "one")})`
  );
}

function identity(): Identity {
  const { bun, deno } = process.versions as { bun?: string; deno?: string };
  return {
    host: hostname(),
    pid: process.pid,
    runtime: `${bun ? `Bun ${bun}` : `Deno ${deno}`} on ${process.arch}`,
    cores: findCores(),
  };
}

/** @throws Error if ranks have different runtimes, whose results differ in the last bits, so that their weights would drift apart */
function checkRuntimes(all: readonly Identity[]): void {
  const other = all.findIndex(({ runtime }) => runtime !== all[0].runtime);
  if (other < 0) return;
  throw new Error(
    `MPI: rank 0 runs in ${all[0].runtime} and rank ${other} in ${
      all[other].runtime
    }, which do not compute the same bits: start ` +
      "all ranks with the same runtime",
  );
}
