// Which MPI launcher (mpirun) or scheduler (srun) has started this process, and the MPI library that it belongs to.
import { variable } from "../../src/environment.ts";
import { launchedProcess } from "../../src/launcher.ts";

/** A launcher that has started this process. */
export interface Launcher {
  /** What it is, in words. */
  readonly name: string;
  /** The variable that gives it away. */
  readonly variable: string;
  /** How many processes it has started. */
  readonly size: number;
  /** Which of them this is, from 0. */
  readonly rank: number;
  /** The library that it belongs to. */
  readonly library: "Open MPI" | "MPICH";
  /** The library that must not be tried in its place, because it would end the process with advice that does not help. */
  readonly refuses?: "Open MPI";
  /** How to start the processes so that the library finds the others. */
  readonly wayOut: string;
}

const hydra = "mpirun of MPICH (mpirun.mpich on Debian)",
  openMpi = "mpirun of Open MPI (mpirun.openmpi on Debian)";

/** The launchers, by the variable that says how many processes there are. */
const known: Readonly<Record<string, Pick<Launcher, "name" | "library" | "wayOut">>> = {
  OMPI_COMM_WORLD_SIZE: {
    name: "mpirun of Open MPI",
    library: "Open MPI",
    wayOut: `install Open MPI, or start with ${hydra}`,
  },
  PMI_SIZE: {
    name: "mpirun of MPICH, or srun --mpi=pmi2",
    library: "MPICH",
    wayOut: `install MPICH, or start with ${openMpi}`,
  },
};
/** Starts the processes of any library. */
const srun = {
  name: "srun",
  library: null,
  wayOut:
    "start with srun --mpi=pmix for Open MPI, or srun --mpi=pmi2 for MPICH (srun --mpi=list says what there is)",
};

/**
 * Finds what has started this process; null if nothing has, or it has started only this one.
 * @throws LauncherError if its variables contradict each other
 */
export function findLauncher(read: (name: string) => string | undefined = variable): Launcher | null {
  const launched = launchedProcess(read);
  if (launched === null || launched.size === 1) return null;
  const { rank, size, sizeVariable } = launched, one = known[sizeVariable] ?? srun;
  const hasPmix = read("PMIX_RANK") !== undefined, library = one.library ?? (hasPmix ? "Open MPI" : "MPICH");
  const found = { ...one, variable: sizeVariable, library, size, rank };
  // in a step of Slurm without PMIx, Open MPI ends the process within MPI_Init and advises to build Open MPI anew
  return hasPmix || read("SLURM_STEP_ID") === undefined ? found : { ...found, refuses: "Open MPI" };
}
