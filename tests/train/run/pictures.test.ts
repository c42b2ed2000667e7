// The pictures of a resumed run: they are found where they are, and compared with those of before.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { savePng } from "../../../data/index.ts";
import {
  checkpointOf,
  type NewRun,
  readRunState,
  type ResumeChanges,
  resumeRun,
  type RunNote,
  train,
} from "../../../train/index.ts";
import { blob, expectSameBits, finish, free, metricsOf, ownRun, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-pictures-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixture = await runFixture(folder);

const own = (name: string, changes: Partial<NewRun["options"]> = {}) => ownRun(fixture, name, changes);

/** What resuming says, without the first line. */
async function told(path: string, changes: ResumeChanges = {}): Promise<string[]> {
  const run = await resumeRun(path, changes);
  free(run);
  return run.notes.slice(1).map(({ text }) => text);
}

describe("the pictures of a resumed run", () => {
  test("are found from another working folder, and are the same to the last bit where they were moved", async () => {
    const straight = await own("whole", { steps: 5, accumulate: 2 });
    const { path, data } = await own("moving", { steps: 2, accumulate: 2 });
    const settings = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    expect(settings.data).toEqual([data]);
    await rename(data, `${data}-2`);
    await expect(resumeRun(path)).rejects.toThrow(/there is no file or folder .*moving/);
    const run = await resumeRun(path, { steps: 5, data: [`${data}-2`] });
    expect(run.notes.map(({ text }) => text).slice(2)).toEqual([
      `pictures from: ${data}-2 (before: ${data})`,
      "pictures: 4 to train on, 2 for validation; at step 2 they were 4 to train on, 2 for validation: the same ones, elsewhere",
    ]);
    await finish(run);
    await expectSameBits(path, straight.path);
    await stat(join(path, "before-after.png"));
  });

  test("are compared with those of before: added, gone and changed ones are named", async () => {
    const { path, data } = await own("differing", { steps: 3, valEvery: 1, val: 0.34, batch: 3 });
    const before = await readRunState(await checkpointOf(path));
    const { list } = await resumeRun(path).then((run) => (free(run), run));
    const held = list.entries.filter((entry) => entry.held).map(({ path }) => basename(path));
    expect(held.length).toBe(2);
    const [gone, changed] = ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"].filter((name) =>
      !held.includes(name)
    );
    await rm(join(data, gone));
    await savePng(join(data, changed), blob(77, 40));
    await savePng(join(data, "a\x1b[2Jb.png"), blob(78, 32));
    for (let i = 10; i < 14; i++) await savePng(join(data, `${i}.png`), blob(i, 32));
    const run = await resumeRun(path, { steps: 6 });
    const note = run.notes.find(({ kind }) => kind === "data") as RunNote & { kind: "data" };
    expect(note).toMatchObject({ added: 5, gone: 1, changed: 1 });
    expect(note.text).toBe(
      "pictures: 6 to train on, 4 for validation; at step 3 they were 4 to train on, 2 for validation: " +
        `5 added (10.png, 11.png, 12.png, ...), 1 gone (${gone}), 1 with another size or date (${changed})`,
    );
    const texts = run.notes.map(({ text }) => text);
    expect(texts).toContain(`the order of the pictures begins again, with epoch ${before.sampler.epoch + 1}`);
    expect(texts).toContain("measurements begin again, because the validation pictures are others");
    // those that were kept back stay so
    const stillHeld = run.list.entries.filter((entry) => entry.held).map(({ path }) => basename(path));
    expect(held.every((name) => stillHeld.includes(name))).toBe(true);
    expect([run.list.learnt, run.progress.epoch]).toEqual([0, before.sampler.epoch + 1]);
    await finish(run);
    const epochs = (await metricsOf(path)).filter((m) => m.lr !== undefined).map(({ epoch }) =>
      Number(epoch)
    );
    expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
    expect(epochs.at(-1)).toBeGreaterThan(epochs[0]);
    expect(await told(path)).toEqual(["the run is finished: it has all its 6 steps"]);
  });

  test("that only have another date are named, and their order goes on", async () => {
    const { path, data } = await own("touched", { val: 0, steps: 3 });
    await utimes(join(data, "2.png"), 1e9, 1e9);
    const run = await resumeRun(path, { steps: 4 });
    expect(run.notes.at(-1)?.text).toBe(
      "pictures: 6 to train on; at step 3 they were 6 to train on: 1 with another size or date (2.png)",
    );
    expect(run.pictures.state()).toEqual((await readRunState(await checkpointOf(path))).sampler);
    free(run);
    await rm(join(path, "data"), { recursive: true });
    expect(await told(path, { steps: 4 })).toEqual([
      "steps in all: 4 (before: 3)",
      expect.stringMatching(
        /^pictures: 6 to train on; .* which ones are others is not known, because data\/.* is missing$/,
      ),
    ]);
  });

  test("for validation say so if the run has learnt from them", async () => {
    const { path, data } = await own("learnt", { val: 0 });
    const run = await resumeRun(path, { steps: 4, val: 0.5, valEvery: 1 });
    const texts = run.notes.map(({ text }) => text);
    expect(texts).toContain(
      "warning: the run learns, or has learnt, from 3 of the 3 validation pictures, so they make it look better than it is",
    );
    const { before, after } = await train(run);
    expect([before, after].map((values) => values?.["val/pictures"])).toEqual([3, 3]);
    free(run);
    const folderOnly = await resumeRun(path, { steps: 5, val: data });
    expect(folderOnly.list.learnt).toBe(6); // from now on it learns from all of them
    free(folderOnly);
    expect(await told(path, { steps: 5, val: 0 })).toContain(
      "measurements begin again, because the validation pictures are others",
    );
  });
});
