// A run that keeps an average of the weights: it is measured, saved beside the weights, used by whoever loads the file, and
// goes through conversions.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  configOf,
  convertCheckpoint,
  formatInspectReport,
  inspect,
  openCheckpoint,
} from "../../../data/index.ts";
import { type LoadOptions, loadVQGAN } from "../../../nn/index.ts";
import { beginRun, defaultOptimizer, resumeRun, train, validate } from "../../../train/index.ts";
import { expectSameBits, finish, free, metricsOf, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-ema-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);
const begun = (steps: number, ema = 0.9) =>
  beginRun(newRun({ optimizer: { ...defaultOptimizer, ema }, steps, valEvery: 2, lr: 3e-3 }));
const key = "decoder.conv_in.weight";

/** The first numbers of a weight in a file. */
async function weightIn(
  path: string,
  options: LoadOptions = {},
): Promise<{ numbers: number[]; isAverage: boolean }> {
  const { model, isAverage } = await loadVQGAN(path, options);
  const numbers = [...(await model.decoder.conv_in.weight.floats()).slice(0, 5)];
  model.dispose();
  return { numbers, isAverage };
}

test("what was interrupted has the bits of what was not, also after conversions", async () => {
  const whole = await finish(await begun(6));
  const run = await begun(6), controller = new AbortController();
  const update = (step: number) => step === 3 && controller.abort();
  await train(run, { monitor: { update, log: () => {} }, signal: controller.signal });
  free(run);
  const path = run.folder.lastCheckpoint;
  const convert = async (name: string) => {
    const to = join(folder, name), file = await openCheckpoint(path);
    try {
      await convertCheckpoint(file, to, { config: configOf(file).config });
    } finally {
      await file.close();
    }
    return to;
  };
  const others = [await convert("other.safetensors"), await convert("other.ckpt")];
  for (const other of others) {
    expect(await weightIn(other)).toEqual(await weightIn(path));
    const resumed = await resumeRun(other);
    await expectSameBits(whole, await finish(resumed));
  }
  await finish(await resumeRun(run.folder.path));
  await expectSameBits(whole, run.folder.path);
  expect(await metricsOf(run.folder.path)).toEqual(await metricsOf(whole));
});

test("the average is what is measured, and what a file gives unless the last weights are asked for", async () => {
  const run = await begun(4);
  await train(run);
  const { trainer, folder: { lastCheckpoint: path } } = run;
  const start = async (
    tensor = trainer.model.decoder.conv_in.weight,
  ) => [...(await tensor.floats()).slice(0, 5)];
  const average = await start(trainer.averages!.tensors().get(key)!), last = await start();
  expect(average).not.toEqual(last);
  expect(await weightIn(path)).toEqual({ numbers: average, isAverage: true });
  expect(await weightIn(path, { average: false })).toEqual({ numbers: last, isAverage: false });

  const measured = (await metricsOf(run.folder.path)).findLast((line) => line["val/rec_loss"] !== undefined)!;
  const { model } = await loadVQGAN(path, { withLoss: true });
  const again = await validate(model, run.validation!, 2, 4);
  expect(again["val/rec_loss"]).toBe(measured["val/rec_loss"] as number);
  model.dispose();
  free(run);

  expect(formatInspectReport(await inspect(path))).toContain(
    "weights: their average over the training (EMA, ",
  );
  const strip = join(folder, "strip.safetensors"), file = await openCheckpoint(path);
  const { config } = configOf(file);
  await convertCheckpoint(file, strip, {
    config,
    keep: (name) => !name.startsWith("loss."),
    optimizers: false,
  });
  await file.close();
  expect(await weightIn(strip)).toEqual({ numbers: average, isAverage: false });
  const stripped = await openCheckpoint(strip);
  expect([...stripped.stored.keys()].filter((name) => name.startsWith("training."))).toEqual([]);
  await stripped.close();

  const next = await beginRun({ ...newRun({ steps: 1 }), start: { from: path } });
  expect([...(await next.trainer.model.decoder.conv_in.weight.floats()).slice(0, 5)]).toEqual(average);
  expect(next.notes.map(({ text }) => text)).toContain("weights: their average over the training (EMA)");
  free(next);
});

test("a new codebook is in the average from the start", async () => {
  const run = await begun(1, 0.9999);
  let codes: Float32Array | null = null;
  const update = () => {};
  const { trainStep } = run.trainer;
  run.trainer.trainStep = async function (batches) {
    codes = await this.averages!.tensors().get("quantize.embedding.weight")!.floats();
    expect(codes).toEqual(await this.model.quantize.codebook.floats());
    return await trainStep.call(this, batches);
  };
  await train(run, { monitor: { update, log: () => {} } });
  expect(codes).not.toBe(null);
  free(run);
});
