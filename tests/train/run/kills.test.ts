// Runs that are killed at random moments, whatever they are doing, and resumed: in the end they have the same bits, numbers and
// pictures as a run that nobody killed. TESSERA_KILLS=100 sets how many times (default 10); tests/train/run/kills.md has the
// log.
import { spawn } from "node:child_process";
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Random } from "../../../src/index.ts";
import { beginRun, readRunState } from "../../../train/index.ts";
import { killedRun, kinds } from "../../support/killed_runs.ts";
import { expectSameBits, finish, metricsOf, runFixture } from "../../support/runs.ts";

const kills = Number(process.env.TESSERA_KILLS ?? 10);
setDefaultTimeout(120_000 + 30_000 * kills);

const folder = await mkdtemp(join(tmpdir(), "tessera-kills-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
await runFixture(folder);

const script = fileURLToPath(new URL("../../support/killed.ts", import.meta.url));
const runner = process.versions.bun ? [script] : ["run", "-A", "--no-check", script];

/**
 * Begins or resumes a run in a process, and kills that some milliseconds after it has said a word, unless it ends before.
 */
async function live(
  kind: string,
  word: string,
  milliseconds: number,
): Promise<{ last: string; isDone: boolean; errors: string }> {
  const child = spawn(process.execPath, [...runner, folder, kind], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "", errors = "";
  child.stdout!.on("data", (part) => text += part);
  child.stderr!.on("data", (part) => errors += part);
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  while (!text.includes(word) && child.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  await ended;
  clearTimeout(timer);
  const lines = text.trim().split("\n"), last = lines.at(-1) || "starting";
  return { last, isDone: last === "done", errors };
}

test(`${kills} kills at random moments of training, resumed bit for bit`, async () => {
  const random = new Random(Number(process.env.TESSERA_KILLS_SEED ?? 11)), log: string[] = [];
  const moments = new Map<string, number>();
  let left = kills, runs = 0;
  while (left > 0) {
    const kind = Object.keys(kinds)[runs++ % 4], out = join(folder, "out");
    const straight = await finish(await beginRun(killedRun(folder, kind, join(folder, "straight"))));
    await mkdir(out, { recursive: true });
    for (let inThisRun = 0;;) {
      const isLast = left === 0 || inThisRun === 5;
      // one in seven is killed while it begins or is resumed
      const word = random.next() < 1 / 7 ? "starting" : "opened";
      const { last, isDone, errors } = await live(kind, word, isLast ? 600_000 : random.next() * 1500);
      expect(errors).toBe("");
      if (isDone) break;
      left--;
      inThisRun++;
      const [what] = last.split(" ");
      moments.set(what, (moments.get(what) ?? 0) + 1);
      log.push(`${kills - left}: ${kind}, ${last}`);
    }
    const names = (await readdir(out)).sort(), [killed] = names.slice(-1);
    const path = join(out, killed);
    await expectSameBits(path, straight);
    const states = await Promise.all(
      [path, straight].map((run) => readRunState(join(run, "checkpoints", "last.safetensors"))),
    );
    expect(states[0]).toEqual(states[1]);
    expect(await metricsOf(path)).toEqual(await metricsOf(straight));
    for (const kept of ["images", "checkpoints", "data", "."]) {
      expect([kept, (await readdir(join(path, kept))).sort()]).toEqual([
        kept,
        (await readdir(join(straight, kept))).sort(),
      ]);
    }
    for (
      const picture of [
        ...await readdir(join(path, "images")).then((all) => all.map((one) => join("images", one))),
        "before-after.png",
      ]
    ) {
      expect(await readFile(join(path, picture))).toEqual(await readFile(join(straight, picture)));
    }
    await rm(out, { recursive: true });
    await rm(join(folder, "straight"), { recursive: true });
  }
  const what = [...moments].sort(([, a], [, b]) => b - a).map(([what, n]) => `${n} while ${what}`).join(", ");
  console.log(`kills: ${kills} in ${runs} runs, ${what}`);
  if (kills > 10) console.log(log.join("\n"));
});
