// Initializing the codebook.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random, tensor } from "../../../src/index.ts";
import { beginRun, initializeCodebook } from "../../../train/index.ts";
import type { CodebookStart } from "../../../train/codebook/kmeans.ts";
import { validate } from "../../../train/validate.ts";
import { runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-train-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

test("k-means of the first vectors gives codes that are used", async () => {
  const run = await beginRun(newRun());
  const { model } = run.trainer;
  const count = await initializeCodebook(model, run.pictures.batches(2), new Random(3), { maxBatches: 4 });
  expect(count).toBe(128); // 64 vectors per picture of 16x16 at f2, until there are 4 x 16
  const state = run.pictures.batches(2);
  const { value } = await state.next();
  const { indices } = model.encode(tensor(value!.pixels, value!.shape));
  expect(new Set(await indices.ints()).size).toBeGreaterThan(4);
  model.dispose();
});

test("the start of a codebook reports what it does, and stops when it is told to", async () => {
  const run = await beginRun(newRun());
  const { model } = run.trainer, codes = await model.quantize.codebook.data();
  const start = (options: CodebookStart) =>
    initializeCodebook(model, run.pictures.batches(2), new Random(3), options);
  for (const when of ["reading pictures", "k-means"]) {
    const controller = new AbortController(), reason = new Error("enough");
    const onProgress = (what: string) => what === when && controller.abort(reason);
    await expect(start({ onProgress, signal: controller.signal })).rejects.toThrow(reason);
    expect(await model.quantize.codebook.data()).toEqual(codes);
  }
  const seen: string[] = [];
  await start({ onProgress: (what, done, total) => seen.push(`${what} ${done}/${total}`) });
  expect(seen.slice(0, 2)).toEqual(["reading pictures 64/64", "k-means 1/10"]);
  expect([seen.length, seen.at(-1)]).toEqual([11, "k-means 10/10"]);
  model.dispose();
});

test("a validation reports what it has measured, and stops when it is told to", async () => {
  const run = await beginRun(newRun({ val: 0.5 }));
  const { trainer: { model }, validation } = run, seen: number[][] = [];
  const onProgress = (...numbers: number[]) => void seen.push(numbers);
  await validate(model, validation!, 1, 0, { onProgress });
  expect(seen).toEqual(seen.map((_, i) => [i + 1, validation!.length]));
  expect(seen.length).toBe(validation!.length);
  const controller = new AbortController(), reason = new Error("enough");
  const stop = () => controller.abort(reason);
  const stopped = validate(model, validation!, 1, 0, { onProgress: stop, signal: controller.signal });
  await expect(stopped).rejects.toThrow(reason);
  await validate(model, validation!, 1, 0); // and can be measured again
  model.dispose();
});
