// Runs that begin, stop, diverge and continue, with the same bits as without a stop.
import { Buffer } from "node:buffer";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { place } from "../../../data/files/process.ts";
import { VQGAN } from "../../../nn/index.ts";
import { memory, Random } from "../../../src/index.ts";
import {
  beginRun,
  checkpointOf,
  defaultOptions,
  DivergedError,
  findPerceptual,
  type NewRun,
  readRunState,
  type ResumeChanges,
  resumeRun,
  saveWeights,
  train,
} from "../../../train/index.ts";
import { fillState } from "../../support/goldens.ts";
import { finish, free, metricsOf, runConfig, runFixture, tensorBytes } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-train-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

describe("a run", () => {
  test("writes its folder, and 2 + 2 resumed steps give the same bits as 4 steps", async () => {
    const straight = await finish(await beginRun(newRun()));
    const halves = await finish(await beginRun(newRun({ steps: 2 })));
    expect((await readRunState(await checkpointOf(halves))).step).toBe(2);
    await finish(await resumeRun(halves, { steps: 4 }));

    const [a, b] = await Promise.all([straight, halves].map(async (run) => {
      return await tensorBytes(await checkpointOf(run));
    }));
    expect(a.header).toEqual(b.header);
    expect(Buffer.compare(a.bytes, b.bytes)).toBe(0);
    // the half run validated at its end, unlike the straight one
    const trained = async (run: string) =>
      (await metricsOf(run)).filter((metrics) => metrics["val/psnr"] === undefined);
    expect(await trained(halves)).toEqual(await trained(straight));

    const steps = (await metricsOf(straight)).filter((m) => m.lr !== undefined).map(({ step }) => step);
    expect(steps).toEqual([1, 2, 3, 4]);
    const files = (await readdir(straight)).sort();
    expect(files).toEqual([
      "before-after.png",
      "checkpoints",
      "config.json",
      "data",
      "ending.json",
      "images",
      "loss.png",
      "metrics.csv",
      "metrics.jsonl",
      "report.html",
    ]);
    expect(await readdir(join(straight, "images"))).toContain("step-000000.png");
    const checkpoints = (await readdir(join(straight, "checkpoints"))).sort();
    expect(checkpoints.length).toBeLessThanOrEqual(2);
    expect(checkpoints[0]).toBe("last.safetensors");
  });

  test("continues exactly with accumulation, tamingExact and an interruption", async () => {
    const options = { accumulate: 2, tamingExact: true, steps: 3, val: 0 };
    const straight = await finish(await beginRun(newRun(options)));
    const stopped = await beginRun(newRun(options));
    const controller = new AbortController();
    const monitor = { update: (step: number) => step === 1 && controller.abort(), log: () => {} };
    const outcome = await train(stopped, { monitor, signal: controller.signal });
    expect([outcome.interrupted, outcome.step]).toEqual([true, 1]);
    await finish(await resumeRun(stopped.folder.path));
    const [a, b] = await Promise.all([straight, stopped.folder.path].map(async (run) => {
      return await tensorBytes(await checkpointOf(run));
    }));
    expect(Buffer.compare(a.bytes, b.bytes)).toBe(0);
    expect(await metricsOf(stopped.folder.path)).toEqual(await metricsOf(straight));
  });

  test("starts from weights with new optimizers, and reports what it found", async () => {
    const first = await finish(await beginRun(newRun({ steps: 1, val: 0 })));
    const from = await checkpointOf(first);
    const { start: _, ...rest } = newRun({ steps: 1, val: 0 });
    const run = await beginRun({ ...rest, start: { from } });
    expect(run.notes.map(({ text }) => text).join("\n")).toContain("discriminator: from the file");
    expect(run.trainer.optimizers.generator.state().size).toBe(0);
    expect(run.settings.model).toEqual(run.trainer.model.config);
    await expect(beginRun({ ...rest, start: { from }, perceptual: "inside" })).rejects.toThrow(
      "has no perceptual network inside: pass the files with its weights (perceptual: [files]), or train without it",
    );

    const bare = join(folder, "bare.safetensors");
    const model = new VQGAN(runConfig, new Random(1));
    await saveWeights(bare, model, { dtype: "f16" });
    const again = await beginRun({ ...rest, start: { from: bare } });
    expect(again.notes.map(({ text }) => text).join("\n")).toContain(
      "warning: the file has no discriminator that fits",
    );
    await expect(resumeRun(bare)).rejects.toThrow(
      `holds weights but no run to resume: begin a new run with start: { from: "${bare}" }`,
    );
    for (const m of [model, run.trainer.model, again.trainer.model]) m.dispose();
  });

  test("reads LPIPS from a checkpoint, saves it in its own, and resumes its dropout", async () => {
    const config = smallConfig({ discStart: 2, perceptualWeight: 1 });
    const donor = new VQGAN(config, new Random(1), { withLoss: true });
    fillState(donor.loss!.perceptual_loss!.stateDict(), "loss.perceptual_loss.");
    const file = join(folder, "with-lpips.safetensors");
    await saveWeights(file, donor);
    donor.dispose();
    expect(await findPerceptual([file])).toEqual({ net: "squeeze", files: { whole: file } });

    const options = { steps: 2, size: 32, lpipsDropout: true, val: 0 };
    const straight = await finish(await beginRun({ ...newRun(options), perceptual: [file] }));
    const half = await finish(await beginRun({ ...newRun({ ...options, steps: 1 }), perceptual: [file] }));
    await finish(await resumeRun(half, { steps: 2 }));
    const [a, b] = await Promise.all([straight, half].map(async (run) => {
      return await tensorBytes(await checkpointOf(run));
    }));
    expect(Object.keys(a.header)).toContain("loss.perceptual_loss.lin6.model.1.weight");
    expect(Buffer.compare(a.bytes, b.bytes)).toBe(0);
    const logged = (await metricsOf(straight)).filter((metrics) => metrics.lr !== undefined);
    for (const metrics of logged) expect(metrics["train/p_loss"]).toBeGreaterThan(0);

    const { start: _, ...rest } = newRun({ ...options, steps: 1 });
    const from = await checkpointOf(half);
    const again = await beginRun({ ...rest, start: { from }, perceptual: "inside" });
    expect(again.notes.map(({ text }) => text).join("\n")).toContain(
      "LPIPS on SqueezeNet 1.1, from the file",
    );
    again.trainer.model.dispose();
  });

  test("keeps frozen what was frozen when it is resumed", async () => {
    const run = await beginRun(newRun({ steps: 1, val: 0 }));
    run.trainer.model.encoder.setRequiresGrad(false);
    const path = await finish(run);
    const resumed = await resumeRun(path, { steps: 2 });
    const { model } = resumed.trainer, { weight } = model.encoder.conv_in;
    const [before, learns] = await Promise.all([weight.floats(), model.decoder.conv_in.weight.floats()]);
    expect(resumed.notes.map(({ text }) => text).join("\n")).toContain(
      "frozen, as before: 60 tensors, the first is encoder.conv_in.weight",
    );
    await train(resumed);
    expect(await weight.floats()).toEqual(before);
    expect(await model.decoder.conv_in.weight.floats()).not.toEqual(learns);
    resumed.trainer.dispose();
    model.dispose();
  });

  test("stops at NaN and keeps the last good checkpoint", async () => {
    const run = await beginRun(newRun({ steps: 8, lr: 1e30, warmup: 0, saveEvery: 1, val: 0 }));
    const good = await beginRun(newRun({ steps: 1, val: 0 }));
    const kept = await finish(good);
    await expect(train(run)).rejects.toThrow(DivergedError);

    const resumed = await resumeRun(kept, { steps: 8 });
    const before = await readFile(await checkpointOf(kept));
    const { weight } = resumed.trainer.model.decoder.conv_out;
    weight.write(new Float32Array(weight.size).fill(NaN));
    await expect(train(resumed)).rejects.toThrow(
      /step 2: train\/\w+ is NaN.*the last good checkpoint, of step 1.*A lower learning rate \(lr\) may help/,
    );
    expect(Buffer.compare(before, await readFile(await checkpointOf(kept)))).toBe(0);
  });

  test("stops when it measures NaN", async () => {
    const path = await finish(await beginRun(newRun({ steps: 1, valEvery: 1 }))), messages: string[] = [];
    const resumed = await resumeRun(path, { steps: 8 }), { trainer } = resumed, { trainStep } = trainer;
    trainer.trainStep = async function (batches) {
      const result = await trainStep.call(this, batches);
      const { weight } = this.model.decoder.conv_out;
      weight.write(new Float32Array(weight.size).fill(NaN));
      return result;
    };
    const monitor = { update: () => {}, log: (text: string) => void messages.push(text) };
    await expect(train(resumed, { monitor })).rejects.toThrow(
      /step 2: rec_loss is measured as NaN, so training stopped; the last good checkpoint, of step 1/,
    );
    expect(messages.filter((text) => text.includes("overfitting"))).toEqual([]);
    free(resumed);
  });

  test("removes the files of a killed process, and accepts taming's folders", async () => {
    const path = await finish(await beginRun(newRun({ steps: 1, name: "killed" })));
    const checkpoints = join(path, "checkpoints");
    const nobody = 4_194_304; // above the largest number of a process
    const [dead, living, elsewhere] = [
      `.last.safetensors.${place()}-${nobody}-0.tmp`,
      `.last.safetensors.${place()}-${process.pid}-99.tmp`,
      `.last.safetensors.other-machine-${nobody}-0.tmp`,
    ];
    for (const name of [dead, living, elsewhere]) {
      await writeFile(join(checkpoints, name), "half of a checkp");
    }
    const resumed = await resumeRun(path, { steps: 2 });
    expect(resumed.notes.map(({ text }) => text)).toContain(
      `left as it is: ${join(checkpoints, elsewhere)}, an unfinished file of a process that may still run`,
    );
    await finish(resumed);
    expect((await readdir(checkpoints)).filter((name) => name.endsWith(".tmp")).sort())
      .toEqual([living, elsewhere].sort());

    const log = join(folder, "logs", "2021-07-09T15-33-11_dalle_vqgan");
    await mkdir(join(log, "checkpoints"), { recursive: true });
    await expect(checkpointOf(log)).rejects.toThrow("no checkpoints/last.safetensors (or last.ckpt)");
    await writeFile(join(log, "checkpoints", "last.ckpt"), "");
    expect(await checkpointOf(log)).toBe(join(log, "checkpoints", "last.ckpt"));
  });

  test("that cannot begin or resume leaves no model behind", async () => {
    const path = await checkpointOf(await finish(await beginRun(newRun({ steps: 1, val: 0 }))));
    const { start: _, ...rest } = newRun({ val: 0 }), from = { ...rest, start: { from: path } };
    const notAFolder = join(folder, "a-file");
    await writeFile(notAFolder, "");
    const half = join(folder, "half.safetensors");
    const lpips = new VQGAN(smallConfig({ perceptualWeight: 1 }), null, { withLoss: true });
    const most = [...lpips.stateDict()].filter(([key]) =>
      /perceptual_loss\.(net.*[0-9t]\.weight|lin)/.test(key)
    );
    await saveWeights(half, { stateDict: () => new Map(most), config: runConfig } as unknown as VQGAN);
    lpips.dispose();
    const { liveBytes } = memory();
    const failures: [() => Promise<unknown>, string][] = [
      [() => beginRun(newRun({ size: 17 })), "size 17 is not a multiple of 2"],
      [() => beginRun({ ...from, options: { ...from.options, size: 17 } }), "size 17 is not a multiple of 2"],
      [() => beginRun({ ...from, out: notAFolder }), "a-file"],
      [() => beginRun({ ...from, perceptual: [half] }), "the perceptual network's tensors do not fit"],
      [() => beginRun({ ...newRun(), perceptual: [half] }), "the perceptual network's tensors do not fit"],
    ];
    for (const [fail, message] of failures) {
      await expect(fail()).rejects.toThrow(message);
      expect([message, memory().liveBytes]).toEqual([message, liveBytes]);
    }
    const data = join(path, "..", "..", "data");
    await rm(data, { recursive: true });
    await writeFile(data, "a file, so that the folder cannot be made");
    await expect(resumeRun(path)).rejects.toThrow("data");
    expect(memory().liveBytes).toBe(liveBytes);
  });

  test("refuses invalid options", async () => {
    const refusals: [Partial<NewRun["options"]>, string][] = [
      [
        { size: 15 },
        "size 15 is not a multiple of 2, the number of pixels per token; the nearest are 14 or 16",
      ],
      [{ steps: 0 }, "steps is 0, expected a whole number >= 1"],
      [{ val: 0.99 }, "leaves none to train on"],
      [{ data: [join(folder, "nothing")] }, "there is no file or folder"],
      [{ lr: NaN }, "lr is NaN, expected a number above 0"],
      [{ augment: { hue: 999 } }, "augment: hue is 999, expected a number from 0 to 180"],
      [
        { gan: { ...defaultOptions.gan, fixedWeight: 0.5, maxWeight: 2 } },
        "maxWeight is 2, but fixedWeight, 0.5,",
      ],
    ];
    for (const [changes, message] of refusals) {
      await expect(beginRun(newRun(changes))).rejects.toThrow(message);
    }
    const changes: ResumeChanges = {};
    await expect(resumeRun(folder, changes)).rejects.toThrow(
      "no checkpoints/last.safetensors (or last.ckpt) to resume from",
    );
  });
});
