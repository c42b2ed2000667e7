// Initializing the codebook.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random, tensor } from "../../src/index.ts";
import { beginRun, initializeCodebook } from "../../train/index.ts";
import { runFixture } from "../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-train-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

test("k-means of the first vectors gives codes that are used", async () => {
  const run = await beginRun(newRun());
  const { model } = run.trainer;
  const count = await initializeCodebook(model, run.pictures.batches(2), new Random(3), 4);
  expect(count).toBe(128); // 64 vectors per picture of 16x16 at f2, until there are 4 x 16
  const state = run.pictures.batches(2);
  const { value } = await state.next();
  const { indices } = model.encode(tensor(value!.pixels, value!.shape));
  expect(new Set(await indices.ints()).size).toBeGreaterThan(4);
  model.dispose();
});
