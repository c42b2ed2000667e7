// Counting which codes training uses, moving dead ones, and the numbers of a run.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VQGAN } from "../../../nn/index.ts";
import { keep, Random, scope, tensor } from "../../../src/index.ts";
import {
  beginRun,
  CodeUsage,
  DeadCodeRestart,
  defaultCodebook,
  initializeCodebook,
  makeOptimizers,
  type RestartOptions,
  train,
} from "../../../mod.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { free, metricsOf, runFixture } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const tokens = (...codes: number[]) => keep(tensor(Int32Array.from(codes)));

test("the last tokens count, four for each code, and a copy of the counts goes on with the same numbers", () =>
  expectNoLeak(async () => {
    const usage = new CodeUsage(4);
    expect(await usage.recent()).toEqual({ usage: 0, perplexity: 0, tokens: 0 });
    await usage.observe([tokens(0, 0, 1, 1)]);
    const first = await usage.recent();
    expect(first).toMatchObject({ usage: 0.5, tokens: 4 });
    expect(first.perplexity).toBeCloseTo(2, 10);
    await usage.observe([tokens(...Array(10).fill(2)), tokens(3, 3)]);
    expect(await usage.recent()).toMatchObject({ usage: 1, tokens: 16 });
    await usage.observe([tokens(3, 3)]); // pushes both 0 out
    expect(await usage.recent()).toMatchObject({ usage: 0.75, tokens: 16 });
    const copy = new CodeUsage(4), values = await usage.values();
    expect(values.recent.slice(0, 3)).toEqual([1, 1, 2]); // oldest first
    copy.restore(JSON.parse(JSON.stringify(values)));
    for (const each of [usage, copy]) await each.observe([tokens(0, 0, 0)]);
    expect(await copy.recent()).toEqual(await usage.recent());
    expect((await copy.values()).recent).toEqual((await usage.values()).recent);
  }));

test("many steps are read together, and what is pending is freed", () =>
  expectNoLeak(async () => {
    const usage = new CodeUsage(1000);
    for (let step = 0; step < 70; step++) await usage.observe([tokens(step)]);
    usage.dispose();
    expect((await usage.recent()).tokens).toBe(65);
  }));

test("codes that are chosen too rarely move, and start to count again", () =>
  expectNoLeak(async () => {
    const model = new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(1), { withLoss: true });
    const optimizers = makeOptimizers(model, 1), images = new Random(2).uniform([1, 16, 16, 3], -1, 1);
    const movedWith = async (options: RestartOptions) => {
      const usage = new CodeUsage(16);
      const restarts = new DeadCodeRestart(model, optimizers.generator, usage, new Random(1), options);
      await usage.observe([tokens(...Array(20).fill(0), ...Array(11).fill(1), 2)]); // two a code on average
      const before = await model.quantize.codebook.floats(), moved = await restarts.restart(images);
      const after = await model.quantize.codebook.floats();
      const stayed = [0, 1, 2].filter((k) => before[32 * k] === after[32 * k]);
      const again = await restarts.restart(images);
      return { moved, stayed, again };
    };
    expect(await movedWith({})).toEqual({ moved: 13, stayed: [0, 1, 2], again: 16 });
    expect(await movedWith({ below: 0.5 })).toEqual({ moved: 14, stayed: [0, 1], again: 16 });
    expect(() =>
      scope(() =>
        new DeadCodeRestart(model, optimizers.generator, new CodeUsage(16), new Random(1), { below: 2 })
      )
    )
      .toThrow("DeadCodeRestart: below is 2, expected a number from 0 to below 1");
    for (const optimizer of Object.values(optimizers)) optimizer.dispose();
    images.dispose();
    model.dispose();
  }));

const folder = await mkdtemp(join(tmpdir(), "tessera-usage-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

test("usage and perplexity are in the live line, in the metrics and in validations", async () => {
  const run = await beginRun(newRun());
  const lines: string[] = [], logged: string[] = [];
  await train(run, {
    monitor: { update: (_step, text = "") => void lines.push(text), log: (text) => void logged.push(text) },
  });
  expect(lines.at(-1)).toMatch(/ codes [\d.]+% perplexity [\d.]+$/);
  expect(logged.some((text) => /\d+ of the 16 codes in 128 tokens on 2 pictures kept back/.test(text))).toBe(
    true,
  );
  const metrics = await metricsOf(run.folder.path);
  const steps = metrics.filter((m) => m["train/rec_loss"] !== undefined);
  expect(steps.map((m) => m["train/codebook_tokens"])).toEqual([64, 64, 64, 64]);
  for (
    const { "train/codebook_usage": usage, "train/perplexity": perplexity } of steps as Record<
      string,
      number
    >[]
  ) {
    expect(usage > 0 && usage <= 1 && perplexity >= 1 && perplexity <= 16 * usage + 1e-9).toBe(true);
  }
  const [validation] = metrics.filter((m) => m["val/psnr"] !== undefined) as Record<string, number>[];
  expect(validation["val/codebook_tokens"]).toBe(128);
  expect(validation["val/codebook_usage"]).toBeGreaterThan(0);
  expect(validation["val/perplexity"]).toBeGreaterThanOrEqual(1);
  run.trainer.dispose();
  run.trainer.model.dispose();
});

test("options of the codebook that exclude each other are refused before a folder is made", async () => {
  const codebook = { ...defaultCodebook, learning: "simvq", restartEvery: 5 } as const;
  await expect(beginRun(newRun({ codebook }))).rejects.toThrow(
    "beginRun: codebook: restartEvery is 5, but with simvq all codes move together",
  );
  await expect(beginRun(newRun({ codebook: { ...defaultCodebook, emaDecay: 1 } }))).rejects.toThrow(
    "beginRun: codebook: emaDecay is 1, expected a number from 0 to below 1",
  );
  const { kmeans: _, ...lacks } = defaultCodebook;
  await expect(beginRun(newRun({ codebook: lacks as typeof defaultCodebook }))).rejects.toThrow(
    "beginRun: codebook: kmeans is undefined, expected true or false",
  );
});

test("new codes of length 1 begin at the centres of directions", async () => {
  const run = await beginRun({
    ...newRun({ steps: 1 }),
    start: { scratch: { ...smallConfig({ discStart: 2 }), quantizer: "normalized", embedDim: 8 } },
  });
  const { model } = run.trainer;
  await initializeCodebook(model, run.pictures.batches(2), new Random(3));
  const codes = await model.quantize.codebook.floats();
  for (let k = 0; k < 16; k++) {
    const length = Math.hypot(...codes.subarray(8 * k, 8 * k + 8)); // means of vectors of length 1
    expect(length > 0.5 && length <= 1 + 1e-6).toBe(true);
  }
  free(run);
});
