// finetune as a process that is stopped: by signals, by a closed terminal or pipe, and on a full disk. It saves in each case.
import { spawn, spawnSync } from "node:child_process";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, existsSync, openSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readRunState } from "../../../train/index.ts";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const cli = fileURLToPath(new URL("../../../cli.ts", import.meta.url));
const runner = [process.execPath, ...(process.versions.bun ? [] : ["run", "-A", "--no-check"]), cli];

interface Ended {
  /** The exit code; 128 and the number of the signal if a signal ended the process. */
  readonly code: number;
  readonly err: string;
  readonly run: string;
  readonly step: number;
}

const numbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Starts a long run, does something to it when it has trained two steps, and waits for its end. */
async function stopped(
  name: string,
  act: (child: ReturnType<typeof spawn>, run: string) => void | Promise<void>,
  { before = [], stdout = "pipe" }: { before?: string[]; stdout?: "pipe" | number } = {},
): Promise<Ended> {
  const out = join(folder, name);
  await mkdir(out);
  const words = [...tinyRun, "--steps", "100000", "--log-every", "1", "--save-every", "100000"];
  const [program, ...rest] = [...before, ...runner, ...words.with(words.indexOf(join(folder, "runs")), out)];
  const child = spawn(program, rest, { stdio: ["ignore", stdout, "pipe"] });
  let err = "";
  child.stdout?.on("data", () => {});
  child.stderr!.on("data", (part) => err += part);
  const ended = new Promise<number>((resolve) =>
    child.on("close", (code, signal) => resolve(code ?? 128 + numbers[signal ?? ""]))
  );
  const metrics = async () => {
    const [run] = await readdir(out);
    return run ? await readFile(join(out, run, "metrics.jsonl"), "utf8").catch(() => "") : "";
  };
  while (!(await metrics()).includes('"step":2,') && child.exitCode === null) await sleep(20);
  const run = join(out, (await readdir(out))[0]);
  await act(child, run);
  const code = await ended;
  const { step } = await readRunState(join(run, "checkpoints", "last.safetensors"));
  return { code, err, run, step };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a run saves and stops", () => {
  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) {
    test(`at ${signal}, also if it comes twice at once`, async () => {
      const { code, err, run, step } = await stopped(signal, (child) => {
        process.kill(child.pid!, signal);
        process.kill(child.pid!, signal);
      });
      expect([code, err]).toEqual([128 + numbers[signal], ""]);
      expect(step).toBeGreaterThanOrEqual(2);
      const resumed = await tessera("finetune", "--resume", run, "--steps", String(step + 1));
      expect(resumed.code).toBe(0);
      expect(resumed.out).toContain(`at step ${step} of ${step + 1}`);
    });
  }

  test("when nobody reads its output any more", async () => {
    const { code, err, step } = await stopped("pipe", (child) => void child.stdout!.destroy());
    expect([code, err]).toEqual([141, ""]); // 128 + SIGPIPE
    expect(step).toBeGreaterThanOrEqual(2);
  });

  test("when something fails in its process that nobody catches", async () => {
    const script = fileURLToPath(new URL("../../support/thrower.ts", import.meta.url));
    const start = process.versions.bun ? [script] : ["run", "-A", "--no-check", script];
    for (const how of ["throw", "reject"]) {
      const words = ["--steps", "100000", "--save-every", "100000", "--name", how];
      const { status, stdout, stderr } = spawnSync(process.execPath, [
        ...start,
        join(folder, "runs"),
        how,
        ...tinyRun,
        ...words,
      ], {
        encoding: "utf8",
      });
      expect([status, stderr]).toEqual([1, `tessera: a ${how === "throw" ? "timer" : "promise"} failed\n`]);
      const [, step, run] = /^step (\d+) is saved; continue with: tessera finetune --resume (.*)$/m.exec(
        stdout,
      )!;
      expect((await readRunState(join(run, "checkpoints", "last.safetensors"))).step).toBe(Number(step));
    }
  });

  test("when its pictures vanish, with one line and the way to go on", async () => {
    const pictures = join(folder, "gone");
    spawnSync("cp", ["-r", join(folder, "faces"), pictures]);
    const words = tinyRun.map((word) => word === join(folder, "faces") ? pictures : word);
    const answer = tessera(...words, "--steps", "100000", "--log-every", "1", "--name", "gone");
    const runs = join(folder, "runs");
    const run = async () => (await readdir(runs).catch(() => [])).find((name) => name.endsWith("_gone"));
    const metrics = async () =>
      await readFile(join(runs, await run() ?? "", "metrics.jsonl"), "utf8").catch(() => "");
    while (!(await metrics()).includes('"step":3,')) await sleep(10);
    await rm(pictures, { recursive: true });
    const { code, err, out } = await answer;
    expect(code).toBe(1);
    expect(err).toMatch(/^tessera: none of the 4 pictures can be read; the last was .*\n$/);
    const path = join(runs, (await run())!);
    const { step } = await readRunState(join(path, "checkpoints", "last.safetensors"));
    expect(out).toContain(`step ${step} is saved; continue with: tessera finetune --resume ${path}`);
    const resumed = await tessera("finetune", "--resume", path);
    expect([resumed.code, resumed.err.trim().split("\n").length]).toEqual([1, 1]);
    expect(resumed.err).toContain(
      "If the pictures of the run were moved, say where they are with --data and --val",
    );
    const moved = await tessera(
      "finetune",
      "--resume",
      path,
      "--data",
      join(folder, "faces"),
      "--steps",
      String(step + 1),
    );
    expect([moved.code, moved.err]).toEqual([0, ""]);
    expect(moved.out).toContain("pictures: 4 to train on, 1 for validation; at step");
  });
});

