// When a run ends, and which checkpoints it keeps: passes over the pictures, early stopping, the latest checkpoints, minutes.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  beginRun,
  defaultCodebook,
  type NewRun,
  ReportReader,
  resumeRun,
  type Run,
  type RunNote,
  train,
} from "../../../train/index.ts";
import { checkStopRule, observed, passesDone, whyStopped } from "../../../train/run/stopping.ts";
import { expectClose } from "../../support/expectations.ts";
import { expectSameBits, finish, free, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-course-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);
type Changes = Partial<NewRun["options"]>;
const begun = (changes: Changes) => beginRun(newRun({ codebook: defaultCodebook, ...changes }));
const checkpointsOf = async (path: string) => (await readdir(join(path, "checkpoints"))).sort();

/** Trains a run until a step. @returns its notes meanwhile */
async function trainUntil(run: Run, last: number): Promise<RunNote[]> {
  const controller = new AbortController(), notes: RunNote[] = [];
  const update = (step: number) => step === last && controller.abort();
  await train(run, {
    monitor: { update, log: () => {}, note: (note) => void notes.push(note) },
    signal: controller.signal,
  });
  free(run);
  return notes;
}

/** Gives measurements of a run this rec_loss. */
function measureAs(run: Run, lossAt: (step: number) => number): Run {
  const { evaluate } = run.trainer;
  run.trainer.evaluate = async function <T>(fn: () => Promise<T>): Promise<T> {
    const values = await evaluate.call(this, fn) as T & Record<string, number>;
    if ("val/rec_loss" in (values as object)) {
      Object.assign(values as object, { "val/rec_loss": lossAt(this.step) });
    }
    return values;
  };
  return run;
}

describe("passes over the pictures", () => {
  test("take the place of steps, and are counted", async () => {
    const run = await begun({ epochs: 2.5, batch: 2, accumulate: 2, val: 0 });
    expect([run.pictures.length, run.settings.steps]).toEqual([6, 4]); // 15 pictures, 4 a step
    const path = await finish(run);
    expectClose(
      (await metricsOf(path)).flatMap(({ passes }) => passes === undefined ? [] : Number(passes)),
      [4, 8, 12, 16].map((n) => n / 6),
      1e-12,
    );
    const resumed = await resumeRun(path, { epochs: 5 });
    expect(resumed.settings.steps).toBe(8);
    free(resumed);
    await expect(resumeRun(path, { epochs: 1 })).rejects.toThrow(
      "the run is at step 4, which at 4 pictures a step makes 2.67 passes over 6 pictures, so a total of 1 pass (2 steps) is too few: " +
        "choose more than 2.67 epochs",
    );
    await expect(resumeRun(path, { steps: 1 })).rejects.toThrow(
      "the run is at step 4, so a total of 1 step is too few: choose more than 4",
    );
    await expect(begun({ epochs: 0 })).rejects.toThrow("beginRun: epochs is 0, expected a number above 0");
    expect(passesDone({ length: 8, seed: 0, epoch: 3, position: 2 })).toBe(3.25);
  });
});

