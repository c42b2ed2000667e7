// The few pictures whose reconstructions show how a run comes along: the sheets in images/, and before-after.png at its end.
import { cutGrid, type Picture, savePng, sideBySide, toPictures } from "../../data/index.ts";
import { asyncScope, tensor } from "../../src/index.ts";
import { psnr } from "../metrics.ts";
import type { Reconstructed } from "../report/worst.ts";
import type { WatchedWork } from "../validate.ts";
import type { Run } from "./run.ts";
import type { Showing } from "./showing.ts";

/**
 * Saves the samples above their reconstructions in images/.
 * @returns the seconds of a reconstruction, the median of all; null if no sample can be read
 */
export async function saveSamples(run: Run, showing: Showing): Promise<number | null> {
  const { trainer: { step }, folder, progress, reporter } = run;
  const times: number[] = [], onTime = (seconds: number) => void times.push(seconds);
  const samples = await reporter.aside("drawing pictures", (watch) => reconstructed(run, watch, onTime));
  await folder.saveSheet("step", step, samples);
  await showing.sheet("step");
  progress.samples ??= { step, paths: samples.map(({ path }) => path) };
  return times.sort((a, b) => a - b)[times.length >> 1] ?? null;
}

/**
 * Draws a sheet with the originals and their reconstructions in the first sheet and now, two pictures in a row. Pictures that
 * are not in the first sheet are left out.
 * @returns its path; null if the run has no first sheet, or none of its pictures can be read now
 */
export async function drawComparison(run: Run): Promise<string | null> {
  const { folder, progress: { samples: first } } = run;
  if (first === null) return null;
  const count = first.paths.length, cells = cutGrid(await folder.readImages(first.step), 2, count);
  const firstOf = new Map(first.paths.map((path, i) => [path, cells[count + i]]));
  const shown = (await reconstructed(run, {})).filter(({ path }) => firstOf.has(path));
  if (shown.length === 0) return null;
  const across = shown.length % 2 === 0 ? 2 : 1;
  const rows: Picture[][] = Array.from({ length: shown.length / across }, () => []);
  shown.forEach(({ path, input, output }, i) =>
    rows[Math.floor(i / across)].push(input, firstOf.get(path)!, output)
  );
  const before = first.step === 0 ? "before" : `step ${first.step}`;
  const labels = Array.from({ length: across }, () => ["original", before, "after"]).flat();
  await savePng(folder.comparison, await sideBySide(rows, { labels }));
  return folder.comparison;
}

/** Reconstructs the samples that can be read. */
function reconstructed(
  run: Run,
  watch: WatchedWork,
  onTime?: (seconds: number) => void,
): Promise<Reconstructed[]> {
  return run.trainer.evaluate(() => reconstructAll(run, watch, onTime));
}

async function reconstructAll(
  { samples, trainer: { model } }: Run,
  { onProgress, signal }: WatchedWork,
  onTime?: (seconds: number) => void,
): Promise<Reconstructed[]> {
  const made: Reconstructed[] = [];
  for await (const { pixels, shape, pictures, paths } of samples.once(1)) {
    const start = performance.now();
    const floats = await asyncScope(async () => {
      const images = tensor(pixels, shape);
      return await (await model.reconstructInTurns(images, { signal })).floats();
    });
    onTime?.((performance.now() - start) / 1000);
    const outputs = toPictures(floats, shape, model.range);
    paths.forEach((path, i) => {
      const input = pictures[i], output = outputs[i];
      made.push({ path, psnr: psnr(input, output), input, output });
    });
    onProgress?.(made.length, samples.length);
  }
  return made;
}
