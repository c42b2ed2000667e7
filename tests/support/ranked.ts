// The program that tests/distributed runs in several ranks: `ranked.ts FOLDER OUT KIND TOTAL` trains on the pictures in
// FOLDER/faces, in steps of TOTAL batches on all ranks together. If OUT has a run already, it goes on. It prints a line for
// each step and, at the end, what has become of the run.
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { device } from "../../src/index.ts";
import {
  beginRun,
  defaultCodebook,
  defaultGan,
  defaultOptimizer,
  defaultOptions,
  openRanks,
  resumeRun,
  type RunOptions,
  train,
} from "../../train/index.ts";
import { runConfig } from "./runs.ts";

const restarts = { ...defaultCodebook, restartEvery: 3, restartBelow: 0.5 };
/** The options of each kind of run. Together they have every part that must know of the ranks. */
const kinds: Readonly<Record<string, Partial<RunOptions>>> = {
  "plain": { codebook: restarts },
  "averages": {
    codebook: { ...restarts, learning: "ema" },
    optimizer: { ...defaultOptimizer, ema: 0.9, clip: 1 },
    gan: { ...defaultGan, guard: true },
  },
  "gpu": { steps: 1, val: 0 }, // software GPUs are slow
  "long": { steps: 100_000, saveEvery: 10, logEvery: 1, valEvery: 100_000, imageEvery: 100_000 },
};

const [folder, out, kind, total] = process.argv.slice(2);
const { ranks, close } = await openRanks();
await device(kind === "gpu" ? "webgpu" : "cpu");
await mkdir(out, { recursive: true });
const [before] = await readdir(out);
const accumulate = Number(total) / ranks.size;
const run = await (before === undefined
  ? beginRun({
    start: { scratch: runConfig },
    perceptual: "none",
    out,
    ranks,
    options: {
      ...defaultOptions,
      data: [join(folder, "faces")],
      size: 16,
      batch: 1,
      accumulate,
      steps: 5,
      lr: 1e-3,
      ...{ crop: "random", flip: true, val: 0.3, logEvery: 2, valEvery: 3, saveEvery: 2, name: "ranked" },
      ...kinds[kind],
    },
  })
  : resumeRun(join(out, before), { accumulate, steps: 8 }, {}, ranks));
const pids = await ranks.gather(process.pid);
if (ranks.isFirst) console.log(`pids ${pids.join()}`);
const controller = new AbortController();
process.on("SIGUSR2", () => controller.abort());
const monitor = {
  update: (step: number) => ranks.isFirst && console.log(`step ${step}`),
  log: (line: string) => ranks.isFirst && console.log(line),
};
try {
  const { step, interrupted, after } = await train(run, { monitor, signal: controller.signal });
  if (ranks.isFirst) console.log(JSON.stringify({ step, interrupted, after, folder: run.folder.path }));
  run.trainer.dispose();
  run.trainer.model.dispose();
  await close();
} catch (error) {
  console.log(`rank ${ranks.rank} ends: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
