// A job that Slurm has put back into its queue runs its first command again, and goes on.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, run } = await commandFixture();
const before = { ...process.env };
afterAll(async () => {
  for (const name of ["SLURM_JOB_ID", "SLURM_RESTART_COUNT"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  await rm(folder, { recursive: true, force: true });
});
const runs = async () => (await readdir(join(folder, "runs"))).length;

test("the same job goes on with its run, and another job begins its own", async () => {
  const command = [...run, "--steps", "2"];
  process.env.SLURM_JOB_ID = "4711";
  delete process.env.SLURM_RESTART_COUNT;
  expect((await tessera(...command)).code).toBe(0);
  process.env.SLURM_RESTART_COUNT = "1";
  const again = await tessera(...command);
  expect(again.code).toBe(0);
  expect(again.out).toMatch(/resuming .*last\.safetensors at step 2 of 2/);
  expect(await runs()).toBe(1);
  process.env.SLURM_JOB_ID = "4712";
  expect((await tessera(...command)).out).not.toContain("resuming");
  expect(await runs()).toBe(2);
});