describe("early stopping", () => {
  test("counts measurements that are not better by more than noise, in the metric's direction", () => {
    const course = (metric: string, values: number[]) => {
      let patience = null as ReturnType<typeof observed> | null;
      return values.map((value, step) => {
        patience = observed({ metric, patience: 2 }, patience, step, { [metric]: value });
        return patience.waited;
      });
    };
    expect(course("val/rec_loss", [1, 0.9, 0.9, 0.8985, 0.89, 0.95])).toEqual([0, 0, 1, 2, 0, 1]);
    expect(course("seen/psnr", [20, 21, 20, 21.01, 22])).toEqual([0, 0, 1, 2, 0]);
    expect(course("seen/psnr", [20, Infinity, Infinity, 30])).toEqual([0, 0, 1, 2]);
    const equal = observed({ metric: "seen/psnr", patience: 2 }, null, 0, { "seen/psnr": Infinity });
    expect(JSON.parse(JSON.stringify(equal)).best).toBe(Number.MAX_VALUE); // as a checkpoint stores it
    const patience = { best: 0.5, step: 10, waited: 3 };
    expect(whyStopped({ metric: "val/rec_loss", patience: 3 }, patience)).toBe(
      "val/rec_loss has not got better for 3 measurements (the best was 0.5000 at step 10)",
    );
    expect(whyStopped({ metric: "val/rec_loss", patience: 4 }, patience)).toBe(null);
    expect(whyStopped(null, patience)).toBe(null);
  });

  const rule = { metric: "val/psnr", patience: 2 };
  // with a rate of almost nothing, the model does not get better
  const idle: Changes = { steps: 20, lr: 1e-12, valEvery: 2, val: 0.3, stopWhen: rule, batch: 1 };

  test("ends a run, whose checkpoint says so, with the same bits after an interruption", async () => {
    const run = await begun(idle), notes: RunNote[] = [];
    const outcome = await train(run, {
      monitor: { update: () => {}, log: () => {}, note: (note) => void notes.push(note) },
    });
    free(run);
    expect([outcome.step, outcome.interrupted]).toEqual([4, false]);
    expect(outcome.comparison).not.toBe(null);
    const ended = `"activity":"finished","why":"val/psnr has not got better for 2 measurements (`;
    expect(await readFile(outcome.report!, "utf8")).toContain(ended);
    expect(JSON.stringify(await new ReportReader(run.folder.path).read(() => null))).toContain(ended); // tessera watch
    const said = notes.find(({ kind }) => kind === "stopped");
    expect(said?.text).toMatch(
      /^step 4: the run ends, because val\/psnr has not got better for 2 measurements \(the best was [\d.]+ at step 0\)$/,
    );
    const other = await begun(idle);
    await trainUntil(other, 3);
    const report = await readFile(join(other.folder.path, "report.html"), "utf8");
    expect(report).toContain('"activity":"stopped","why":"it was interrupted","step":3');
    await finish(await resumeRun(other.folder.path));
    await expectSameBits(run.folder.path, other.folder.path);

    const finished = await resumeRun(run.folder.path);
    expect(finished.notes.at(-1)).toMatchObject({ kind: "finished", step: 4 });
    expect(finished.notes.at(-1)!.text).toMatch(
      /^the run is finished: val\/psnr has not got better for 2 measurements/,
    );
    expect((await train(finished)).step).toBe(4);
    free(finished);
  });

  test("can be put off, changed and left out when a run is resumed", async () => {
    const path = await finish(await begun(idle));
    const longer = await resumeRun(path, { stopWhen: { patience: 3 } });
    expect(longer.notes.map(({ text }) => text)).toContain(
      "the run ends when val/psnr has not got better for 3 measurements (before: when val/psnr has not got better for 2 " +
        "measurements)",
    );
    expect((await train(longer)).step).toBe(6);
    free(longer);
    const other = await resumeRun(path, { stopWhen: { metric: "seen/ssim" } });
    expect([other.settings.stopWhen, other.progress.patience]).toEqual([
      { metric: "seen/ssim", patience: 3 },
      null,
    ]);
    free(other);
    const never = await resumeRun(path, { stopWhen: null, steps: 9 });
    expect((await train(never)).step).toBe(9);
    free(never);
  });

  test("refuses metrics that there are not, with those that there are", async () => {
    expect(() => checkStopRule("beginRun", { metric: "psnr", patience: 1 })).toThrow(
      'beginRun: stopWhen: metric is "psnr", expected "val/rec_loss", "val/p_loss"',
    );
    expect(() => checkStopRule("beginRun", { metric: "val/psnr", patience: 0 })).toThrow("patience is 0");
    await expect(begun({ ...idle, val: 0 })).rejects.toThrow(
      "beginRun: stopWhen: val/psnr needs pictures kept back, and there are none: keep some, or use seen/psnr",
    );
    await expect(begun({ ...idle, stopWhen: { metric: "val/ssim", patience: 2 }, size: 8 })).rejects.toThrow(
      "beginRun: stopWhen: val/ssim needs pictures of 11x11 pixels or more, and there are only ones of 8x8: use val/psnr",
    );
  });
});

describe("checkpoints", () => {
  test("the latest stay beside the best one, and a resume goes on with them", async () => {
    const options = { steps: 9, saveEvery: 2, keep: 3, val: 0, valEvery: 100 };
    const run = measureAs(await begun(options), () => 1); // so that the first is the best
    await trainUntil(run, 5); // which saves step 5 too, though no save is due
    const { path } = run.folder,
      names = (...steps: number[]) => steps.map((step) => `step-00000${step}.safetensors`);
    expect(await checkpointsOf(path)).toEqual(["last.safetensors", ...names(2, 4)]);
    await rm(join(path, "checkpoints", names(2)[0])); // somebody needed the room
    await writeFile(join(path, "checkpoints", "step-000001.safetensors"), "mine");
    const resumed = measureAs(await resumeRun(path), () => 1);
    expect(resumed.progress.kept).toEqual(names(4));
    await finish(resumed);
    expect(await checkpointsOf(path)).toEqual(["last.safetensors", ...names(1, 6, 8, 9)]);
    const fewer = measureAs(await resumeRun(path, { steps: 10, keep: 1 }), () => 1);
    expect(fewer.notes.map(({ text }) => text)).toContain("latest checkpoints that stay: 1 (before: 3)");
    await finish(fewer);
    const left = ["last.safetensors", ...names(1), "step-000010.safetensors"];
    expect(await checkpointsOf(path)).toEqual(left);
    await rm(join(path, "checkpoints", "step-000010.safetensors")); // as if it was killed before it had this name
    free(await resumeRun(path));
    expect(await checkpointsOf(path)).toEqual(left);
  });

  test("the best one stays when it is no longer among the latest, and the other way round", async () => {
    const run = await begun({ steps: 6, saveEvery: 1, keep: 2, val: 0.3, valEvery: 1 });
    const losses = [9, 8, 7, 9, 6, 9, 9]; // by step; the best are 1, 2 and 4
    measureAs(run, (step) => losses[step]);
    await train(run);
    free(run);
    expect(run.progress.best?.file).toBe("step-000004.safetensors");
    expect(await checkpointsOf(run.folder.path)).toEqual([
      "last.safetensors",
      ...[4, 5, 6].map((step) => `step-00000${step}.safetensors`),
    ]);
  });

  test("are also written after some minutes", async () => {
    const options = { steps: 3, saveEvery: 100, val: 0, valEvery: 100, keep: 5 };
    const rarely = await begun(options), often = await begun({ ...options, saveMinutes: 1e-6 });
    await finish(rarely);
    await finish(often);
    expect((await checkpointsOf(rarely.folder.path)).length).toBe(2);
    expect((await checkpointsOf(often.folder.path)).length).toBe(4);
    await expectSameBits(rarely.folder.path, often.folder.path);
  });
});
