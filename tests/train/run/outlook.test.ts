// What a run says beforehand about its time, memory and disk, and the time that is left while it runs.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { overhead } from "../../../train/advice.ts";
import { notYet } from "../../../train/gan/start.ts";
import {
  beginRun,
  estimateStep,
  type Metrics,
  resumeRun,
  type RunNote,
  train,
} from "../../../train/index.ts";
import { inMinutes } from "../../../train/run/outlook.ts";
import { countWork, timesDue } from "../../../train/run/workload.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { free, ownRun, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-outlook-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixture = await runFixture(folder);

test("how often something is still due", () => {
  const due = (every: number, step: number, steps: number) => {
    let count = 0;
    for (let at = step + 1; at <= steps; at++) if (at % every === 0 || at === steps) count++;
    return count;
  };
  for (const every of [1, 3, 10]) {
    for (const step of [0, 1, 3, 9, 10]) {
      for (const steps of [10, 11, 12]) expect(timesDue(every, step, steps)).toBe(due(every, step, steps));
    }
  }
});

test("times in words", () => {
  expect([0.2, 40, 700, 3 * 3600 + 290, 5e5].map(inMinutes)).toEqual([
    "1 s",
    "40 s",
    "12 min",
    "3 h 05 min",
    "5.8 days",
  ]);
});

describe("the work of a step", () => {
  test("is that of the run's options, and counting leaves nothing behind", () =>
    expectNoLeak(async () => {
      const run = await beginRun(fixture.newRun()), { settings } = run;
      const { ratio, memory } = await countWork(settings, false, null);
      const shape = { batch: 2, height: 16, width: 16, precision: "f32" } as const;
      expect(memory / (await estimateStep(settings.model, shape)).peak / overhead).toBeCloseTo(1, 3);
      const plateau = { ...settings.model, lossconfig: { ...settings.model.lossconfig, discStart: notYet } };
      expect(await countWork({ ...settings, model: plateau }, false, null)).toEqual({ ratio, memory });
      const twice = await countWork({ ...settings, accumulate: 2 }, false, null);
      expect(twice.ratio / ratio).toBeGreaterThan(1.7); // Adam's part does not double
      expect(twice.ratio / ratio).toBeLessThan(2);
      const train = ["decoder"] as const;
      const part = await countWork({ ...settings, optimizer: { ...settings.optimizer, train } }, false, null);
      expect(part.ratio).toBeLessThan(0.8 * ratio);
      expect(part.memory).toBeLessThan(memory);
      free(run);
    }));
});

describe("a run", () => {
  type Estimate = Extract<RunNote, { kind: "estimate" }>;
  const lines = async (path: string) =>
    (await readFile(join(path, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) =>
      JSON.parse(line) as Metrics
    );

  test("says before its first step what it will take, and then how much is left", async () => {
    const run = await beginRun(fixture.newRun({ steps: 6, valEvery: 3 })), { path } = run.folder;
    const told: (Estimate & { text: string })[] = [], lefts: (number | undefined)[] = [];
    await train(run, {
      monitor: {
        log: () => {},
        update: (step, _text, left) => void (step > 0 && lefts.push(left)),
        note: (note) => {
          if (note.kind !== "estimate") return;
          told.push(note);
          expect(lefts.length).toBe(0);
        },
      },
    });
    free(run);
    expect(told.length).toBe(1);
    const [{ step, seconds, memory, disk, text }] = told;
    expect([step, memory]).toEqual([0, (await countWork(run.settings, false, null)).memory]);
    expect(seconds).toBeGreaterThan(0);
    expect(disk).toBeGreaterThan(1e5);
    expect(text).toMatch(
      /^estimate: about \d+ s for 6 steps of [\d.e-]+ s, 2 measurements, 1 sheet of pictures and 1 checkpoint; [\d.]+ MB of memory for tensors, [\d.]+ [kM]B on the disk$/,
    );
    expect(lefts.length).toBe(6);
    expect(lefts.every((left) => left! >= 0)).toBe(true);
    const logged = (await lines(path)).filter((line) => "lr" in line);
    // four pictures to train on, two in a step
    expect(logged.map(({ passes }) => passes)).toEqual([0.5, 1, 1.5, 2, 2.5, 3]);
    for (const { seconds_left } of logged) expect(seconds_left).toBeGreaterThanOrEqual(0);
  });

  test("that goes on foresees its time from before", async () => {
    const { path } = await ownRun(fixture, "again"), run = await resumeRun(path, { steps: 4 });
    await train(run);
    free(run);
    const note = run.notes.find((note): note is RunNote & Estimate => note.kind === "estimate")!;
    expect(note.step).toBe(2);
    const rates = (await lines(path)).slice(0, 3).flatMap(({ seconds_per_step: rate }) =>
      typeof rate === "number" ? [rate] : []
    );
    expect(note.seconds).toBeGreaterThanOrEqual(2 * Math.min(...rates));
    expect(note.text).toContain("2 steps of ");
  });
});
