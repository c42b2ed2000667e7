// The optimizer of a run: its options reach the trainer, are announced, may change, and survive a resume bit for bit.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VQGAN } from "../../../nn/index.ts";
import { asyncScope, Random } from "../../../src/index.ts";
import {
  beginRun,
  defaultCodebook,
  defaultOptimizer,
  type OptimizerOptions,
  resumeRun,
  train,
} from "../../../train/index.ts";
import { expectSameBits, finish, free, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-optimizer-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

const begun = (optimizer: Partial<OptimizerOptions>, changes: Parameters<typeof newRun>[0] = {}) =>
  beginRun(
    newRun({ optimizer: { ...defaultOptimizer, ...optimizer }, codebook: defaultCodebook, ...changes }),
  );

test("with everything on, a run that was interrupted has the bits of one that was not", async () => {
  const optimizer = {
    train: ["decoder", "discriminator", "attention"],
    rates: { discriminator: 2e-4, attention: 5e-4 },
    betas: [0.9, 0.95],
    weightDecay: 0.05,
    clip: 0.5,
    ema: 0.99,
  } as const;
  const schedule = { steps: 6, warmup: 2, decay: "linear", lrFloor: 1e-4, accumulate: 2, batch: 1 } as const;
  const whole = await finish(await begun(optimizer, schedule));
  const run = await begun(optimizer, schedule);
  const controller = new AbortController();
  const update = (step: number) => step === 3 && controller.abort();
  await train(run, { monitor: { update, log: () => {} }, signal: controller.signal });
  free(run);
  const resumed = await resumeRun(run.folder.path);
  expect(resumed.settings.optimizer).toEqual(optimizer as unknown as OptimizerOptions);
  expect(resumed.notes.map(({ text }) => text).join("\n")).toContain("frozen, as before");
  await finish(resumed);
  await expectSameBits(whole, run.folder.path);
  const metrics = await metricsOf(whole);
  expect(await metricsOf(run.folder.path)).toEqual(metrics);
  for (const name of ["train/grad_norm", "train/disc_grad_norm"]) {
    expect(metrics.filter((line) => line[name] !== undefined).length).toBe(6);
  }
  expect(metrics.flatMap(({ lr }) => lr === undefined ? [] : Number(Number(lr).toPrecision(12)))).toEqual([
    ...[5e-4, 1e-3, 1e-3, 7.75e-4, 5.5e-4, 3.25e-4],
  ]);
});

test("the parts that learn are said, and tokens stay valid if only the decoder does", async () => {
  const run = await begun({ train: ["decoder", "discriminator"], rates: { decoder: 5e-4 } });
  const said = run.notes.map(({ text }) => text);
  expect(said).toContain(
    "only decoder, discriminator learn; all else is frozen, so tokens that were made before stay valid",
  );
  expect(said).toContain("learning rates: decoder 0.0005, all else 0.001");
  const { model } = run.trainer, images = new Random(3).uniform([2, 16, 16, 3], -1, 1);
  const tokens = (model: VQGAN) => asyncScope(async () => await model.encode(images).indices.ints());
  run.progress.hasCodebook = true; // its new codes would be others
  const before = await tokens(model);
  const path = await finish(run);
  const after = await VQGAN.load(join(path, "checkpoints", "last.safetensors"));
  expect(await tokens(after)).toEqual(before);
  for (const one of [after, images]) one.dispose();

  const alone = await begun({ train: ["encoder"] });
  expect(alone.notes.map(({ text }) => text)).toContain(
    "warning: the discriminator is frozen, and what learns against it alone finds its weaknesses: let it learn too, or give its " +
      "loss the weight 0",
  );
  free(alone);
});

test("rates of parts, decay and clipping may change when a run is resumed, and are announced", async () => {
  const path = await finish(await begun({ rates: { codebook: 2e-3 } }, { steps: 2, val: 0 }));
  const optimizer = { rates: { decoder: 1e-4 }, clip: 1, weightDecay: 0.1 };
  const run = await resumeRun(path, { steps: 4, optimizer });
  expect(run.notes.slice(2).map(({ text }) => text)).toEqual([
    "learning rates of parts: decoder 0.0001 (before: codebook 0.002)",
    "weight decay: 0.1 (before: 0)",
    "largest norm of the gradients: 1 (before: 0)",
  ]);
  await finish(run);
  const { optimizer: written } = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
  expect(written).toEqual({ ...defaultOptimizer, ...optimizer });
});

test("what cannot be is refused with its reason before anything is written", async () => {
  const refused = async (optimizer: object, changes: Parameters<typeof newRun>[0] = {}) =>
    await begun(optimizer, changes).then(free, (error: Error) => error.message);
  expect(await refused({ betas: [0.5, 1] })).toBe(
    "beginRun: optimizer: betas is [0.5, 1], expected two numbers from 0 to below 1",
  );
  expect(await refused({ train: ["lpips"] })).toContain(
    'beginRun: optimizer: train is ["lpips"], expected a list of parts',
  );
  expect(await refused({ rates: { lpips: 1 } })).toContain(
    "expected rates above 0 by part (encoder, codebook,",
  );
  expect(await refused({ train: ["decoder"], rates: { encoder: 1e-5 } })).toBe(
    "beginRun: optimizer: encoder has a learning rate but is not among the parts that learn",
  );
  expect(await refused({ clipping: 1 })).toContain('there is no option "clipping"');
  expect(await refused({}, { lrFloor: 1e-2 })).toBe(
    "beginRun: lrFloor is 0.01, expected at most the learning rate, 0.001",
  );
  const path = await finish(await begun({}, { steps: 2, val: 0 }));
  await expect(resumeRun(path, { optimizer: { betas: [0.9, 0.9] } as object })).rejects.toThrow(
    'resumeRun: optimizer: there is no option "betas"',
  );
});
