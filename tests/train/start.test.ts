// Training that continues from whole checkpoints, by Tessera and by Lightning, and from parts of them.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommandLine } from "../../cli/program.ts";
import { Tuple } from "../../data/index.ts";
import { asyncScope, tensor } from "../../src/index.ts";
import {
  beginRun,
  defaultOptimizer,
  type OptimizerOptions,
  readProgress,
  resumeRun,
  type Run,
} from "../../train/index.ts";
import { draws } from "../support/numbers.ts";
import { free } from "../support/runs.ts";
import { contents, lastOf, trainedCheckpoint } from "../support/trained.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-start-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { faces, options, original, convert, asLightning } = await trainedCheckpoint(folder);

describe("training continues", () => {
  test("from a .ckpt by Tessera exactly as from the same safetensors", async () => {
    const ckpt = await convert(original, "exact.ckpt");
    const resumed = await lastOf(await resumeRun(ckpt, { steps: 5 }));
    const same = await convert(original, "same/checkpoints/last.safetensors");
    const straight = await lastOf(await resumeRun(same, { steps: 5 }));
    expect(await contents(resumed)).toEqual(await contents(straight));
  });

  test("from a .ckpt by Lightning with both optimizers, step and epoch", async () => {
    const path = await asLightning("lightning.ckpt");
    const goingOn = await beginRun({
      start: { from: path, goOn: true },
      perceptual: "none",
      options: { ...options, steps: 9, name: "on" },
      out: join(folder, "on"),
    });
    expect([goingOn.trainer.step, goingOn.progress.epoch]).toEqual([3, 1]);
    expect(goingOn.settings.model.lossconfig.discStart).toBe(1);
    expect(goingOn.notes.at(-1)?.text).toMatch(/optimizers: both from .*lightning\.ckpt, at step 3, epoch 1/);
    const own = await resumeRun(await convert(original, "own/checkpoints/last.safetensors"), { steps: 9 });
    const step = ({ trainer }: Run) =>
      asyncScope(async () => {
        await trainer.trainStep([tensor(draws("x", 1536), [2, 16, 16, 3])]);
        return await trainer.model.decoder.conv_out.weight.floats();
      });
    expect(await step(goingOn)).toEqual(await step(own));
    for (const { trainer } of [goingOn, own]) {
      trainer.dispose();
      trainer.model.dispose();
    }
  });

  test("with a new discriminator of another depth, and a new optimizer for it", async () => {
    const path = await asLightning("deeper.ckpt");
    const { trainer, notes } = await beginRun({
      start: { from: path, goOn: true, overrides: { lossconfig: { discNumLayers: 2 } } },
      perceptual: "none",
      options: { ...options, steps: 9, name: "deeper" },
      out: join(folder, "deeper"),
    });
    expect(notes.map(({ text }) => text).join("\n")).toContain("the file has no discriminator that fits");
    expect([trainer.optimizers.generator.state().size > 0, trainer.optimizers.discriminator.state().size])
      .toEqual([true, 0]);
    trainer.dispose();
    trainer.model.dispose();
  });

  test("on the command line, which requires pictures and more steps", async () => {
    const path = await asLightning("line.ckpt");
    const words = ["finetune", "--resume", path, "--no-lpips", "--size", "16", "--out", join(folder, "line")];
    expect(await runCommandLine([...words, "--steps", "3", "--data", faces])).toBe(2);
    expect(await runCommandLine(words)).toBe(2);
    expect(await runCommandLine([...words, "--steps", "4", "--data", faces])).toBe(0);
  });

  test("from Lightning 1.6 and later, which count the steps of each optimizer", async () => {
    const path = await asLightning("new.ckpt", (root) => {
      root.set("pytorch-lightning_version", "2.5.1").set("global_step", 6);
    });
    expect(await readProgress(path)).toMatchObject({ step: 3 });
  });

  type State = Map<string, Map<string, unknown>[]>;
  const group = (root: Map<string, unknown>, i = 0) =>
    (root.get("optimizer_states") as State[])[i].get("param_groups")![0];

  test("with the betas of its optimizers, if the run has them too", async () => {
    const path = await asLightning("betas.ckpt", (root) => {
      for (const i of [0, 1]) group(root, i).set("betas", new Tuple([0.9, 0.95]));
    });
    expect(await readProgress(path)).toMatchObject({ betas: [0.9, 0.95] });
    const start = { from: path, goOn: true };
    const goOn = (optimizer: OptimizerOptions) =>
      beginRun({ start, perceptual: "none", options: { ...options, steps: 4, optimizer }, out: folder });
    await expect(goOn(defaultOptimizer)).rejects.toThrow(
      /one of its Adams has betas 0\.9, 0\.95 and eps 1e-8, but this run's have 0\.5, 0\.9 .*start: \{ from: /,
    );
    const run = await goOn({ ...defaultOptimizer, betas: [0.9, 0.95] });
    expect(run.trainer.step).toBe(3);
    free(run);
    const words = [
      "finetune",
      "--resume",
      path,
      "--no-lpips",
      "--size",
      "16",
      "--out",
      join(folder, "betas"),
    ];
    expect(await runCommandLine([...words, "--steps", "4", "--data", faces])).toBe(0);
  });

  test("but not with optimizers whose settings differ from taming's", async () => {
    const betas = await asLightning("betas.ckpt", (root) => group(root).set("betas", new Tuple([0.9, 0.95])));
    await expect(readProgress(betas)).rejects.toThrow(
      "one of its Adams has betas 0.5, 0.9 and eps 1e-8, but this run's have 0.9, 0.95 and 1e-8",
    );
    const decay = await asLightning("decay.ckpt", (root) => group(root).set("weight_decay", 0.01));
    await expect(readProgress(decay)).rejects.toThrow(
      "optimizer 0 has weight_decay 0.01, which taming's Adam",
    );
    const few = await asLightning("few.ckpt", (root) => group(root).set("params", [0, 1]));
    await expect(readProgress(few)).rejects.toThrow(
      /optimizer 0 has 2 parameters, but the file has \d+ weights for it/,
    );
    const strip = join(folder, "strip.ckpt");
    expect(await runCommandLine(["convert", original, strip, "--strip"])).toBe(0);
    await expect(readProgress(strip)).rejects.toThrow(
      "holds weights but no run to resume",
    );
  });
});
