// Says which options of a resumed run have other values, and what that does to the learning rate.
import { optimizerChangeRules, type OptimizerChanges } from "../optimizer_options.ts";
import type { PartRates } from "../parts.ts";
import { learningRate } from "../schedule.ts";
import type { RunNote } from "./notes.ts";
import { picturesPerStep, type RunOptions, type RunSettings } from "./settings.ts";
import { stopInWords } from "./stopping.ts";

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
  saveMinutes: "minutes between checkpoints",
  keep: "latest checkpoints that stay",
  lrFloor: "lowest learning rate",
};

const optimizerWords: Readonly<Record<keyof OptimizerChanges, string>> = {
  rates: "learning rates of parts",
  weightDecay: "weight decay",
  clip: "largest norm of the gradients",
};

/** A value in words: rates by part, or a number. */
function shownOption(value: PartRates | number | undefined): string {
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([part, rate]) => `${part} ${rate}`).join(", ") || "none";
}

/** Returns a note for every change that takes effect at `step`. */
export function describeChanges(before: RunSettings, now: RunSettings, step: number): RunNote[] {
  const notes: RunNote[] = Object.entries(words).flatMap(([option, what]): RunNote[] => {
    const [old, fresh] = [before, now].map((settings) => String(settings[option as keyof RunOptions]));
    return old === fresh ? [] : [{ kind: "changed", option, text: `${what}: ${fresh} (before: ${old})` }];
  });
  const own = Object.keys(optimizerChangeRules) as (keyof OptimizerChanges)[];
  for (const option of own) {
    const [old, fresh] = [before, now].map(({ optimizer }) => shownOption(optimizer[option]));
    if (old !== fresh) {
      notes.push({ kind: "changed", option, text: `${optimizerWords[option]}: ${fresh} (before: ${old})` });
    }
  }
  if (before.ranks !== now.ranks) {
    const text = `processes: ${now.ranks} (before: ${before.ranks})`;
    notes.push({ kind: "changed", option: "ranks", text });
  }
  const [oldRule, rule] = [before, now].map(({ stopWhen }) => stopInWords(stopWhen));
  if (oldRule !== rule) {
    notes.push({ kind: "changed", option: "stopWhen", text: `the run ends ${rule} (before: ${oldRule})` });
  }
  const rates = [before, now].map((settings) => learningRate(settings, step));
  const perStep = [before, now].map(picturesPerStep);
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
