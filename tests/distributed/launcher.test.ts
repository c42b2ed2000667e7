// How launchers are found, and what is said where they do not fit.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import { findLauncher } from "../../train/distributed/launcher.ts";
import { candidates } from "../../train/distributed/library.ts";
import { openRanks } from "../../train/index.ts";
import { launchers, missing, scriptWords, start } from "../support/mpi.ts";

setDefaultTimeout(120_000);

const found = (variables: Record<string, string>) => {
  const launcher = findLauncher((name) => variables[name]);
  return launcher && [launcher.library, launcher.size, launcher.rank];
};
/** The variables of a process that srun without --mpi has started. */
const srun = {
  SLURM_JOB_ID: "7",
  SLURM_STEP_ID: "0",
  SLURM_PROCID: "0",
  SLURM_NTASKS: "2",
  SLURM_STEP_NUM_TASKS: "2",
};

test("launchers are known by their variables", () => {
  expect(found({})).toBe(null);
  expect(found({ OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_RANK: "3" })).toEqual(["Open MPI", 4, 3]);
  expect(found({ PMI_SIZE: "2", PMI_RANK: "1" })).toEqual(["MPICH", 2, 1]);
  expect(found({ SLURM_STEP_NUM_TASKS: "8", SLURM_PROCID: "5", PMIX_RANK: "5" })).toEqual(["Open MPI", 8, 5]);
  expect(found({ SLURM_STEP_NUM_TASKS: "8", SLURM_PROCID: "0" })).toEqual(["MPICH", 8, 0]);
  // one process, and the script of a job, which is not one of its tasks
  expect(found({ PMI_SIZE: "1" })).toBe(null);
  expect(found({ SLURM_JOB_ID: "7", SLURM_NTASKS: "8", SLURM_PROCID: "0" })).toBe(null);
});

test("Open MPI is not tried in a step of Slurm without PMIx, where it would end the process", () => {
  const refused = (variables: Record<string, string>) => findLauncher((name) => variables[name])?.refuses;
  expect(refused(srun)).toBe("Open MPI");
  expect(refused({ ...srun, PMI_RANK: "0", PMI_SIZE: "2" })).toBe("Open MPI"); // --mpi=pmi2
  expect(refused({ ...srun, PMIX_RANK: "0" })).toBe(undefined); // --mpi=pmix
  expect(refused({ PMI_RANK: "0", PMI_SIZE: "2" })).toBe(undefined); // mpirun of MPICH on a plain machine
  expect(candidates("MPICH", "Open MPI")).toEqual(["libmpich.so.12", "libmpi.so.12", "libmpi_abi.so.1"]);
  expect(candidates("MPICH")).toEqual([
    ...["libmpich.so.12", "libmpi.so.12", "libmpi.so.40", "libmpi_abi.so.1"],
  ]);
});

test("processes that srun without --mpi has started do not work alone, and are told to use --mpi", async () => {
  if (process.platform !== "linux") return;
  const { code, err } = await start(
    [...scriptWords("./ranked.ts"), ..."nowhere nothing plain 2".split(" ")],
    srun,
  ).ended;
  expect(code).not.toBe(0);
  // with MPICH installed it finds itself alone; without it there is no library to try
  expect(err).toMatch(/MPI: (srun has started 2 processes .* finds 1|no library was found)/);
  expect(err).toMatch(/start with srun --mpi=pmix for Open MPI, or srun --mpi=pmi2 for MPICH/i);
});

test("without a launcher there is one rank, unless several are asked for", async () => {
  const { ranks, description, close } = await openRanks();
  expect([ranks.rank, ranks.size, description]).toEqual([0, 1, null]);
  await close();
  await expect(openRanks({ ranks: "mpi" })).rejects.toThrow("start the command with mpirun -n 2");
});

describe("a launcher and a library", () => {
  for (const name of missing) test.skip(`${name} is not installed`, () => {});
  const [one, other] = launchers;
  if (!one || !other) return;
  const libraries: Record<string, string> = { "Open MPI": "libmpi.so.40", MPICH: "libmpich.so.12" };
  for (const [launcher, library] of [[one, other], [other, one]]) {
    test(`${launcher.name} with the library of ${library.name} is an error with both names`, async () => {
      const words = [...launcher.words(2), ...scriptWords("./ranked.ts"), "nowhere", "nothing", "plain", "2"];
      const { code, err } = await start(words, { TESSERA_MPI: libraries[library.name] }).ended;
      expect(code).not.toBe(0);
      expect(err).toContain(`mpirun of ${launcher.name}`);
      expect(err).toContain("has started 2 processes");
      expect(err).toMatch(
        new RegExp(
          `the library ${library.name}.* finds 1: this launcher and this library do not belong together`,
        ),
      );
    });
  }
});
