// Waiting for the owner of a lock. That a lock belongs to one process is tested where a run's folder has one
// (tests/train/run/lock.test.ts).
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileLock, isSilent, LockedError } from "../../../data/files/lock.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-lock-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
/** Writes the lock of another machine, whose last sign of life was so many seconds ago. */
async function foreign(name: string, seconds: number): Promise<string> {
  const path = join(folder, name);
  await writeFile(
    path,
    JSON.stringify({ host: "elsewhere", place: "elsewhere-1", pid: 7, started: 1, token: "x" }),
  );
  const then = new Date(Date.now() - 1000 * seconds);
  await utimes(path, then, then);
  return path;
}

test("a lock of another machine is free after a long silence, and not after a sign of life", async () => {
  const path = await foreign("beating.lock", 30), waiting = isSilent(path);
  await utimes(path, new Date(), new Date());
  expect(await waiting).toBe(false);
  await expect(FileLock.take(path)).rejects.toThrow(LockedError);
  await expect(FileLock.take(path)).rejects.toThrow(
    "process 7 on elsewhere has this lock. Its last sign of life was ",
  );

  const ending = await foreign("ending.lock", 299);
  expect(await isSilent(ending)).toBe(true);
  const lock = await FileLock.take(ending);
  lock.release();
  expect(await isSilent(ending)).toBe(true);
  expect((await readdir(folder)).sort()).toEqual(["beating.lock"]);
});

test("waiting can be stopped", async () => {
  const stop = new AbortController(), waiting = isSilent(await foreign("stopped.lock", 1), stop.signal);
  stop.abort(new Error("stopped"));
  await expect(waiting).rejects.toThrow("stopped");
});
