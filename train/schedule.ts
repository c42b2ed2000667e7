// The learning rate over a run. It rises linearly, then stays, or falls to a floor in a line or along half a cosine (Loshchilov
// & Hutter 2017).
import { check, checkValues, needed, notNegative, oneOf, type Rules, whole } from "../src/check.ts";

/** How the learning rate changes over a run. */
export interface Schedule {
  /** The full learning rate. */
  readonly lr: number;
  /** The number of steps over which it rises from 0; 0 starts at the full rate. */
  readonly warmup: number;
  /** How it changes after the rise. */
  readonly decay: "constant" | "cosine" | "linear";
  /** The number of steps of the whole run, at whose end it reaches the floor. */
  readonly steps: number;
  /** Where the fall ends, at most `lr`. Default 0. */
  readonly lrFloor?: number;
}

const rules: Rules<Schedule> = {
  lr: needed(notNegative),
  warmup: needed(whole(0)),
  decay: needed(oneOf("constant", "cosine", "linear")),
  steps: needed(whole(1)),
  lrFloor: notNegative,
};

/**
 * Returns the learning rate of step `step`, counted from 0.
 * @throws TypeError if a field is invalid
 * @example During the rise
 * ```ts
 * import { learningRate } from "@tessera/vqgan/core";
 *
 * const rate = learningRate({ lr: 1e-4, warmup: 10, decay: "constant", steps: 100 }, 4); // 5e-5
 * ```
 */
export function learningRate(schedule: Schedule, step: number): number {
  checkValues("learningRate", schedule, rules);
  check("learningRate", "the step", step, whole(0));
  const { lr, warmup, decay, steps, lrFloor = 0 } = schedule;
  if (lrFloor > lr) throw new TypeError(`learningRate: lrFloor is ${lrFloor}, expected at most lr, ${lr}`);
  if (step < warmup) return lr * ((step + 1) / warmup);
  if (decay === "constant") return lr;
  const past = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  if (decay === "linear") return lrFloor + (lr - lrFloor) * (1 - past);
  return lrFloor + (lr - lrFloor) * 0.5 * (1 + Math.cos(Math.PI * past));
}
