// A run folder belongs to one process: while it runs, and not after it has ended, from this machine and from others.
import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { RunLock } from "../../../train/run/lock.ts";
import { beginRun, readRunState, resumeRun, RunTakenError, train } from "../../../train/index.ts";
import { finish, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const root = await mkdtemp(join(tmpdir(), "tessera-lock-"));
afterAll(() => rm(root, { recursive: true, force: true }));

let count = 0;
async function newFolder(): Promise<{ folder: string; path: string }> {
  const folder = join(root, `run-${count++}`);
  await mkdir(folder);
  return { folder, path: join(folder, "lock.json") };
}

const script = fileURLToPath(new URL("../../support/locker.ts", import.meta.url));
const isBun = process.versions.bun !== undefined;

/** Starts a process that takes the folder. @returns it with its first line */
async function locker(
  folder: string,
  time: number,
  flags = ["-A"],
): Promise<{ child: ChildProcess; line: string }> {
  const runner = isBun ? [] : ["run", "--no-check", "--no-prompt", ...flags];
  const child = spawn(process.execPath, [...runner, script, folder, String(time)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout!.on("data", (part) => text += part);
  while (!text.includes("\n") && child.exitCode === null) await sleep(5);
  await sleep(5);
  return { child, line: text.trim() };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.on("close", resolve));
  child.kill("SIGKILL");
  await ended;
}

/** Writes a lock as another process would have, `age` milliseconds ago. */
async function foreign(path: string, changes: object, age: number): Promise<void> {
  const lock = await RunLock.take(join(path, ".."));
  const own = JSON.parse(await readFile(path, "utf8"));
  lock.release();
  await writeFile(path, JSON.stringify({ ...own, token: "another", ...changes }));
  const time = (Date.now() - age) / 1000;
  await utimes(path, time, time);
}

test("a folder that this process has is not given twice, and the lock goes with it", async () => {
  const { folder, path } = await newFolder();
  const lock = await RunLock.take(folder);
  expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ pid: process.pid });
  await expect(RunLock.take(folder)).rejects.toThrow(
    new RegExp(`^${folder} is in use: process ${process.pid} on .* trains this run$`),
  );
  lock.release();
  expect(await readdir(folder)).toEqual([]);
  (await RunLock.take(folder)).release();
});

test("a folder belongs to another process until that is killed", async () => {
  const { folder } = await newFolder();
  const { child, line } = await locker(folder, 60_000);
  expect(line).toBe("taken, after nobody");
  try {
    await expect(RunLock.take(folder)).rejects.toThrow(`is in use: process ${child.pid} on `);
  } finally {
    await kill(child);
  }
  const lock = await RunLock.take(folder);
  expect(lock.before).toBe(child.pid);
  lock.release();
});

if (isBun) console.log("lock: Bun has no permissions, so locks without them are not tested here");
else {
  test("also where Deno may not look at processes", async () => {
    const { folder } = await newFolder();
    const flags = ["--allow-read", `--allow-write=${root}`, "--allow-sys=hostname"];
    const { child, line } = await locker(folder, 60_000, flags);
    expect(line).toBe("taken, after nobody");
    try {
      const other = await locker(folder, 0, flags);
      expect(other.line).toMatch(
        new RegExp(
          `is in use: process ${child.pid} on .*Its last sign of life was \\d+ s ago; if it has ended, delete`,
        ),
      );
    } finally {
      await kill(child);
    }
    expect((await locker(folder, 0, flags)).line).toBe(`taken, after ${child.pid}`);
  });
}

test("a number that another process has now is not the process that had the lock", async () => {
  const { folder, path } = await newFolder();
  if (!existsSync("/proc/self/stat")) {
    return console.log("lock: this system does not say when a process started");
  }
  await foreign(path, { started: 1 }, 0);
  const lock = await RunLock.take(folder);
  lock.release();
});

