// When a run ends: after its last step, or when a metric has not got better for some measurements (early stopping).
import type { SamplerState } from "../../data/index.ts";
import { check, checkOptions, needed, oneOf, type Rules, whole } from "../../src/check.ts";
import type { Measurements } from "../validate.ts";

/** Values that differ by less than this share count as equal. */
export const noise = 0.002;

/** Ends a run early. */
export interface StopRule {
  /** The name of a measurement that should get better, such as "val/rec_loss" or "seen/psnr". */
  readonly metric: string;
  /** For how many measurements in a row it may fail to. */
  readonly patience: number;
}

/** How a metric has come along. */
export interface Patience {
  /** Its best value. */
  readonly best: number;
  /** The step of that. */
  readonly step: number;
  /** How many measurements since then were not better. */
  readonly waited: number;
}

/** Measurements that say how good a model is: whether larger is better. */
const isLargerBetter: Readonly<Record<string, boolean>> = {
  rec_loss: false,
  p_loss: false,
  total_loss: false,
  nll_loss: false,
  quant_loss: false,
  psnr: true,
  ssim: true,
  codebook_usage: true,
  perplexity: true,
};

const metrics = ["val", "seen"].flatMap((kind) =>
  Object.keys(isLargerBetter).map((name) => `${kind}/${name}`)
)
  .filter((name) => !/^seen\/(total|nll|quant|codebook|perplexity)/.test(name)); // which only pictures kept back have

const rules: Rules<StopRule> = { metric: needed(oneOf(...metrics)), patience: needed(whole(1)) };

/** Measurements that do not get better before a run is stopped, if only the metric is named. */
export const defaultPatience = 5;

/** @throws TypeError naming what is wrong with a rule */
export function checkStopRule(who: string, rule: StopRule | null): void {
  if (rule !== null) checkOptions(`${who}: stopWhen`, rule, rules);
}

/**
 * @param measured the number of pictures kept back, whether there is a perceptual network, and the side of the pictures
 * @throws Error if a rule looks at what is not there
 */
export function checkMeasurable(
  who: string,
  rule: StopRule | null,
  { held, hasLpips, size }: { readonly held: number; readonly hasLpips: boolean; readonly size: number },
): void {
  const { metric = "" } = rule ?? {};
  const missing = (what: string, advice: string) =>
    new Error(`${who}: stopWhen: ${metric} needs ${what}, and there ${advice}`);
  if (held === 0 && metric.startsWith("val/")) {
    throw missing("pictures kept back", `are none: keep some, or use ${metric.replace("val/", "seen/")}`);
  }
  if (size < 11 && metric.endsWith("/ssim")) {
    throw missing(
      "pictures of 11x11 pixels or more",
      `are only ones of ${size}x${size}: use ${metric.replace("ssim", "psnr")}`,
    );
  }
  if (!hasLpips && metric.endsWith("/p_loss")) {
    throw missing("a perceptual network", `is none: use ${metric.replace("p_loss", "rec_loss")}`);
  }
}

/**
 * Takes a measurement. Values that differ by less than 0.2 % count as equal, as in a run's verdict.
 * @throws Error if the metric was not measured
 */
export function observed(
  rule: StopRule,
  before: Patience | null,
  step: number,
  values: Measurements,
): Patience {
  const { metric } = rule, value = Math.min(values[metric], Number.MAX_VALUE); // the PSNR of equal pictures is infinite
  check("stopWhen", `${metric} at step ${step}`, value, {
    what: "a number that is measured",
    accepts: Number.isFinite,
  });
  if (before === null) return { best: value, step, waited: 0 };
  const gain = isLargerBetter[metric.slice(metric.indexOf("/") + 1)]
    ? value - before.best
    : before.best - value;
  if (gain > noise * Math.abs(before.best)) return { best: value, step, waited: 0 };
  return { ...before, waited: before.waited + 1 };
}

function counted(n: number, noun: string, plural = `${noun}s`): string {
  return `${n} ${n === 1 ? noun : plural}`;
}

/** When a run ends, in words: "when val/rec_loss has not got better for 5 measurements". */
export function stopInWords(rule: StopRule | null): string {
  return rule
    ? `when ${rule.metric} has not got better for ${counted(rule.patience, "measurement")}`
    : "with its last step";
}

/** Says why a run ended early; null if it did not. */
export function whyStopped(rule: StopRule | null, patience: Patience | null): string | null {
  if (!rule || !patience || patience.waited < rule.patience) return null;
  const { best, step, waited } = patience;
  const shown = (best === Number.MAX_VALUE ? Infinity : best).toPrecision(4);
  return `${rule.metric} has not got better for ${
    counted(waited, "measurement")
  } (the best was ${shown} at step ${step})`;
}

/** Why a run has ended: with all its steps, or early; null if it has not. */
export function whyEnded(
  { steps, stopWhen }: { readonly steps: number; readonly stopWhen: StopRule | null },
  step: number,
  patience: Patience | null,
): string | null {
  return step >= steps ? `it has all its ${steps} steps` : whyStopped(stopWhen, patience);
}

/** The number of steps of some passes over the pictures. */
export function stepsIn(epochs: number, pictures: number, perStep: number): number {
  return Math.max(1, Math.ceil(epochs * pictures / perStep));
}

/**
 * The error about a run that goes on, and has already done what it should do in all.
 * @param who the run, or the checkpoint from which it goes on
 * @param wanted its new length, in steps and, if it was given so, in passes over the pictures
 */
export function tooShort(
  who: string,
  step: number,
  wanted: {
    readonly steps: number;
    readonly epochs?: number;
    readonly pictures: number;
    readonly perStep: number;
  },
): Error {
  const { steps, epochs, pictures, perStep } = wanted;
  if (epochs === undefined) {
    return new Error(
      `${who} is at step ${step}, so a total of ${
        counted(steps, "step")
      } is too few: choose more than ${step}`,
    );
  }
  const passes = (step * perStep / pictures).toFixed(2);
  return new Error(
    `${who} is at step ${step}, which at ${counted(perStep, "picture")} a step makes ${passes} passes over ${
      counted(pictures, "picture")
    }, so a total of ${counted(epochs, "pass", "passes")} (${
      counted(steps, "step")
    }) is too few: choose more than ${passes} epochs`,
  );
}

/** How often a run has gone through its pictures. */
export function passesDone({ epoch, position, length }: SamplerState): number {
  return epoch + position / length;
}
