// The GAN in a run: it starts when it should and says so, and a run that is interrupted goes on with the same bits.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configOf, openCheckpoint } from "../../../data/index.ts";
import { beginRun, checkpointOf, defaultGan, type NewRun, resumeRun, train } from "../../../train/index.ts";
import { expectSameBits, finish, free, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-gan-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

/** Begins a run, stops it after each of these steps, and goes on. @returns its folder and what it said of its GAN */
async function trained(
  changes: Partial<NewRun["options"]>,
  stops: readonly number[] = [],
): Promise<{ path: string; said: string[] }> {
  const said: string[] = [];
  let run = await beginRun(newRun(changes));
  const path = run.folder.path;
  for (const stop of [...stops, Infinity]) {
    const stopping = new AbortController();
    const update = (step: number) => step === stop && stopping.abort();
    await train(run, { monitor: { update, log: () => {} }, signal: stopping.signal });
    said.push(...run.notes.flatMap(({ kind, text }) => kind === "gan" ? [text] : []));
    free(run);
    if (stop < Infinity) run = await resumeRun(path);
  }
  return { path, said };
}

/** discStart as the last checkpoint has it. */
async function startOf(run: string): Promise<number> {
  const file = await openCheckpoint(await checkpointOf(run));
  await file.close();
  return configOf(file).config.lossconfig.discStart;
}

test("all terms go on with the same bits after interruptions, and each change is said once", async () => {
  const changes = {
    steps: 8,
    valEvery: 3,
    gan: { ...defaultGan, start: "25%", warmup: 2, ramp: 3, lecam: 0.5, maxWeight: 2 },
  };
  const whole = await trained(changes), parts = await trained(changes, [1, 3, 6]);
  await expectSameBits(whole.path, parts.path);
  expect(await metricsOf(whole.path)).toEqual(await metricsOf(parts.path));
  expect(await startOf(whole.path)).toBe(2);
  expect(whole.said).toEqual([
    "the discriminator starts at step 2 (25%); its gradient reaches the autoencoder from step 4 on, and in full from step 7 on",
    "step 2: the discriminator starts, and learns alone for 2 steps",
    "step 4: the discriminator has learnt alone for 2 steps: its gradient reaches the autoencoder, and gains influence over 3 steps",
    "step 7: the discriminator counts in full",
  ]);
  expect(parts.said.filter((text) => text.startsWith("step"))).toEqual(whole.said.slice(1));
  const factors = (await metricsOf(whole.path)).flatMap((line) => line["train/disc_factor"] ?? []);
  expect(factors.map((factor) => Math.round(3 * Number(factor)))).toEqual([0, 0, 0, 0, 1, 2, 3, 3]);
});

test("at a plateau the discriminator starts, wherever the run is interrupted", async () => {
  // a rate at which nothing is learnt
  const changes = { steps: 6, lr: 1e-9, valEvery: 1, gan: { ...defaultGan, start: "plateau", warmup: 2 } };
  const whole = await trained(changes);
  expect(whole.said).toEqual([
    "the discriminator starts when rec_loss has fallen by less than 1 % in 2 measurements, 1 step apart; it then learns alone for 2 steps",
    "step 2: rec_loss has fallen by less than 1 % in 2 measurements",
    "step 2: the discriminator starts, and learns alone for 2 steps",
    "step 4: the discriminator has learnt alone for 2 steps: its gradient reaches the autoencoder",
  ]);
  expect(await startOf(whole.path)).toBe(2);
  const metrics = await metricsOf(whole.path);
  const learns = metrics.flatMap((line) =>
    line["train/disc_loss"] === undefined ? [] : [line["train/disc_loss"] !== 0]
  );
  expect(learns).toEqual([false, false, true, true, true, true]);
  expect(metrics.flatMap((line) => line["val/disc_factor"] ?? [])).toEqual([0, 0, 0, 1, 1, 1, 1]);
  for (const stop of [1, 2, 3]) {
    const parts = await trained(changes, [stop]);
    await expectSameBits(whole.path, parts.path);
    expect(await metricsOf(parts.path)).toEqual(metrics);
  }
});

test("a plateau that never comes is said at the end", async () => {
  const path = await finish(
    await beginRun(newRun({ steps: 2, val: 0, valEvery: 2, gan: { ...defaultGan, start: "plateau" } })),
  );
  const run = await resumeRun(path, { steps: 4 });
  const said: string[] = [];
  await train(run, { monitor: { update: () => {}, log: (line) => said.push(line) } });
  free(run);
  // three measurements in which a fresh model learns
  expect(said.filter((line) => line.includes("discriminator"))).toEqual([
    "step 4: warning: the discriminator never started, because rec_loss still falls or was measured less than three times; let it start earlier, or train longer",
  ]);
});

test("passes over the pictures count those to train on, and the batches of a step", async () => {
  // six pictures, of which two are kept back; two of two in a step
  const run = await beginRun(
    newRun({ steps: 9, val: 0.3, accumulate: 2, gan: { ...defaultGan, start: "3epochs" } }),
  );
  expect(run.pictures.length).toBe(4);
  expect(run.settings.model.lossconfig.discStart).toBe(3);
  free(run);
});

test("settings that cannot be are refused by name", async () => {
  const begun = (gan: object) => beginRun(newRun({ gan: { ...defaultGan, ...gan } }));
  await expect(begun({ start: "soon" })).rejects.toThrow(
    'beginRun: gan: start is "soon", expected a step such as 500, "50%" (of the run), "2epochs" or "plateau", or null',
  );
  await expect(begun({ lecam: -1 })).rejects.toThrow("beginRun: gan: lecam is -1, expected a number >= 0");
  await expect(begun({ cap: 1 })).rejects.toThrow('beginRun: gan: there is no option "cap"');
});
