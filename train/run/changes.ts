// Says which options of a resumed run have other values, and what that does to the learning rate.
import { learningRate } from "../schedule.ts";
import type { RunNote } from "./notes.ts";
import type { RunOptions, RunSettings } from "./settings.ts";

/** The options that may change, in words. */
const words: Readonly<Partial<Record<keyof RunOptions, string>>> = {
  steps: "steps in all",
  data: "pictures from",
  val: "validation pictures from",
  batch: "pictures per batch",
  accumulate: "batches per step",
  precision: "precision",
  logEvery: "steps between lines of metrics",
  imageEvery: "steps between sheets of pictures",
  valEvery: "steps between measurements",
  saveEvery: "steps between checkpoints",
};

/** Returns a note for every change that takes effect at `step`. */
export function describeChanges(before: RunSettings, now: RunSettings, step: number): RunNote[] {
  const notes = Object.entries(words).flatMap(([option, what]): RunNote[] => {
    const [old, fresh] = [before, now].map((settings) => String(settings[option as keyof RunOptions]));
    return old === fresh ? [] : [{ kind: "changed", option, text: `${what}: ${fresh} (before: ${old})` }];
  });
  const rates = [before, now].map((settings) => learningRate(settings, step));
  const perStep = [before, now].map(({ batch, accumulate }) => batch * accumulate);
  const [old, fresh] = rates.map((rate) => rate.toPrecision(3));
  if (rates[0] !== rates[1]) {
    const why = before.lr !== now.lr ? "" : `, because the ${now.decay} now ends at step ${now.steps}`;
    notes.push({
      kind: "changed",
      option: "lr",
      text: `learning rate of the next step: ${fresh} (before: ${old})${why}`,
    });
  } else if (before.lr !== now.lr) {
    notes.push({ kind: "changed", option: "lr", text: `learning rate: ${now.lr} (before: ${before.lr})` });
  } else if (perStep[0] !== perStep[1]) {
    const text = `the learning rate stays ${fresh}, although a step has ${perStep[1]} pictures (before: ${
      perStep[0]
    })`;
    notes.push({ kind: "changed", option: "lr", text });
  }
  return notes;
}
