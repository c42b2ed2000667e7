// A resumed run: which options may change, what is announced, and what is as after a run without an interruption.
import { Buffer } from "node:buffer";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { readImage, savePng } from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { Random } from "../../../src/index.ts";
import {
  beginRun,
  learningRate,
  type NewRun,
  type ResumeChanges,
  resumeRun,
  type Run,
  saveWeights,
  train,
} from "../../../train/index.ts";
import { fillState } from "../../support/goldens.ts";
import { blob, expectSameBits, finish, free, metricsOf, ownRun, runFixture } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-resume-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixture = await runFixture(folder), { newRun } = fixture;

const own = (name: string, changes: Partial<NewRun["options"]> = {}) => ownRun(fixture, name, changes);

/** What resuming says, without the first line. */
async function told(path: string, changes: ResumeChanges = {}): Promise<string[]> {
  const run = await resumeRun(path, changes);
  free(run);
  return run.notes.slice(1).map(({ text }) => text);
}

describe("the options of a resumed run", () => {
  test("take effect, keep the optimizers, and are announced", async () => {
    const { path } = await own("options", { val: 0 });
    const changes = {
      steps: 6,
      batch: 1,
      accumulate: 3,
      lr: 5e-4,
      logEvery: 2,
      saveEvery: 3,
      imageEvery: 5,
      valEvery: 7,
    };
    const run = await resumeRun(path, changes);
    expect(run.notes.map(({ kind }) => kind)).toEqual(["resumed", ...Array(8).fill("changed")]);
    expect(run.notes.map(({ text }) => text)).toEqual([
      `resuming ${join(path, "checkpoints", "last.safetensors")} at step 2 of 6`,
      "steps in all: 6 (before: 2)",
      "pictures per batch: 1 (before: 2)",
      "batches per step: 3 (before: 1)",
      "steps between lines of metrics: 2 (before: 1)",
      "steps between sheets of pictures: 5 (before: 250)",
      "steps between measurements: 7 (before: 1)",
      "steps between checkpoints: 3 (before: 500)",
      "learning rate of the next step: 0.000500 (before: 0.00100)",
    ]);
    const { trainer } = run, moments = [...trainer.optimizers.generator.state().values()];
    expect(moments.length).toBeGreaterThan(10);
    expect(moments.every(({ step }) => step === 2)).toBe(true);
    let seen = 0;
    const { trainStep } = trainer;
    trainer.trainStep = async function (batches) {
      expect(batches.map(({ shape }) => shape)).toEqual(Array(3).fill([1, 16, 16, 3]));
      expect(this.lr).toBe(5e-4);
      seen++;
      return await trainStep.call(this, batches);
    };
    await finish(run);
    expect(seen).toBe(4);
    expect(JSON.parse(await readFile(join(path, "config.json"), "utf8"))).toMatchObject(changes);
    expect(await told(path)).toEqual(["the run is finished: it has all its 6 steps"]);
  });

  test("never make the learning rate jump without a word", async () => {
    const { path } = await own("cosine", { val: 0, steps: 4, decay: "cosine" });
    const rate = (steps: number) =>
      learningRate({ lr: 1e-3, warmup: 0, decay: "cosine", steps }, 4).toPrecision(3);
    expect(rate(8)).toBe("0.000500");
    expect(await told(path, { steps: 8 })).toEqual([
      "steps in all: 8 (before: 4)",
      "learning rate of the next step: 0.000500 (before: 0.00), because the cosine now ends at step 8",
    ]);
    expect(await told(path, { steps: 8, batch: 1 })).toContain("pictures per batch: 1 (before: 2)");
    const { path: constant } = await own("constant", { val: 0 });
    expect(await told(constant, { steps: 4 })).toEqual(["steps in all: 4 (before: 2)"]);
    expect(await told(constant, { steps: 4, accumulate: 2 })).toEqual([
      "steps in all: 4 (before: 2)",
      "batches per step: 2 (before: 1)",
      "the learning rate stays 0.00100, although a step has 4 pictures (before: 2)",
    ]);
    await expect(resumeRun(constant, { steps: 1 })).rejects.toThrow(
      "the run is at step 2, so a total of 1 step is too few",
    );
  });

  test("give the perceptual network other weights, add one, or leave it out", async () => {
    const files: string[] = [];
    for (const seed of [1, 2]) {
      const donor = new VQGAN(smallConfig({ perceptualWeight: 1 }), new Random(seed), { withLoss: true });
      fillState(donor.loss!.perceptual_loss!.stateDict(), `loss.perceptual_loss.${seed}`);
      files.push(join(folder, `lpips-${seed}.safetensors`));
      await saveWeights(files.at(-1)!, donor);
      donor.dispose();
    }
    const weightOf = async (run: Run) =>
      (await run.trainer.model.loss?.perceptual_loss?.stateDict().get("lin0.model.1.weight")?.floats())?.[0];
    const data = join(folder, "faces"),
      options = newRun({ data: [data], steps: 1, size: 32, valEvery: 1, val: 0.3 });
    const path = await finish(await beginRun({ ...options, perceptual: [files[0]] }));
    const same = await resumeRun(path, { steps: 2 }), old = await weightOf(same);
    free(same);
    const other = await resumeRun(path, { steps: 2, perceptual: [files[1]] });
    expect(other.notes.map(({ text }) => text)).toEqual(expect.arrayContaining([
      `perceptual network: LPIPS on SqueezeNet 1.1, from ${files[1]}`,
      "measurements begin again, because the perceptual network has changed",
    ]));
    expect(old).not.toBe(undefined);
    expect(await weightOf(other)).not.toBe(old);
    expect(other.trainer.optimizers.generator.state().size).toBeGreaterThan(10);
    await finish(other);
    const none = await resumeRun(path, { steps: 3, perceptual: "none" });
    expect(none.notes.map(({ text }) => text)).toContain("perceptual network: none (only L1 and GAN losses)");
    expect(none.trainer.model.loss?.perceptual_loss ?? null).toBe(null);
    await finish(none);
    const lines = await metricsOf(path);
    const p = (step: number) =>
      lines.find((m) => m.step === step && m["train/p_loss"] !== undefined)!["train/p_loss"];
    expect([p(1), p(2)].every((loss) => Number(loss) > 0)).toBe(true);
    expect(p(3)).toBe(0);
    const again = await resumeRun(path, { steps: 4, perceptual: [files[0]] });
    expect(await weightOf(again)).toBe(old);
    free(again);
  });
});

