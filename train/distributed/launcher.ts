// Recognises the MPI launcher (mpirun) or the scheduler (Slurm's srun) that has started this process, by the environment variables that it sets.
import { variable } from "../../src/environment.ts";

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
  /** The library that it belongs to; null if it starts those of any. */
  readonly library: "Open MPI" | "MPICH" | null;
  /** How to start the processes so that the library finds the others. */
  readonly wayOut: string;
}

const hydra = "mpirun of MPICH (mpirun.mpich on Debian)",
  openMpi = "mpirun of Open MPI (mpirun.openmpi on Debian)";

/** The launchers, those first that also set variables of others. */
const known: readonly (Omit<Launcher, "size" | "rank"> & { readonly rankVariable: string })[] = [
  {
    name: "mpirun of Open MPI",
    variable: "OMPI_COMM_WORLD_SIZE",
    rankVariable: "OMPI_COMM_WORLD_RANK",
    library: "Open MPI",
    wayOut: `install Open MPI, or start with ${hydra}`,
  },
  {
    name: "mpirun of MPICH, or srun --mpi=pmi2",
    variable: "PMI_SIZE",
    rankVariable: "PMI_RANK",
    library: "MPICH",
    wayOut: `install MPICH, or start with ${openMpi}`,
  },
  {
    name: "srun",
    variable: "SLURM_STEP_NUM_TASKS",
    rankVariable: "SLURM_PROCID",
    library: null,
    wayOut:
      "start with srun --mpi=pmix for Open MPI, or srun --mpi=pmi2 for MPICH (srun --mpi=list says what there is)",
  },
];

/** Finds what has started this process; null if nothing has, or it has started only this one. */
export function findLauncher(read: (name: string) => string | undefined = variable): Launcher | null {
  for (const { rankVariable, ...one } of known) {
    const size = Number(read(one.variable));
    if (!(size > 1)) continue;
    const library = one.library ?? (read("PMIX_RANK") === undefined ? null : "Open MPI");
    return { ...one, library, size, rank: Number(read(rankVariable) ?? 0) };
  }
  return null;
}
