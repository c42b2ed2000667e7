// A run saves before it ends, whatever the reason, and goes on without what training does not need.
import { spawnSync } from "node:child_process";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  beginRun,
  DivergedError,
  type NewRun,
  NotSavedError,
  readRunState,
  resumeRun,
  type Run,
  type RunNote,
  train,
  type TrainOutcome,
} from "../../../train/index.ts";
import { checkpointBytes } from "../../../train/run/checkpoint.ts";
import { expectSameBits, finish, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-ending-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { faces, newRun } = await runFixture(folder);

/** A run that saves only at its end, on pictures of its own. */
async function ownRun(
  name: string,
  changes: Partial<NewRun["options"]> = {},
): Promise<{ run: Run; data: string }> {
  const data = join(folder, name);
  await cp(faces, data, { recursive: true });
  return {
    run: await beginRun(newRun({ data: [data], steps: 6, saveEvery: 100, valEvery: 100, ...changes })),
    data,
  };
}

/** Trains, calls `act` after a step, and frees the run. */
async function trained(
  run: Run,
  act: (step: number) => void | Promise<void>,
): Promise<{ outcome: TrainOutcome | null; error: unknown; notes: RunNote[] }> {
  const notes: RunNote[] = [], { trainStep } = run.trainer;
  run.trainer.trainStep = async function (batches) {
    const result = await trainStep.call(this, batches);
    await act(this.step);
    return result;
  };
  const monitor = { update: () => {}, log: () => {}, note: (note: RunNote) => notes.push(note) };
  let outcome: TrainOutcome | null = null, error: unknown = null;
  try {
    outcome = await train(run, { monitor });
  } catch (thrown) {
    error = thrown;
  }
  run.trainer.dispose();
  run.trainer.model.dispose();
  return { outcome, error, notes };
}

const textsOf = (notes: readonly RunNote[], kind: RunNote["kind"]): string[] =>
  notes.filter((note) => note.kind === kind).map(({ text }) => text);

describe("a run that cannot go on", () => {
  test("saves when its pictures vanish, and continues with the same bits", async () => {
    const { run, data } = await ownRun("vanishing", { val: 0, accumulate: 2 });
    const straight = await finish((await ownRun("staying", { val: 0, accumulate: 2 })).run);
    const { error, notes } = await trained(run, async (step) => {
      if (step === 2) await rename(data, `${data}-away`);
    });
    expect(String(error)).toContain("none of the 6 pictures can be read");
    const { step } = await readRunState(run.folder.lastCheckpoint);
    expect(step).toBeGreaterThanOrEqual(2); // some were read ahead
    expect(step).toBeLessThan(6);
    expect(textsOf(notes, "saved")).toEqual([`step ${step} is saved: ${run.folder.lastCheckpoint}`]);
    expect(textsOf(notes, "skipped").at(-1)).toBe(
      "more pictures cannot be read; the end of the run has their number",
    );
    await expect(resumeRun(run.folder.path)).rejects.toThrow(
      /there is no file or folder .*vanishing.* If the pictures of the run were moved, say where they are: data/,
    );
    await rename(`${data}-away`, data);
    await finish(await resumeRun(run.folder.path));
    await expectSameBits(run.folder.path, straight);
  });

  test("saves when a step fails before it changes weights, and keeps the last checkpoint otherwise", async () => {
    const straight = await finish((await ownRun("calm", { val: 0, lpipsDropout: true })).run);
    const { run } = await ownRun("failing", { val: 0, lpipsDropout: true });
    const { trainer } = run, { call } = trainer.model.loss!.discriminator;
    let calls = 0;
    trainer.model.loss!.discriminator.call = function (x) {
      const logits = call.call(this, x); // the first call of a step is the generator's
      if (trainer.step === 3 && ++calls === 1) throw new Error("no memory");
      return logits;
    };
    const failed = await trained(run, () => {});
    expect(String(failed.error)).toContain("no memory");
    expect(trainer.isBroken).toBe(false);
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(3);
    await finish(await resumeRun(run.folder.path));
    await expectSameBits(run.folder.path, straight);

    const { run: broken } = await ownRun("broken", { val: 0, saveEvery: 2 });
    const { discriminator } = broken.trainer.optimizers, { step: update } = discriminator;
    discriminator.step = function () { // the autoencoder's weights have changed already
      if (broken.trainer.step === 3) throw new Error("the device was lost");
      update.call(this);
    };
    const { error, notes } = await trained(broken, () => {});
    expect(String(error)).toContain("the device was lost");
    expect(broken.trainer.isBroken).toBe(true);
    expect((await readRunState(broken.folder.lastCheckpoint)).step).toBe(2);
    expect(textsOf(notes, "unsaved")).toEqual([
      "the step that failed had changed some of the weights, and step 2 stays the last one that is saved",
    ]);
  });

  test("saves when the program that watches it fails", async () => {
    const { run } = await ownRun("watched", { val: 0 });
    const monitor = {
      log: () => {},
      update: (step: number) => {
        if (step === 4) throw new Error("the window was closed");
      },
    };
    await expect(train(run, { monitor })).rejects.toThrow("the window was closed");
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(4);
    expect(await readdir(run.folder.path)).not.toContain("lock.json");
  });

  test("does not save weights that are no numbers", async () => {
    const { run, data } = await ownRun("sick", { val: 0, saveEvery: 2, logEvery: 100 });
    const { error } = await trained(run, async (step) => {
      if (step !== 3) return;
      const { weight } = run.trainer.model.decoder.conv_out;
      weight.write(new Float32Array(weight.size).fill(NaN));
      await rm(data, { recursive: true });
    });
    expect(error).not.toBe(null);
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(2);
    expect(DivergedError.name).toBe("DivergedError");
  });
});

describe("a run goes on", () => {
  test("without a validation folder that vanishes, and says so once", async () => {
    const val = join(folder, "val");
    await cp(faces, val, { recursive: true });
    const { run } = await ownRun("validated", { val, valEvery: 1 });
    const { outcome, notes } = await trained(run, async (step) => {
      if (step === 2) await rm(val, { recursive: true });
    });
    expect(outcome?.step).toBe(6);
    const failed = textsOf(notes, "failed");
    expect(failed[0]).toMatch(
      /^step 2: validation failed: none of the 6 pictures can be read; .*\. Training goes on\.$/,
    );
    expect(failed).toContain("validation failed 5 times, the first time at step 2");
    expect(outcome?.failures[0]).toMatchObject({ what: "validation", times: 5, first: { step: 2 } });
    expect(outcome?.after).toEqual(
      (await metricsOf(run.folder.path)).filter((m) => m["val/psnr"]).map((m) => {
        const { step: _step, epoch: _epoch, ...values } = m;
        return values;
      }).at(-1) as never,
    );
  });

  test("without pictures that cannot be read, wherever they are in the list", async () => {
    for (const [name, val] of [["train-last", 0], ["val-last", "folder"]] as const) {
      const data = join(folder, name);
      await mkdir(data);
      for (const [from, to] of [["0.png", "a.png"], ["1.png", "b.png"]]) {
        await cp(join(faces, from), join(data, to));
      }
      await writeFile(join(data, "z.png"), "");
      const options = {
        data: [val === 0 ? data : faces],
        val: val === 0 ? 0 : data,
        valEvery: 1,
        steps: 3,
        imageEvery: 1,
      };
      const run = await beginRun(newRun(options));
      const { outcome, error, notes } = await trained(run, () => {});
      expect([error, outcome?.failures]).toEqual([null, []]);
      expect(outcome?.comparison).toBe(run.folder.comparison);
      expect(textsOf(notes, "skipped")).toEqual([
        `skipped ${join(data, "z.png")}: the file is empty (0 bytes)`,
      ]);
      const measured = notes.filter((note) => note.kind === "measured");
      expect(measured.map(({ values }) => values["val/pictures"])).toEqual(val === 0 ? [] : [2, 2, 2, 2]);
      for (const { text } of measured) expect(text).toContain("on 2 pictures");
    }
  });

  test("without metrics and sheets that cannot be written, and writes what it can later", async () => {
    const { run } = await ownRun("blocked", { val: 0, imageEvery: 1 });
    const metrics = join(run.folder.path, "metrics.jsonl"), images = join(run.folder.path, "images");
    const { outcome, notes } = await trained(run, async (step) => {
      if (step === 2) {
        await rename(metrics, `${metrics}.away`);
        await mkdir(metrics);
        await rm(images, { recursive: true });
        await writeFile(images, "");
      }
      if (step === 5) {
        await rm(metrics, { recursive: true });
        await rename(`${metrics}.away`, metrics);
        await rm(images);
      }
    });
    expect(outcome?.step).toBe(6);
    expect(textsOf(notes, "failed")).toEqual([
      expect.stringMatching(/^step 2: metrics could not be written: .*metrics.jsonl.*\. Training goes on\.$/),
      expect.stringMatching(
        /^step 2: the sheet of pictures could not be made: .*images.*\. Training goes on\.$/,
      ),
      expect.stringContaining("before-after.png could not be drawn"),
      expect.stringMatching(/^metrics could not be written \d times, the first time at step 2$/),
      expect.stringMatching(/^the sheet of pictures could not be made \d times, the first time at step 2$/),
    ]);
    const steps = (await metricsOf(run.folder.path)).filter((m) => m.lr !== undefined).map(({ step }) =>
      step
    );
    expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await readdir(images)).toContain("step-000006.png");
  });

  test("where folders have the names of its files, which it leaves alone", async () => {
    const options = { steps: 2, saveEvery: 1, imageEvery: 1 };
    const straight = await finish((await ownRun("unspoilt", { ...options, steps: 4, valEvery: 1 })).run);
    const { run } = await ownRun("spoilt", { ...options, valEvery: 1 }), path = await finish(run);
    const spoilt = [
      "images/step-000003.png",
      "before-after.png",
      "ending.json",
      "checkpoints/step-000003.safetensors",
    ];
    for (const name of spoilt) {
      await rm(join(path, name), { force: true });
      await mkdir(join(path, name, "inside"), { recursive: true });
    }
    const { outcome, notes } = await trained(await resumeRun(path, { steps: 4, valEvery: 1 }), () => {});
    expect(outcome?.step).toBe(4);
    const told = textsOf(notes, "failed").filter((text) => !text.includes(" times, "));
    const refused = (what: string, name: string, done: string) =>
      expect.stringMatching(
        new RegExp(
          `^step \\d: ${what}: ${
            join(path, name)
          } was not ${done} \\(E[A-Z]+\\): a folder of this name is there; move it away, ` +
            "or choose another name\\. Training goes on\\.$",
        ),
      );
    expect(told).toEqual([
      refused("what later steps had left could not be removed", "ending.json", "removed"),
      refused("the sheet of pictures could not be made", "images/step-000003.png", "written"),
      refused("the best checkpoint could not be kept", "checkpoints/step-000003.safetensors", "removed"),
      refused("before-after.png could not be drawn", "before-after.png", "written"),
      refused("report.html could not be written", "ending.json", "written"),
    ]);
    for (const name of spoilt) expect(await readdir(join(path, name))).toEqual(["inside"]);
    await expectSameBits(path, straight);
  });

  test("when a checkpoint cannot be written, and ends with an error if the last one cannot either", async () => {
    const { run } = await ownRun("full", { val: 0, saveEvery: 1 });
    const checkpoints = join(run.folder.path, "checkpoints");
    const block = async () => {
      await rename(checkpoints, `${checkpoints}.away`);
      await writeFile(checkpoints, "");
    };
    const unblock = async () => {
      await rm(checkpoints);
      await rename(`${checkpoints}.away`, checkpoints);
    };
    const first = await trained(run, async (step) => {
      if (step === 2) await block();
      if (step === 5) await unblock();
    });
    expect(first.error).toBe(null);
    expect(textsOf(first.notes, "unsaved")).toEqual([
      expect.stringMatching(
        /^warning: step 2 could not be saved: .*checkpoints.*\. It is tried again every minute; step 1 is the last one that is saved$/,
      ),
    ]);
    expect(textsOf(first.notes, "saved")).toEqual(["step 5 is saved, after 3 failed attempts"]);

    const resumed = await resumeRun(run.folder.path, { steps: 8 });
    const { error } = await trained(resumed, async (step) => {
      if (step === 7) await block();
    });
    expect(error).toBeInstanceOf(NotSavedError);
    expect(String(error)).toMatch(
      /step 8 could not be saved: .*\. .*last.safetensors is of step 6, and what came after is lost/,
    );
    await unblock();
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(6);
  });
});

