// What launchers say by environment variables: real sets of variables, and sets that contradict themselves.
import { describe, expect, test } from "bun:test";
import { launched, launchedProcess, LauncherError } from "../../src/launcher.ts";

type Variables = Readonly<Record<string, string | number>>;
const read = (variables: Variables) => launched((name) => variables[name]?.toString());
const openMpi = (rank: number, size: number) => ({
  ...{ OMPI_COMM_WORLD_RANK: rank, OMPI_COMM_WORLD_SIZE: size, PMIX_RANK: rank },
});
const job = { SLURM_JOB_ID: 7, SLURM_NTASKS: 8, SLURM_PROCID: 0 };
const step = (rank: number, size: number) => ({
  ...job,
  ...{ SLURM_STEP_ID: 0, SLURM_PROCID: rank, SLURM_NTASKS: size, SLURM_STEP_NUM_TASKS: size },
});
const array = (id: number, from: number, to: number, stride = 1) => ({
  ...{
    SLURM_JOB_ID: 7,
    SLURM_ARRAY_TASK_ID: id,
    SLURM_ARRAY_TASK_COUNT: Math.floor((to - from) / stride) + 1,
  },
  ...{ SLURM_ARRAY_TASK_MIN: from, SLURM_ARRAY_TASK_MAX: to, SLURM_ARRAY_TASK_STEP: stride },
});

describe("launched", () => {
  const cases: readonly [name: string, variables: Variables, rank: number, size: number][] = [
    ["mpirun of Open MPI", openMpi(1, 4), 1, 4],
    ["mpirun of MPICH", { PMI_RANK: 3, PMI_SIZE: 4 }, 3, 4],
    ["srun", step(5, 8), 5, 8],
    ["srun, with only the oldest variables", { SLURM_PROCID: 1, SLURM_NTASKS: 2 }, 1, 2],
    ["srun --mpi=pmix", { ...step(5, 8), PMIX_RANK: 5 }, 5, 8],
    ["srun --mpi=pmi2", { ...step(5, 8), PMI_RANK: 5, PMI_SIZE: 8 }, 5, 8],
    ["a step of fewer processes than the job", { ...step(1, 2), SLURM_NTASKS: 8 }, 1, 2],
    [
      "mpirun in a job, where srun has started one daemon per machine",
      { ...step(1, 2), ...openMpi(9, 16) },
      9,
      16,
    ],
    ["an array from 0", array(3, 0, 7), 3, 8],
    ["an array from 1", array(8, 1, 8), 7, 8],
    ["an array in steps", array(9, 1, 13, 4), 2, 4],
    [
      "an array without a step",
      { SLURM_ARRAY_TASK_ID: 5, SLURM_ARRAY_TASK_COUNT: 3, SLURM_ARRAY_TASK_MIN: 4 },
      1,
      3,
    ],
    ["the script of each job of an array", { ...job, ...array(2, 0, 3), SLURM_NTASKS: 1 }, 2, 4],
    ["srun in each job of an array", { ...array(2, 0, 3), ...step(1, 2) }, 5, 8],
    ["mpirun in each job of an array", { ...job, ...array(1, 1, 3), ...openMpi(3, 4) }, 3, 12],
  ];
  for (const [name, variables, rank, size] of cases) {
    test(name, () => expect(read(variables)).toEqual({ rank, size, by: expect.stringContaining("=") }));
  }

  test("nothing has started the process, or only the script of a job", () => {
    expect(read({})).toBe(null);
    expect(read(job)).toBe(null);
  });

  test("names the variables", () => {
    expect(read(openMpi(1, 4))!.by).toBe("OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4");
    expect(read({ ...array(2, 0, 3), ...step(1, 2) })!.by).toContain("SLURM_ARRAY_TASK_ID=2, ");
  });

  const wrong: readonly [variables: Variables, message: string][] = [
    [
      openMpi(4, 4),
      "OMPI_COMM_WORLD_RANK=4, OMPI_COMM_WORLD_SIZE=4: process 4, counted from 0, is not one of 4",
    ],
    [{ PMIX_RANK: 1 }, "PMIX_RANK=1 says which process this is, but SLURM_NTASKS does not say of how many"],
    [{ PMI_RANK: 1 }, "PMI_RANK=1 says which process this is, but PMI_SIZE does not"],
    [{ PMI_RANK: "x", PMI_SIZE: 2 }, "PMI_RANK=x is not a whole number"],
    [{ PMI_RANK: -1, PMI_SIZE: 2 }, "PMI_RANK=-1 is not a whole number"],
    [{ ...openMpi(1, 4), PMI_RANK: 0, PMI_SIZE: 4 }, "OMPI_COMM_WORLD_RANK=1 contradicts PMI_RANK=0"],
    [{ ...openMpi(1, 4), PMIX_RANK: 2 }, "OMPI_COMM_WORLD_RANK=1 contradicts PMIX_RANK=2"],
    [
      { SLURM_ARRAY_TASK_ID: 1 },
      "SLURM_ARRAY_TASK_ID=1 says which job of an array this is, but SLURM_ARRAY_TASK_COUNT",
    ],
    [{ ...array(5, 3, 9), SLURM_ARRAY_TASK_COUNT: 2 }, "the jobs of this array are not numbered evenly"],
    [{ ...array(10, 3, 9) }, "the jobs of this array are not numbered evenly"],
    [{ ...array(4, 1, 13, 4) }, "the jobs of this array are not numbered evenly"],
  ];
  for (const [variables, message] of wrong) {
    test(message, () => {
      expect(() => read(variables)).toThrow(LauncherError);
      expect(() => read(variables)).toThrow(message);
    });
  }
});

test("launchers say how many of their processes are on this machine", () => {
  const here = (variables: Variables) => launchedProcess((name) => variables[name]?.toString())?.here;
  const slurm = (counts: string, node: number) => ({
    ...{ ...step(1, 12), SLURM_STEP_TASKS_PER_NODE: counts, SLURM_NODEID: node },
  });
  expect(here({ ...openMpi(1, 4), OMPI_COMM_WORLD_LOCAL_SIZE: 2 })).toBe(2);
  expect(here({ PMI_RANK: 3, PMI_SIZE: 4, MPI_LOCALNRANKS: 4 })).toBe(4);
  expect([0, 1, 2, 3, 4].map((node) => here(slurm("4(x2),3,1", node)))).toEqual([4, 4, 3, 1, null]);
  expect(here({ ...slurm("1(x2)", 0), ...openMpi(1, 8), OMPI_COMM_WORLD_LOCAL_SIZE: 4 })).toBe(4); // mpirun within srun
  expect(here({ ...slurm("1(x2)", 1), PMI_RANK: 1, PMI_SIZE: 2 })).toBe(1); // srun --mpi=pmi2
  for (const counts of ["", "many", "0", "2(x"]) {
    expect([counts, here(slurm(counts, 0))]).toEqual([counts, null]);
  }
  expect(here({ ...step(1, 12), SLURM_STEP_TASKS_PER_NODE: "12" })).toBe(null); // without the number of the machine
  expect(here(openMpi(1, 4))).toBe(null);
  expect(here({})).toBe(undefined);
});