describe("after a resume", () => {
  test("the first measurements and the first pictures are those of the run", async () => {
    const options = { steps: 4, valEvery: 2 };
    const whole = await own("uninterrupted", options);
    const { path } = await own("interrupted", { ...options, steps: 2 });
    const halfway = await readFile(join(path, "before-after.png"));
    const run = await resumeRun(path, { steps: 4 });
    const { before, after, comparison } = await train(run);
    free(run);
    const [first, last] = [0, 4].map((step) => (line: Record<string, unknown>) =>
      line.step === step && line["val/psnr"]
    );
    const lines = await metricsOf(path);
    expect([before?.["val/psnr"], after?.["val/psnr"]]).toEqual([
      lines.find(first)!["val/psnr"] as number,
      lines.find(last)!["val/psnr"] as number,
    ]);
    expect(comparison).toBe(join(path, "before-after.png"));
    const [drawn, wanted] = await Promise.all(
      [path, whole.path].map((run) => readImage(join(run, "before-after.png"))),
    );
    expect(Buffer.compare(drawn.pixels, wanted.pixels)).toBe(0);
    expect(Buffer.compare(await readFile(join(path, "before-after.png")), halfway)).not.toBe(0);

    // a finished run draws it again
    await rm(join(path, "before-after.png"));
    const finished = await resumeRun(path);
    expect(finished.notes.at(-1)).toMatchObject({ kind: "finished", step: 4 });
    const outcome = await train(finished);
    free(finished);
    expect([outcome.interrupted, outcome.before, outcome.after]).toEqual([false, before, after]);
    expect(Buffer.compare((await readImage(outcome.comparison!)).pixels, wanted.pixels)).toBe(0);
  });

  test("samples are matched by their path and not by their place", async () => {
    const { path, data } = await own("matched", { val: 0, steps: 2 });
    await rm(join(data, "1.png"));
    await savePng(join(data, "00.png"), blob(50, 32));
    const run = await resumeRun(path, { steps: 3 });
    expect(run.samples.paths.map((path) => basename(path))).toEqual([
      "0.png",
      "2.png",
      "3.png",
      "4.png",
      "5.png",
      "00.png",
    ]);
    await train(run);
    const sheet = await readImage(join(path, "images", "step-000000.png"));
    const pair = await readImage(join(path, "before-after.png"));
    free(run);
    // five pictures were in both sheets: one column, in which "before" is the second row of the first sheet
    const tile = (picture: typeof sheet, column: number, top: number) =>
      Array.from({ length: 16 }, (_, y) => {
        const at = ((top + y) * picture.width + 4 + column * 20) * 3;
        return [...picture.pixels.subarray(at, at + 48)];
      });
    const band = pair.height - (5 * 20 + 4);
    ["0.png", "2.png", "3.png", "4.png", "5.png"].forEach((name, row) => {
      const column = Number(name[0]);
      expect(tile(pair, 1, band + 4 + row * 20)).toEqual(tile(sheet, column, 24));
    });
  });

  test("an interruption inside a validation is made up for", async () => {
    const straight = await own("measured", { steps: 4, valEvery: 2 });
    const data = join(folder, "measured");
    const run = await beginRun(newRun({ data: [data], steps: 4, valEvery: 2 }));
    const controller = new AbortController(), { once } = run.validation!;
    let passes = 0;
    run.validation!.once = function (size) {
      if (++passes === 2) {
        controller.abort();
        throw controller.signal.reason;
      }
      return once.call(this, size);
    };
    const outcome = await train(run, { signal: controller.signal });
    expect([outcome.interrupted, outcome.step]).toEqual([true, 2]);
    free(run);
    await finish(await resumeRun(run.folder.path));
    expect(await metricsOf(run.folder.path)).toEqual(await metricsOf(straight.path));
    await expectSameBits(run.folder.path, straight.path);
  });

  test("an interruption before the first step begins the run again", async () => {
    const straight = await own("early", { steps: 3 });
    for (const stage of ["codebook", "validation"] as const) {
      const run = await beginRun(newRun({ data: [join(folder, "early")], steps: 3 }));
      const controller = new AbortController();
      const stop = () => {
        controller.abort();
        throw controller.signal.reason;
      };
      if (stage === "codebook") {
        run.pictures.batches = async function* () {
          stop();
          yield* [];
        };
      } else run.validation!.once = stop;
      const outcome = await train(run, { signal: controller.signal });
      expect([outcome.interrupted, outcome.step]).toEqual([true, 0]);
      free(run);
      await finish(await resumeRun(run.folder.path));
      expect(await metricsOf(run.folder.path)).toEqual(await metricsOf(straight.path));
      await expectSameBits(run.folder.path, straight.path);
    }
  });
});
