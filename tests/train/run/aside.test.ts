// What a run does beside its steps: it shows how far that is, does not count its time, and can be stopped in the middle of it.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beginRun, checkpointOf, readRunState, resumeRun, train } from "../../../train/index.ts";
import { Notes } from "../../../train/run/notes.ts";
import { expectSameBits, finish, free, runFixture } from "../../support/runs.ts";
import { tar } from "../../support/tarfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-aside-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { faces, newRun } = await runFixture(folder);

/** What a monitor hears of a run of two steps. */
async function asidesOf(): Promise<(string | null)[]> {
  const run = await beginRun(newRun({ steps: 2 })), heard: (string | null)[] = [];
  await train(run, { monitor: { update: () => {}, log: () => {}, aside: (text) => void heard.push(text) } });
  free(run);
  return heard;
}

test("a run says what it does beside its steps, and when that ends", async () => {
  const heard = await asidesOf();
  expect(heard).toEqual(expect.arrayContaining([
    "codebook: reading pictures 64/64",
    "codebook: k-means 10/10",
    "drawing pictures 2/2",
    "measuring training pictures 4/4",
    "validating 2/2",
    "saving",
  ]));
  expect([heard[0], heard.at(-1)]).toEqual(["codebook: reading pictures", null]);
});

test("it stops in the middle of each, and then continues with the same bits", async () => {
  const whole = await finish(await beginRun(newRun({ steps: 2 })));
  for (const what of ["codebook: k-means 3/10", "drawing pictures 1/2", "measuring training pictures 2/4"]) {
    const run = await beginRun(newRun({ steps: 2 })), controller = new AbortController();
    const aside = (text: string | null) => {
      if (text === what) controller.abort();
    };
    const monitor = { update: () => {}, log: () => {}, aside };
    const { interrupted, step } = await train(run, { monitor, signal: controller.signal });
    expect([what, interrupted, step]).toEqual([what, true, 0]);
    expect((await readRunState(await checkpointOf(run.folder.path))).step).toBe(0);
    free(run);
    await finish(await resumeRun(run.folder.path));
    await expectSameBits(whole, run.folder.path);
  }
});

test("the time of what is done beside the steps is known, also if it fails", async () => {
  const notes = new Notes();
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, 30));
  await notes.aside("waiting", wait);
  const failing = notes.aside("failing", () => wait().then(() => Promise.reject(new Error("broken"))));
  await expect(failing).rejects.toThrow("broken");
  expect(notes.asideTime).toBeGreaterThan(55);
});

test("a run learns from pictures in an archive as from files", async () => {
  const path = join(folder, "faces.tar"), names = (await readdir(faces)).sort();
  const members = names.map(async (name) => ({ name, data: await readFile(join(faces, name)) }));
  await writeFile(path, tar(await Promise.all(members)));
  const weights = async (data: string) => {
    const run = await beginRun(newRun({ data: [data], steps: 2 }));
    await train(run);
    const values = await run.trainer.model.decoder.conv_out.weight.data();
    free(run);
    return values;
  };
  expect(await weights(path)).toEqual(await weights(faces));
});