describe("a run goes on", () => {
  if (!existsSync("/proc/self/status")) {
    console.log("ending: this system has no /proc, so a run below nohup is not tested");
  } else {
    test("below nohup, when its terminal is closed", async () => {
      // what nohup does at a terminal: it ignores SIGHUP, and lets nothing be read from the input
      const nohup = ["bash", "-c", 'trap "" HUP; exec "$@" 0>/dev/null', "bash"];
      const { code, err, step, run } = await stopped("nohup", async (child, run) => {
        process.kill(child.pid!, "SIGHUP"); // Deno would report the signal of child.kill() as what ended it
        const length = async () => (await readFile(join(run, "metrics.jsonl"), "utf8")).length;
        const before = await length();
        const isAlive = () => child.exitCode === null && child.signalCode === null;
        while (await length() < before + 2000 && isAlive()) await sleep(10);
        if (isAlive()) process.kill(child.pid!, "SIGTERM");
      }, { before: nohup });
      expect([code, err]).toEqual([143, ""]);
      expect(step).toBeGreaterThan(4);
      expect(await readdir(run)).not.toContain("lock.json");
    });
  }

  if (!existsSync("/dev/full")) {
    console.log("ending: there is no /dev/full here, so a full log is not tested");
  } else {
    test("when the disk of its log is full", async () => {
      const full = openSync("/dev/full", "w");
      try {
        const { code, step } = await stopped("full", async (child) => {
          await sleep(500);
          expect(child.exitCode).toBe(null);
          child.kill("SIGINT");
        }, { stdout: full });
        expect(code).toBe(130);
        expect(step).toBeGreaterThan(2);
      } finally {
        closeSync(full);
      }
    });
  }
});

test("pictures that could not be read are counted and named at the end, a line each", async () => {
  const pictures = join(folder, "partly"), bad = join(pictures, "z.png");
  await cp(join(folder, "faces"), pictures, { recursive: true });
  await writeFile(bad, "");
  const words = tinyRun.map((word) => word === join(folder, "faces") ? pictures : word);
  const { code, out, err } = await tessera(...words, "--steps", "4", "--val", "0");
  expect([code, err]).toEqual([0, ""]);
  expect(out).toContain(`skipped ${bad}: the file is empty (0 bytes)\n`);
  expect(out).toContain(
    `\n1 of 6 pictures could not be read and were skipped:\n  ${bad}: the file is empty (0 bytes)\n`,
  );
});

test("a finished run says so, and how it goes on; options that cannot change are refused by their name", async () => {
  const begun = await tessera(...tinyRun, "--steps", "2", "--val", "0.2", "--name", "finished");
  const run = /^run folder: (.*)$/m.exec(begun.out)![1];
  const { code, out, err } = await tessera("finetune", "--resume", run);
  expect([code, err]).toEqual([0, ""]);
  expect(out).toContain(
    `the run is finished: it has all its 2 steps; go on with a larger total: tessera finetune --resume ${run} --steps 4`,
  );
  expect(out).toMatch(/^PSNR \d+\.\d\d -> \d+\.\d\d dB/m);
  expect(out).toContain(`before and after: ${join(run, "before-after.png")}`);
  expect(out).not.toContain("step/s");
  const without = await tessera("finetune", "--resume", run, "--steps", "3", "--no-lpips", "--lr", "2e-3");
  expect([without.code, without.err]).toEqual([0, ""]);
  expect(without.out).toContain("perceptual network: none (only L1 and GAN losses)");
  expect(without.out).toContain("learning rate of the next step: 0.00200 (before: 0.00100)");
  for (
    const [option, ...value] of [["--size", "32"], ["--seed", "3"], ["--flip"], ["--warmup", "3"], [
      "--base-lr",
      "1",
    ]]
  ) {
    const refused = await tessera("finetune", "--resume", run, option, ...value);
    expect([refused.code, refused.err]).toEqual([
      2,
      `tessera: ${option} cannot be changed when a run is resumed: its value is in the checkpoint\n`,
    ]);
  }
});
