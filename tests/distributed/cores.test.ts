// How the cores of a machine are divided among the processes on it.
import { expect, test } from "bun:test";
import process from "node:process";
import { Command } from "commander";
import { threadCount } from "../../src/backends/wasm/threads.ts";
import { withDividedCores } from "../../cli/cores.ts";
import { divideCores, findCores, threadsOf } from "../../train/distributed/cores.ts";

/** Sets variables while a function runs. */
async function withVariables<T>(
  variables: Readonly<Record<string, string | undefined>>,
  run: () => T | Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  const set = (name: string, value: string | undefined) =>
    value === undefined ? delete process.env[name] : (process.env[name] = value);
  for (const [name, value] of Object.entries(variables)) set(name, value);
  try {
    return await run();
  } finally {
    for (const [name, value] of before) set(name, value);
  }
}

test("each process has its share, and no core that it may not use", () => {
  for (
    const [all, own, here, threads] of [
      [8, 8, 1, 8],
      [8, 8, 2, 4],
      [8, 8, 3, 2],
      [8, 8, 20, 1], // more processes than cores
      [8, 1, 2, 1], // bound to one core
      [64, 32, 16, 4], // bound to a socket, with others
      [64, 4, 2, 4], // a scheduler's four cores for each
      [128, 128, 2, 16], // more threads do not help
    ]
  ) expect([all, own, here, threadsOf({ all, own }, here)]).toEqual([all, own, here, threads]);
});

test("no more threads than cores that Slurm has reserved", async () => {
  const cores = navigator.hardwareConcurrency;
  for (
    const [reserved, own] of [["1", 1], [`${cores + 1}`, cores], ["", cores], [undefined, cores]] as const
  ) {
    await withVariables({ TESSERA_THREADS: undefined, SLURM_CPUS_PER_TASK: reserved }, () => {
      expect([reserved, findCores().own, threadCount()]).toEqual([reserved, own, Math.min(16, own)]);
    });
  }
});

test("the share is set unless the user has set it, and cores that lie idle are warned of", async () => {
  await withVariables({ TESSERA_THREADS: undefined }, () => {
    expect(divideCores({ all: 8, own: 8 }, 2)).toEqual([]);
    expect(process.env.TESSERA_THREADS).toBe("4");
    expect(divideCores({ all: 8, own: 1 }, 2)[0]).toMatch(
      /^warning: .* each of 2 processes use only one of 8 cores/,
    );
    expect(divideCores({ all: 2, own: 1 }, 2)).toEqual([]);
    expect(process.env.TESSERA_THREADS).toBe("4");
  });
});

test("a command divides the cores if its launcher says how many processes there are", async () => {
  const threadsWith = (variables: Readonly<Record<string, string>>) =>
    withVariables({ TESSERA_THREADS: undefined, ...variables }, async () => {
      const command = withDividedCores(new Command("work").action(() => {}));
      await command.parseAsync([], { from: "user" });
      return process.env.TESSERA_THREADS;
    });
  const mpich = { PMI_RANK: "1", PMI_SIZE: "2" };
  expect(await threadsWith({ ...mpich, MPI_LOCALNRANKS: "2" })).toBe(String(threadsOf(findCores(), 2)));
  expect(await threadsWith({ ...mpich, MPI_LOCALNRANKS: "2", TESSERA_THREADS: "7" })).toBe("7");
  for (const variables of [{}, mpich, { ...mpich, MPI_LOCALNRANKS: "1" }, { ...mpich, PMI_RANK: "2" }]) {
    expect(await threadsWith(variables)).toBe(undefined);
  }
});
