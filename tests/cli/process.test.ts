// The command line in its own processes: exit codes, closed pipes, kills and Ctrl-C.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { writeCartoonFaces } from "../../data/index.ts";
import { commandFixture, ended, start, tessera } from "../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("as a process", () => {
  test("exit codes", async () => {
    const answers = await Promise.all([ended(start("finetun")), ended(start("inspect", "no.ckpt"))]);
    expect(answers.map(({ code }) => code)).toEqual([2, 1]);
    expect(answers[1].err).toBe("tessera: no.ckpt: there is no such file; check the path\n");
  });

  test("a reader that closes the pipe ends it silently", async () => {
    for (const words of [["finetune", "--help"], ["inspect", "--tensors", model]]) {
      const child = start(...words), end = ended(child);
      child.stdout!.destroy();
      const { code, err } = await end;
      expect({ code, err }).toEqual({ code: 0, err: "" });
    }
  });

  test("encode continues after kills, with nothing repeated and nothing missing", async () => {
    const many = join(folder, "many"),
      out = join(folder, "killed.parquet"),
      whole = join(folder, "calm.parquet");
    await writeCartoonFaces(many, 40, 48, 2);
    const words = (path: string) => ["encode", "-m", model, "--size", "96", "--batch", "2", "-o", path, many];
    const lines = async () =>
      (await readFile(`${out}.partial`, "utf8").catch(() => "")).split("\n").length - 1;
    for (let kills = 0; kills < 4; kills++) {
      const before = await lines(), child = start(...words(out)), end = ended(child);
      while (await lines() < before + 3 + kills && child.exitCode === null) {
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
      child.kill("SIGKILL");
      expect((await end).code).not.toBe(0);
    }
    const { code, out: text } = await ended(start(...words(out)));
    expect(code).toBe(0);
    expect(text).toMatch(/continuing: \d+ pictures in .*killed\.parquet\.partial/);
    await tessera(...words(whole));
    expect(await readFile(out)).toEqual(await readFile(whole));
    expect((await readdir(folder)).filter((name) => /partial|\.tmp$/.test(name))).toEqual([]);

    const child = start(...words(join(folder, "stopped.tsv"))), end = ended(child);
    const journal = () => readFile(join(folder, "stopped.tsv.partial"), "utf8").catch(() => "");
    while ((await journal()).split("\n").length < 3 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    child.kill("SIGINT");
    const stopped = await end;
    expect(stopped.code).toBe(130);
    expect(stopped.out).toMatch(/the same command continues after \d+ pictures?/);
  });

  test("Ctrl-C stops within one large picture, and leaves nothing half-written", async () => {
    const large = join(folder, "large.png"), tokens = join(folder, "large.jsonl");
    await sharp({ create: { width: 1024, height: 1024, channels: 3, background: "#345" } }).png().toFile(
      large,
    );
    const row = { file: "large.png", grid: [512, 512], encoding: Array(512 * 512).fill(1) };
    await writeFile(tokens, JSON.stringify(row));
    const at = (name: string) => join(folder, "stopped", name);
    const commands: [string[], string][] = [
      [["encode", "--size", "0", "-o", at("t.parquet"), large], "stopped before the first picture"],
      [["reconstruct", "--size", "0", "-o", at("sheets"), large], "stopped after 0 pictures in "],
      [["decode", "-o", at("decoded"), tokens], "stopped after 0 of 1 picture in "],
    ];
    for (const [words, message] of commands) {
      const child = start(...words, "-m", model), end = ended(child);
      let seen = "";
      child.stdout?.on("data", (text) => seen += text);
      while (!seen.includes("take about") && child.exitCode === null) await sleep(20);
      await sleep(300);
      child.kill("SIGINT");
      const { code, out } = await end;
      expect([words[0], code]).toEqual([words[0], 130]);
      expect(out).toMatch(/large\.png: 1024x1024 pixels take about .*\d [GM]B; Ctrl-C stops at any time/);
      expect(out).toContain(message);
    }
    const left = await readdir(join(folder, "stopped"), { recursive: true }).catch(() => []);
    expect(left).toEqual([]);
  });

  test("Ctrl-C saves and stops, and the run can be continued; a second one stops at once", async () => {
    const out = join(folder, "interrupted");
    await mkdir(out);
    const words = [...tinyRun, "--steps", "100000", "--log-every", "1", "--image-every", "100000"];
    const child = start(...words.with(words.indexOf(join(folder, "runs")), out));
    const answer = ended(child);
    const metrics = async () => {
      const [run] = await readdir(out);
      return run ? await readFile(join(out, run, "metrics.jsonl"), "utf8").catch(() => "") : "";
    };
    while (!(await metrics()).includes('"step":2,') && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    child.kill("SIGINT");
    const { code, out: text } = await answer;
    expect(code).toBe(130);
    expect(text).toContain("press Ctrl-C again to leave at once");
    const [, step, run] = /saved step (\d+); continue with: .*cli\.ts finetune --resume (.*)/.exec(text)!;
    await mkdir(faces, { recursive: true });
    const resumed = await tessera("finetune", "--resume", run, "--steps", String(Number(step) + 1));
    expect(resumed.code).toBe(0);
    expect(resumed.out).toContain(`at step ${step} of ${Number(step) + 1}`);
    const changed = await tessera("finetune", "--resume", run, "--flip");
    expect([changed.code, changed.err]).toEqual([
      2,
      expect.stringContaining("--flip cannot be changed when a run is resumed"),
    ]);

    const again = start("finetune", "--resume", run, "--steps", "100000");
    const end = ended(again);
    let seen = "";
    again.stdout?.on("data", (text) => seen += text);
    while (!seen.includes("run folder")) await new Promise((resolve) => setTimeout(resolve, 20));
    again.kill("SIGINT");
    setTimeout(() => again.kill("SIGINT"), 10);
    expect((await end).code).toBe(130);
  });
});
