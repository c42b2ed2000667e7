// A guarded run goes back when the GAN ruins its pictures, twice at most. Where it is interrupted makes no difference.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memory } from "../../../src/index.ts";
import {
  beginRun,
  defaultGan,
  defaultOptions,
  GuardError,
  readRunState,
  resumeRun,
  type Run,
  RunTakenError,
  train,
} from "../../../train/index.ts";
import { expectSameBits, free, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few for hundreds of steps

const folder = await mkdtemp(join(tmpdir(), "tessera-guard-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

/** A run whose GAN starts at step 33, with this constant weight. From 4 or so on the pictures are ruined. */
const begin = (fixedWeight: number, changes: object = {}) =>
  beginRun(newRun({
    ...{ steps: 66, saveEvery: 10, valEvery: 33, logEvery: 10, imageEvery: 25 },
    codebook: { ...defaultOptions.codebook, restartEvery: 9 },
    gan: { ...defaultGan, start: 33, fixedWeight, guard: true, ...changes },
  }));

/** Trains until the end, or until the signal ends it at a step. @returns what the guard said */
async function trained(run: Run, stop = Infinity): Promise<string[]> {
  const stopping = new AbortController();
  const update = (step: number) => step === stop && stopping.abort();
  try {
    await train(run, { monitor: { update, log: () => {} }, signal: stopping.signal });
  } finally {
    free(run);
  }
  return run.notes.flatMap(({ kind, text }) => kind === "guard" ? [text] : []);
}

const gentle = await begin(1.5);
const gentleSaid = await trained(gentle);
const returned = await begin(6);
const returnedSaid = await trained(returned);

test("it goes back twice, and then has the bits of a GAN that was a quarter as heavy from the start", async () => {
  expect(gentleSaid).toEqual([]);
  expect(returnedSaid.length).toBe(2);
  const told =
    /^step (\d+): rec_loss has jumped to 0\.\d{4}, \d\d % above its lowest value, 0\.\d{4} \(means over some steps\): back to step (\d+), and from there on the GAN counts (0\.\d+) times as much as at first$/;
  const parts = returnedSaid.map((text) => told.exec(text)!.slice(1).map(Number));
  expect(parts.map(([, to, scale]) => [to, scale])).toEqual([[30, 0.5], [30, 0.25]]);
  expect(parts.every(([step]) => step > 33 && step <= 66)).toBe(true);
  await expectSameBits(returned.folder.path, gentle.folder.path);
  // the same lines, each once, but for the weight itself
  const lines = async ({ folder: { path } }: Run) =>
    (await metricsOf(path)).map((line) => ({ ...line, "train/d_weight": 0, "train/disc_factor": 0 }));
  expect(await lines(returned)).toEqual(await lines(gentle));
  const images = await readdir(join(returned.folder.path, "images"));
  expect(images.sort()).toEqual((await readdir(join(gentle.folder.path, "images"))).sort());
});

test("wherever it is interrupted, it goes on with the same bits", async () => {
  for (const stops of [[40], [50, 35]]) {
    const run = await begin(6), { path } = run.folder, said = await trained(run, stops[0]);
    for (const stop of [...stops.slice(1), Infinity]) {
      said.push(...await trained(await resumeRun(path), stop));
    }
    expect(said).toEqual(returnedSaid);
    await expectSameBits(path, returned.folder.path);
    expect(await metricsOf(path)).toEqual(await metricsOf(returned.folder.path));
  }
});

test("a process that dies while it goes back, or before its last checkpoint is called good, changes nothing", async () => {
  const dying: Record<string, (run: Run) => void> = {
    "saved, with the metrics of the steps that were taken back": (run) => {
      const { rewind } = run.folder;
      run.folder.rewind = async function (step) {
        if (step === 30) throw new RunTakenError(run.folder.path, "the next process"); // after which nothing is written
        await rewind.call(this, step);
      };
    },
    "saved, but not called good": (run) => {
      const { keepLastAs } = run.folder;
      run.folder.keepLastAs = async function (name) {
        if (name === "maybe-good.safetensors" && run.trainer.step === 30) return;
        await keepLastAs.call(this, name);
      };
    },
  };
  for (const [moment, dies] of Object.entries(dying)) {
    const run = await begin(6), { path } = run.folder;
    dies(run);
    const said = await trained(run, 30).catch((error) => {
      if (!(error instanceof RunTakenError)) throw error;
      return run.notes.flatMap(({ kind, text }) => kind === "guard" ? [text] : []);
    });
    said.push(...await trained(await resumeRun(path)));
    expect([moment, said]).toEqual([moment, returnedSaid]);
    await expectSameBits(path, returned.folder.path);
  }
});

test("the third time it stops, with the run and its last good checkpoint saved, and nothing is left behind", async () => {
  const before = memory().liveTensors;
  const run = await begin(100), { folder } = run;
  let error: unknown;
  const said = await trained(run).catch((thrown) => {
    error = thrown;
    return run.notes.flatMap(({ kind, text }) => kind === "guard" ? [text] : []);
  });
  expect(memory().liveTensors).toBe(before);
  expect(said.length).toBe(2);
  if (!(error instanceof GuardError)) throw error;
  expect(error.message).toMatch(
    /^step \d+: rec_loss has jumped to .*, although the GAN counts only 0\.25 times as much since the run went back 2 times\. Training stopped, and step \d+ is saved\. The last good checkpoint is .*good\.safetensors: begin a new run from it, with/,
  );
  expect((await readRunState(folder.lastCheckpoint)).step).toBe(error.saved!);
  expect((await readRunState(error.good)).step).toBe(30);
  // it does not forget that it has stopped
  await expect(trained(await resumeRun(folder.path))).rejects.toThrow("since the run went back 2 times");
});

test("a jump without a GAN stops at once, because a gentler GAN would change nothing", async () => {
  const run = await begin(1, { start: 60 });
  const { trainStep } = run.trainer;
  run.trainer.trainStep = async function (batches) {
    if (this.step === 40) {
      this.model.decoder.conv_out.weight.assign(this.model.decoder.conv_out.weight.mul(8));
    }
    return await trainStep.call(this, batches);
  };
  await expect(trained(run)).rejects.toThrow(
    "before the discriminator had any influence, so a gentler GAN would change nothing",
  );
});

/** A run in which a weight becomes NaN at step 50, as often as it gets there, up to `times`. */
async function diverging(times: number, changes: object = {}): Promise<Run> {
  const run = await begin(1, changes), { trainStep } = run.trainer;
  run.trainer.trainStep = async function (batches) {
    if (this.step === 50 && times-- > 0) {
      this.model.decoder.conv_out.weight.assign(this.model.decoder.conv_out.weight.mul(NaN));
    }
    return await trainStep.call(this, batches);
  };
  return run;
}

test("numbers that are no longer finite are a reason to go back, too", async () => {
  const before = memory().liveTensors, run = await diverging(2);
  expect(await trained(run)).toEqual(
    ["0.5", "0.25"].map((scale) =>
      `step 60: train/total_loss is NaN: back to step 40, and from there on the GAN counts ${scale} times as much as at first`
    ),
  );
  expect(memory().liveTensors).toBe(before);
  const { step, last } = await readRunState(run.folder.lastCheckpoint);
  expect([step, Number.isFinite(last!.values["val/rec_loss"])]).toEqual([66, true]);
});

test("they end the run when going back cannot help: the third time, and without a GAN", async () => {
  for (const run of [await diverging(3), await diverging(1, { start: 60 })]) {
    await expect(trained(run)).rejects.toThrow(
      /^step \d+: train\/total_loss is NaN, so training stopped; the last good/,
    );
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(50);
  }
});

test("without a good checkpoint it stops and says so", async () => {
  const run = await begin(100);
  run.folder.keepLastAs = async () => {};
  await expect(trained(run)).rejects.toThrow(/there is no checkpoint to go back to: .*good\.safetensors/);
});
