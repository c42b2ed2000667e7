// The pictures of a run that goes on: how they differ from those of before, and what that means for its progress.
import { MissingPicturesError } from "../errors.ts";
import type { RunFolder } from "./folder.ts";
import type { Notes } from "./notes.ts";
import {
  compare,
  describeDifferences,
  describeList,
  listPictures,
  parsePictures,
  type PictureList,
} from "./pictures.ts";
import type { Loading } from "./run.ts";
import type { RunSettings } from "./settings.ts";
import type { Progress, RunState } from "./state.ts";

/** Lists the pictures, says how they differ from those of the checkpoint, and returns how far the run has come with them. */
export async function picturesOf(
  saved: RunState,
  settings: RunSettings,
  folder: RunFolder,
  isSameVal: boolean,
  reporter: Notes,
  { signal, onListed }: Loading,
): Promise<{ list: PictureList; progress: Progress }> {
  const { hash, train, held } = saved.pictures;
  const before = parsePictures(await folder.readPictures(hash), hash);
  const watch = { signal, onFound: onListed };
  const list = await listPictures(settings, before, isSameVal, watch).catch((error) => {
    throw new MissingPicturesError((error as Error).message);
  });
  const { epoch, sampler, random, hasCodebook, first, last, best, samples, patience, kept } = saved;
  const progress: Progress = {
    ...{ epoch, sampler, random, hasCodebook, first, last, best, samples, patience, kept },
  };
  for (const note of describeList(list, settings.val)) reporter.add(note);
  if (list.hash === hash) return { list, progress };

  const differences = before && compare(before, list);
  const numbers = (train: number, held: number) =>
    `${train} to train on${held > 0 ? `, ${held} for validation` : ""}`;
  const text =
    `pictures: ${numbers(list.train, list.held)}; at step ${saved.step} they were ${numbers(train, held)}: ` +
    (differences
      ? describeDifferences(differences) || "the same ones, elsewhere"
      : `which ones are others is not known, because data/${hash}.jsonl is missing`);
  const { added = [], gone = [], changed = [] } = differences ?? {};
  reporter.add({ kind: "data", added: added.length, gone: gone.length, changed: changed.length, text });
  if (!(differences?.isSameOrder ?? list.train === train)) {
    progress.epoch = sampler.epoch + (sampler.position > 0 ? 1 : 0);
    const { ranks: _, ...order } = sampler;
    progress.sampler = { ...order, length: list.train, epoch: progress.epoch, position: 0 };
    const text = `the order of the pictures begins again, with epoch ${progress.epoch}`;
    reporter.add({ kind: "changed", option: "data", text });
  }
  if (!(differences?.isSameValidation ?? list.held === held)) {
    forgetMeasurements(progress, reporter, "the validation pictures are others");
  }
  if (differences && samples) {
    progress.samples = { ...samples, paths: samples.paths.map((path) => differences.now(path) ?? path) };
  }
  return { list, progress };
}

/** Measurements that cannot be compared with new ones would call the wrong checkpoint the best. */
export function forgetMeasurements(progress: Progress, reporter: Notes, why: string): void {
  if (progress.first === null) return;
  Object.assign(progress, { first: null, last: null, best: null, patience: null });
  reporter.add({ kind: "changed", option: "val", text: `measurements begin again, because ${why}` });
}
