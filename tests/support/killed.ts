// The program that kills.test.ts kills: `killed.ts FOLDER KIND` begins a run in FOLDER/out, or resumes the one that is there.
// It prints what it is doing, one word and a step a line.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { beginRun, type NewRun, resumeRun, type Run, train } from "../../train/index.ts";
import { killedRun } from "./killed_runs.ts";

const [folder, kind] = process.argv.slice(2);
const out = join(folder, "out");

/** Begins the run, or resumes the first one that has a checkpoint. */
async function open(options: NewRun): Promise<Run> {
  for (const name of (await readdir(out).catch(() => [])).sort()) {
    const names: string[] = await readdir(join(out, name, "checkpoints")).catch(() => []);
    if (names.includes("last.safetensors")) return await resumeRun(join(out, name));
  }
  return await beginRun(options);
}

const say = (text: string) => console.log(text);
say("starting");
const run = await open(killedRun(folder, kind, out));
say(`opened ${run.trainer.step}`);
const { trainer, folder: runFolder, validation, samples } = run;
const { trainStep } = trainer;
trainer.trainStep = async function (batches) {
  say(`training ${this.step + 1}`);
  return await trainStep.call(this, batches);
};
// what is between two steps: metrics and, of these, whatever is due
const { addMetrics, prepareCheckpoints } = runFolder;
runFolder.addMetrics = function (metrics) {
  say(`logging ${metrics.step}`);
  return addMetrics.call(this, metrics);
};
runFolder.prepareCheckpoints = function () {
  say(`saving ${trainer.step}`);
  return prepareCheckpoints.call(this);
};
for (const [set, what] of [[validation, "measuring"], [samples, "drawing"]] as const) {
  if (!set) continue;
  const { once } = set;
  set.once = function (size) {
    say(`${what} ${trainer.step}`);
    return once.call(this, size);
  };
}
await train(run);
say("done");