test("a lock of another machine counts until it has had no heartbeat for five minutes", async () => {
  const { folder, path } = await newFolder();
  const elsewhere = { host: "elsewhere", place: "elsewhere-", pid: 12 };
  await foreign(path, elsewhere, 200_000);
  await expect(RunLock.take(folder)).rejects.toThrow(
    new RegExp(
      `^${folder} is in use: process 12 on elsewhere trains this run\\. Its last sign of life was 20\\d s ago; ` +
        `if it has ended, delete ${path}, or wait until that is 5 minutes ago$`,
    ),
  );
  await foreign(join(folder, "lock.json"), elsewhere, 310_000).catch(() => {});
  const time = Date.now() / 1000 - 310;
  await utimes(path, time, time);
  const lock = await RunLock.take(folder);
  expect(lock.before).toBe(undefined); // its number means nothing here
  lock.release();
  expect(await readdir(folder)).toEqual([]);
});

test("a lock without contents is one that is being made, or left by a process that was killed", async () => {
  const { folder, path } = await newFolder();
  for (const contents of ["", "{", "[]", '{"pid":"x"}', '{"host":"\\u001b[2J","place":"p","pid":7}']) {
    await writeFile(path, contents);
    await expect(RunLock.take(folder)).rejects.toThrow(
      /^[\w/.-]+ is in use: (another process|process 7 on \\u001b\[2J) trains this run/,
    );
    const time = Date.now() / 1000 - 400;
    await utimes(path, time, time);
    (await RunLock.take(folder)).release();
  }
});

test("of two processes that find the same lock left behind, one gets the folder", async () => {
  for (let i = 0; i < 3; i++) {
    const { folder, path } = await newFolder();
    await foreign(path, { host: "elsewhere", place: "elsewhere-" }, 400_000);
    const both = await Promise.all([locker(folder, 1000), locker(folder, 1000)]);
    const lines = both.map(({ line }) => line).sort();
    await Promise.all(both.map(({ child }) => kill(child)));
    expect(lines[0]).toMatch(/is in use: process \d+ on /);
    expect(lines[1]).toBe("taken, after nobody");
  }
});

test("the heartbeat is the date of the lock, and changes nothing in it", async () => {
  const { folder, path } = await newFolder();
  const lock = await RunLock.take(folder), text = await readFile(path, "utf8");
  const time = Date.now() / 1000 - 200;
  await utimes(path, time, time);
  lock.start(20);
  while ((await stat(path)).mtimeMs < Date.now() - 100_000) await sleep(5);
  await sleep(100);
  expect(await readFile(path, "utf8")).toBe(text);
  lock.release();
  const second = await RunLock.take(folder);
  second.check();
  await rm(path); // by a user
  second.check();
  expect(Object.keys(JSON.parse(await readFile(path, "utf8")))).toEqual(Object.keys(JSON.parse(text)));
  second.release();
  expect(existsSync(path)).toBe(false);
});

test("a run whose folder another process has taken stops without writing", async () => {
  const { newRun } = await runFixture(root);
  const run = await beginRun(newRun({ val: 0, steps: 6, saveEvery: 2 }));
  const monitor = {
    log: () => {},
    update: (step: number) => {
      if (step === 3) taken = foreignLock();
    },
  };
  let taken: Promise<void> | null = null;
  const lock = join(run.folder.path, "lock.json");
  const foreignLock = async () =>
    await writeFile(lock, '{"host":"elsewhere","place":"p","pid":9,"token":"t"}');
  const { trainStep } = run.trainer;
  run.trainer.trainStep = async function (batches) {
    await taken;
    return await trainStep.call(this, batches);
  };
  await expect(train(run, { monitor })).rejects.toThrow(RunTakenError);
  expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(2);
  expect(await readFile(lock, "utf8")).toContain("elsewhere"); // it is not ours to remove
  await expect(resumeRun(run.folder.path)).rejects.toThrow("is in use: process 9 on elsewhere");
  await rm(lock);
  await finish(await resumeRun(run.folder.path));
  run.trainer.dispose();
  run.trainer.model.dispose();
});
