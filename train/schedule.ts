// The learning rate over a run: it rises linearly, then it stays or falls along half a cosine to zero (Loshchilov &
// Hutter 2017).
import { check, checkValues, needed, notNegative, oneOf, type Rules, whole } from "../src/check.ts";

/** How the learning rate changes. */
export interface Schedule {
  /** The full learning rate. */
  readonly lr: number;
  /** Steps over which it rises from 0; 0 for none. */
  readonly warmup: number;
  /** What it does after it has risen. */
  readonly decay: "constant" | "cosine";
  /** Steps of the whole run, at whose end the cosine reaches zero. */
  readonly steps: number;
}

const rules: Rules<Schedule> = {
  lr: needed(notNegative),
  warmup: needed(whole(0)),
  decay: needed(oneOf("constant", "cosine")),
  steps: needed(whole(1)),
};

/**
 * The learning rate of step `step`, counted from 0.
 * @throws TypeError if a field cannot be used
 * @example Half way up
 * ```ts
 * import { learningRate } from "@tessera/vqgan/core";
 *
 * const rate = learningRate({ lr: 1e-4, warmup: 10, decay: "constant", steps: 100 }, 4); // 5e-5
 * ```
 */
export function learningRate(schedule: Schedule, step: number): number {
  checkValues("learningRate", schedule, rules);
  check("learningRate", "the step", step, whole(0));
  const { lr, warmup, decay, steps } = schedule;
  const rise = step < warmup ? (step + 1) / warmup : 1;
  if (decay === "constant") return lr * rise;
  const past = Math.min(1, Math.max(0, step - warmup) / Math.max(1, steps - warmup));
  return lr * rise * 0.5 * (1 + Math.cos(Math.PI * past));
}
