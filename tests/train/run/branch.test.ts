// Resuming a checkpoint that is not the last one of its run.
import { Buffer } from "node:buffer";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { beginRun, checkpointOf, type NewRun, readRunState, resumeRun, train } from "../../../train/index.ts";
import { expectSameBits, finish, free, metricsOf, ownRun, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-branch-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixture = await runFixture(folder), { newRun } = fixture;

const own = (name: string, changes: Partial<NewRun["options"]> = {}) => ownRun(fixture, name, changes);

describe("an older checkpoint", () => {
  test("goes on in a new folder, which has the metrics and pictures up to its step", async () => {
    const { path, data } = await own("old", {
      steps: 6,
      saveEvery: 2,
      imageEvery: 2,
      valEvery: 100,
      val: 0,
    });
    // a copy of step 2, as a user makes one
    const short = await finish(
      await beginRun(newRun({ data: [data], steps: 2, saveEvery: 2, imageEvery: 2, valEvery: 100, val: 0 })),
    );
    const old = join(path, "checkpoints", "mine.safetensors");
    await cp(await checkpointOf(short), old);
    const kept = await readFile(await checkpointOf(path)), metrics = await metricsOf(path);
    const run = await resumeRun(old, { steps: 6 });
    const note = run.notes.find(({ kind }) => kind === "branched")!;
    expect(note.text).toBe(
      `step 2 is not the last step of ${path}, which stays as it is: the run goes on in a new folder, ${run.folder.path}`,
    );
    expect(run.folder.path).not.toBe(path);
    expect((await metricsOf(run.folder.path)).map(({ step }) => step)).toEqual([0, 1, 2]);
    expect((await readdir(join(run.folder.path, "images"))).sort()).toEqual([
      ...["step-000000.json", "step-000000.png", "step-000002.json", "step-000002.png"],
      ...["worst-000000.json", "worst-000000.png"],
    ]);
    expect((await readRunState(run.folder.lastCheckpoint)).step).toBe(2); // there is something to resume at once
    const outcome = await train(run);
    free(run);
    await stat(outcome.comparison!);
    expect(await metricsOf(run.folder.path)).toEqual(metrics);
    await expectSameBits(run.folder.path, path);
    expect(Buffer.compare(await readFile(await checkpointOf(path)), kept)).toBe(0);
    expect(await metricsOf(path)).toEqual(metrics);
  });

  test("that is the best one takes its name along; the last one under another name is the last one", async () => {
    const { path } = await own("best", { steps: 4, valEvery: 2, saveEvery: 2, lr: 1e-4 });
    const { best } = await readRunState(await checkpointOf(path));
    expect(best?.step).toBe(4);
    const same = await resumeRun(join(path, "checkpoints", best!.file!), { steps: 5, lr: 10 });
    expect(same.folder.path).toBe(path);
    await finish(same); // so that step 4 stays the best
    const names = (await readdir(join(path, "checkpoints"))).sort();
    expect(names).toEqual(["last.safetensors", "step-000004.safetensors"]);
    const run = await resumeRun(join(path, "checkpoints", "step-000004.safetensors"), { steps: 5 });
    expect(run.folder.path).not.toBe(path);
    expect(run.progress.best?.file).toBe("step-000004.safetensors");
    expect((await readdir(join(run.folder.path, "checkpoints"))).sort()).toEqual(names);
    free(run);
  });

  test("outside its run goes on beside itself, and a run is busy while it is trained", async () => {
    const { path } = await own("moved", { val: 0 });
    const away = join(folder, "away.safetensors");
    await cp(await checkpointOf(path), away);
    const run = await resumeRun(away, { steps: 3 });
    expect(run.notes.find(({ kind }) => kind === "branched")?.text).toBe(
      `${away} is outside the folder of its run: the run goes on in a new folder, ${run.folder.path}`,
    );
    await expect(resumeRun(run.folder.path)).rejects.toThrow("is in use: process");
    await finish(run);
    expect(await readdir(folder)).toContain(basename(run.folder.path));
    free(await resumeRun(run.folder.path));
  });

  test("whose process was killed before the best one had its name gets it", async () => {
    const { path } = await own("unlinked", { steps: 2, valEvery: 2 });
    const best = join(path, "checkpoints", "step-000002.safetensors");
    await rm(best);
    free(await resumeRun(path, { steps: 3 }));
    expect(Buffer.compare(await readFile(best), await readFile(await checkpointOf(path)))).toBe(0);
    await writeFile(best, "");
  });
});
