// A job that Slurm has put back into its queue runs its first command again, and goes on.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, rm, utimes, writeFile } from "node:fs/promises";
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
  // the machine on which it ran has failed, and its lock is not five minutes old yet: another machine waits for that
  const [name] = await readdir(join(folder, "runs")), lock = join(folder, "runs", name, "lock.json");
  await writeFile(lock, JSON.stringify({ host: "failed", place: "failed-1", pid: 7, token: "its" }));
  const beat = Date.now() / 1000 - 297;
  await utimes(lock, beat, beat);
  const elsewhere = await tessera(...command);
  expect(elsewhere.err).toContain("is in use by another machine: waiting for a sign of life");
  expect([elsewhere.code, elsewhere.out]).toEqual([0, expect.stringContaining("resuming ")]);
  process.env.SLURM_JOB_ID = "4712";
  expect((await tessera(...command)).out).not.toContain("resuming");
  expect(await runs()).toBe(2);
});
