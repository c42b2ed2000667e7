// What becomes of several ranks when one of them fails: all end within seconds, and the checkpoint is whole.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { checkpointOf, readRunState } from "../../train/index.ts";
import {
  allEnded,
  type Launcher,
  missing,
  oneLauncher,
  type Running,
  scriptWords,
  start,
} from "../support/mpi.ts";
import { runFixture, tensorBytes } from "../support/runs.ts";

setDefaultTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), "ranks-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
await runFixture(folder);
const script = scriptWords("./ranked.ts");
const lastRun = async (out: string) => join(out, (await readdir(out))[0]);

/** Seconds without a sign of life after which a rank counts as lost, in these tests. */
const silence = 4;

/** Starts a long run in two ranks and waits until it has saved. @returns the processes' numbers too */
async function longRun(launcher: Launcher, out: string): Promise<Running & { pids: number[] }> {
  const words = [...launcher.words(2), ...script, folder, out, "long", "2"];
  const running = start(words, { TESSERA_RANK_TIMEOUT: String(silence) });
  const [, pids] = await running.printed(/pids ([\d,]+)/);
  await running.printed(/step 1[2-9]\n/);
  return { ...running, pids: pids.split(",").map(Number) };
}

/** Expects the last checkpoint to be whole. @returns its step */
async function stepOfWhole(out: string): Promise<number> {
  const path = await checkpointOf(await lastRun(out)), { step } = await readRunState(path);
  const { header, bytes } = await tensorBytes(path);
  const ends = Object.values(header as Record<string, { data_offsets: [number, number] }>).map((
    { data_offsets },
  ) => data_offsets[1]);
  expect(bytes.length).toBe(Math.max(...ends));
  return step;
}

describe("several ranks", () => {
  for (const name of missing) test.skip(`${name} is not installed`, () => {});
  const launcher = oneLauncher;
  if (launcher) {
    test(`end when one is killed, and leave a whole checkpoint (${launcher.name})`, async () => {
      const out = join(folder, "kill"), { pids, ended } = await longRun(launcher, out);
      const begun = performance.now();
      process.kill(pids[1], "SIGKILL");
      const { code } = await ended;
      expect(code).not.toBe(0);
      expect(performance.now() - begun).toBeLessThan(60_000); // not the launcher's patience, and no hang
      expect(await allEnded(pids, 10)).toBe(true);
      expect(await stepOfWhole(out) % 10).toBe(0);
    });

    test(`name the one that is stopped (${launcher.name})`, async () => {
      const out = join(folder, "stop"), { pids, ended } = await longRun(launcher, out);
      process.kill(pids[1], "SIGSTOP");
      const { code, out: said } = await ended;
      expect(code).not.toBe(0);
      expect(said).toMatch(
        new RegExp(`rank 0 ends: nothing was heard from rank 1 \\(.*process ${pids[1]}\\) for \\d+ s`),
      );
      expect(await allEnded(pids, 10)).toBe(true);
      expect(await stepOfWhole(out) % 10).toBe(0);
    });

    test("save and leave when one of them is warned, and go on in no number that changes the step", async () => {
      const out = join(folder, "warned"), { pids, ended } = await longRun(launcher, out);
      process.kill(pids[1], "SIGUSR2");
      const { code, out: said } = await ended,
        { step, interrupted } = JSON.parse(said.trim().split("\n").at(-1)!);
      expect([code, interrupted, await stepOfWhole(out)]).toEqual([0, true, step]);
      const refused = await start([...script, folder, out, "long", "1"]).ended;
      expect(refused.err + refused.out).toMatch(
        /has 2 pictures \(batch 1 x accumulate 1 x 2 ranks\).*would have 1 \(batch 1 x accumulate 1 x 1 rank\)/,
      );
    });
  }
});