const disk = join(folder, "disk");
await mkdir(disk);
const mounted = (size: string) =>
  spawnSync("bash", ["-c", `mount -t tmpfs -o size=${size} tmpfs ${disk}`]).status === 0;
const unmount = () => spawnSync("umount", [disk]);
if (!mounted("4m")) {
  console.log("ending: no small disk can be mounted here, so full ones are not tested (run as root)");
} else {
  unmount();
  describe("a disk that is full", () => {
    test("is noticed before a run begins, which leaves nothing behind", async () => {
      expect(mounted("1m")).toBe(true);
      try {
        const out = join(disk, "runs");
        await expect(beginRun({ ...newRun({ steps: 1, valEvery: 1 }), out })).rejects.toThrow(
          new RegExp(`^a checkpoint takes .* MB, but the disk of ${out} has only .* left: make room there$`),
        );
        await expect(beginRun({ ...newRun({ steps: 4, saveEvery: 1 }), out })).rejects.toThrow(
          /^two checkpoints, one of which replaces the other, take .* MB, but the disk of .* left: make room there$/,
        );
        expect(await readdir(disk)).toEqual([]);
      } finally {
        unmount();
      }
    });

    test("leaves no folder behind whose lock, config or list cannot be written", async () => {
      for (const inodes of [3, 4, 5]) {
        expect(mounted(`8m,nr_inodes=${inodes}`)).toBe(true);
        try {
          const out = join(disk, "runs");
          await expect(beginRun({ ...newRun(), out })).rejects.toThrow(
            /(lock\.json|config\.json|data|\.jsonl) was not (written|made) \(ENOSPC\): the disk is full; make room/,
          );
          expect(await readdir(out)).toEqual([]);
        } finally {
          unmount();
        }
      }
    });

    test("while training: the last checkpoint stays, the rest is told once, and the end is saved if there is room", async () => {
      const probe = await beginRun(newRun({ val: 0 }));
      const bytes = checkpointBytes(probe.trainer);
      probe.folder.release();
      probe.trainer.model.dispose();
      // room for two checkpoints; a file takes what is left
      expect(mounted(`${2 * bytes + 2 ** 21}`)).toBe(true);
      try {
        const run = await beginRun({
          ...newRun({ val: 0, steps: 7, saveEvery: 1, valEvery: 100, imageEvery: 1 }),
          out: disk,
        });
        const filler = join(disk, "filler");
        const { outcome, notes, error } = await trained(run, async (step) => {
          if (step === 3) spawnSync("bash", ["-c", `cat /dev/zero > ${filler}`]);
          if (step === 6) await rm(filler);
        });
        expect([error, outcome?.step]).toEqual([null, 7]);
        expect(textsOf(notes, "unsaved")[0]).toMatch(
          /step 3 could not be saved: a checkpoint takes .* MB, but the disk of .* has only .* left: make room there/,
        );
        expect(textsOf(notes, "saved")).toEqual(["step 6 is saved, after 3 failed attempts"]);
        const whats = notes.flatMap((note) => note.kind === "failed" ? [note.what] : []);
        expect(whats).toContain("pictures");
        expect(notes.some(({ text }) => text.includes("(ENOSPC): the disk is full; make room"))).toBe(true);
        const lines = await metricsOf(run.folder.path);
        expect(lines.filter((m) => m.lr !== undefined).map(({ step }) => step)).toEqual([
          1,
          2,
          3,
          4,
          5,
          6,
          7,
        ]);
        await stat(run.folder.lastCheckpoint);
      } finally {
        unmount();
      }
    });
  });
}
