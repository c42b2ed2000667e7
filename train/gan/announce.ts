// What a run says about its GAN: before the first step when the discriminator will start, and then when it does.
import type { LossConfig } from "../../data/formats/config.ts";
import type { GanOptions } from "./options.ts";
import { notYet, plateauInWords } from "./start.ts";

type Gan = Pick<GanOptions, "warmup" | "ramp" | "start">;

/**
 * Says when the discriminator starts and when it counts in full.
 * @returns null if it does so already before step `step`
 */
export function describeStart(
  { discStart }: LossConfig,
  gan: Gan,
  step: number,
  valEvery: number,
): string | null {
  const { start, warmup, ramp } = gan;
  if (discStart === notYet) {
    const course = [
      ...warmup > 0 ? [`learns alone for ${steps(warmup)}`] : [],
      ...ramp > 0 ? [`gains influence over ${steps(ramp)}`] : [],
    ];
    const after = course.length > 0 ? `; it then ${course.join(" and ")}` : "";
    return `the discriminator starts when ${plateauInWords}, ${valEvery} step${
      valEvery === 1 ? "" : "s"
    } apart${after}`;
  }
  if (discStart + warmup + ramp <= step) return null;
  const chosen = typeof start === "string" && !/^\d+$/.test(start) ? ` (${start})` : "";
  if (warmup === 0 && ramp === 0) return `the discriminator takes effect from step ${discStart} on${chosen}`;
  return `the discriminator starts at step ${discStart}${chosen}` +
    `; its gradient reaches the autoencoder from step ${discStart + warmup} on` +
    (ramp > 0 ? `, and in full from step ${discStart + warmup + ramp} on` : "");
}

/** What changes with the step after `step` steps; null if nothing does. Nothing is said of what holds from the first step on. */
export function changeAt(
  { discStart, discFactor }: LossConfig,
  { warmup, ramp }: Gan,
  step: number,
): string | null {
  if (step === 0 || discFactor === 0) return null;
  const reaches = ramp > 0
    ? `its gradient reaches the autoencoder, and gains influence over ${steps(ramp)}`
    : "its gradient reaches the autoencoder";
  if (step === discStart) {
    return warmup > 0
      ? `the discriminator starts, and learns alone for ${steps(warmup)}`
      : `the discriminator starts: ${reaches}`;
  }
  if (step === discStart + warmup) {
    return `the discriminator has learnt alone for ${steps(warmup)}: ${reaches}`;
  }
  return ramp > 0 && step === discStart + warmup + ramp ? "the discriminator counts in full" : null;
}

function steps(n: number): string {
  return `${n} step${n === 1 ? "" : "s"}`;
}
