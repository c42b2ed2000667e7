// TensorBoard and Weights & Biases show what a run has done, also one that was killed, rewound and resumed, or goes on in a new
// folder.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beginRun, type Metrics, resumeRun, train } from "../../train/index.ts";
import { free, runFixture } from "../support/runs.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

interface Events {
  readonly scalars: Readonly<Record<string, readonly (readonly [step: number, value: number])[]>>;
  readonly images: Readonly<
    Record<string, readonly (readonly [step: number, width: number, height: number])[]>
  >;
  readonly histograms: Readonly<Record<string, readonly Histogram[]>>;
}

interface Histogram {
  readonly step: number;
  readonly num: number;
  readonly min: number;
  readonly max: number;
  readonly sum: number;
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

/** The metrics of a run by name, as TensorBoard should find them. */
async function scalarsOf(run: string): Promise<Record<string, [number, number][]>> {
  const found: Record<string, [number, number][]> = {};
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  for (const { step, ...row } of lines.map((line) => JSON.parse(line) as Metrics)) {
    for (const [name, value] of Object.entries(row)) {
      if (typeof value !== "number" || name === "seconds_left") continue;
      (found[name] ??= []).push([step, Math.fround(value)]);
    }
  }
  return found;
}

/** With one value for each step: epoch is in both lines of a step that is measured. */
function once(scalars: Record<string, [number, number][]>): Record<string, [number, number][]> {
  return Object.fromEntries(Object.entries(scalars).map(([name, values]) => [name, [...new Map(values)]]));
}

const eventFiles = async (run: string) =>
  (await readdir(run)).filter((name) => name.includes("tfevents")).sort();

const folder = await mkdtemp(join(tmpdir(), "tessera-boards-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);
const options = {
  saveEvery: 2,
  valEvery: 2,
  imageEvery: 2,

  report: { tensorboard: true },
};

describePython("boards.py", ["tensorboard"], (job) => {
  test("TensorBoard reads numbers, pictures and histograms", async () => {
    const run = await beginRun(newRun(options)), { path } = run.folder;
    await train(run);
    const weights = await run.trainer.model.namedParameters().get("quantize.embedding.weight")!.floats();
    free(run);
    const { scalars, images, histograms } = job<Events>("events", path);
    expect(scalars).toEqual(await scalarsOf(path));
    expect(Object.keys(images).sort()).toEqual(["samples", "worst"]);
    // one or two pictures of 16x16 in two rows, with four pixels around each
    for (const sheets of Object.values(images)) {
      expect(sheets.map(([step, , height]) => [step, height])).toEqual([0, 2, 4].map((step) => [step, 44]));
    }
    expect(Object.keys(histograms)).toContain("weights/decoder.up.0");
    expect(Object.keys(histograms)).toContain("weights/discriminator");
    const { step, num, min, max, sum, limits, counts } = histograms["weights/quantize"].at(-1)!;
    expect([step, num, min, max]).toEqual([4, weights.length, Math.min(...weights), Math.max(...weights)]);
    expect(sum).toBeCloseTo(weights.reduce((a, b) => a + b), 6);
    expect([limits.length, limits.at(-1), counts.reduce((a, b) => a + b)]).toEqual([60, max, num]);
    const below = weights.filter((value) => value < limits[29]).length;
    expect(counts.slice(0, 30).reduce((a, b) => a + b)).toBe(below);
  });

  test("steps that were removed appear once, also after a kill in the middle of an event", async () => {
    const run = await beginRun(newRun(options)),
      { path } = run.folder,
      kept = join(folder, "kept.safetensors");
    const update = (step: number) =>
      void (step === 3 && copies.push(copyFile(run.folder.lastCheckpoint, kept)));
    const copies: Promise<void>[] = [];
    await train(run, { monitor: { update, log: () => {} } }); // steps 3 and 4 come after the checkpoint of step 2
    await Promise.all(copies);
    free(run);
    await copyFile(kept, run.folder.lastCheckpoint);
    const [first] = await eventFiles(path), bytes = await readFile(join(path, first));
    await writeFile(join(path, first), bytes.subarray(0, -100)); // as a kill leaves it
    const again = await resumeRun(path, { steps: 5 });
    expect(again.trainer.step).toBe(2);
    await train(again);
    free(again);
    expect((await eventFiles(path)).length).toBe(2);
    expect(job<Events>("events", path).scalars).toEqual(await scalarsOf(path));
    const served = job<Record<string, Events["scalars"]>>("served", join(path, ".."));
    expect(served[basename(path)]).toEqual(once(await scalarsOf(path)));
  });

  test("--tensorboard in the middle of a run begins with what it has done", async () => {
    const run = await beginRun(newRun({ ...options, report: { tensorboard: false } })),
      { path } = run.folder;
    await train(run);
    free(run);
    expect(await eventFiles(path)).toEqual([]);
    const again = await resumeRun(path, { steps: 6, report: { tensorboard: true } });
    await train(again);
    free(again);
    const { scalars, images } = job<Events>("events", path);
    expect(scalars).toEqual(await scalarsOf(path));
    expect(images.samples.map(([step]) => step)).toEqual([0, 2, 4, 6]);
  });
});

describePython("boards.py", ["wandb"], (job) => {
  test("the script of the documentation brings a run into Weights & Biases", async () => {
    const run = await beginRun(newRun(options)), { path } = run.folder;
    await train(run);
    free(run);
    const script = fileURLToPath(new URL("../../examples/wandb_run.py", import.meta.url));
    const out = await mkdtemp(join(folder, "wandb-"));
    const found = job<{
      history: Record<string, number>[];
      config: Record<string, unknown>;
      pictures: number;
      project: string;
      name: string;
    }>("wandb", script, path, out);
    expect([found.project, found.name, found.config.steps]).toEqual(["faces", basename(path), 4]);
    expect(found.pictures).toBe(6);
    const expected: Record<string, [number, number][]> = {};
    for (const { _step, ...row } of found.history) {
      for (const [name, value] of Object.entries(row)) {
        if (!name.startsWith("_") && name !== "seconds_left") {
          (expected[name] ??= []).push([_step, Math.fround(value)]);
        }
      }
    }
    expect(expected).toEqual(once(await scalarsOf(path)));
  });
});
