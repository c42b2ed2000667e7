// Says what a run will do that is not seen at once: which parts learn, when the discriminator starts, and a warning for
// settings that do not do what they say.
import { describeStart } from "../gan/announce.ts";
import { notYet } from "../gan/start.ts";
import { keepsTokens } from "../parts.ts";
import type { RunNote } from "./notes.ts";
import type { RunSettings } from "./settings.ts";

/**
 * Returns a note for what begins later in a run, and for every part of its plan that never takes effect.
 * @param step the number of steps done
 */
export function describePlan(settings: RunSettings, step = 0): RunNote[] {
  const { steps, warmup, valEvery, optimizer: { train }, gan, model: { lossconfig } } = settings;
  const { discStart, discFactor, discWeight } = lossconfig, texts: string[] = [];
  const hasGan = discFactor > 0 && (gan.fixedWeight ?? discWeight) > 0;
  if (hasGan && !train.includes("all") && !train.includes("discriminator")) {
    texts.push(
      "the discriminator is frozen, and what learns against it alone finds its weaknesses: let it learn too, or give its loss the " +
        "weight 0",
    );
  }
  const takesEffect = discStart + gan.warmup, isLate = discStart !== notYet && takesEffect >= steps;
  if (hasGan && isLate) {
    texts.push(
      `the discriminator never takes effect: it would from step ${takesEffect} on, and the run ends with step ${steps}`,
    );
  }
  const start = hasGan && !isLate ? describeStart(lossconfig, gan, step, valEvery) : null;
  if (warmup >= steps) {
    texts.push(
      `the learning rate never reaches its full value: it rises for ${warmup} steps, and the run ends with step ${steps}`,
    );
  }
  return [
    ...start === null ? [] : [{ kind: "gan", step, text: start } as const],
    ...texts.map((text) => ({ kind: "warning", text: `warning: ${text}` }) as const),
  ];
}

/** Says which parts of a new run learn, and at which rates; nothing if all do alike. */
export function describeParts({ lr, optimizer: { train, rates } }: RunSettings): RunNote[] {
  const texts: string[] = [];
  if (!train.includes("all")) {
    texts.push(
      `only ${train.join(", ")} learn${train.length === 1 ? "s" : ""}; all else is frozen` +
        (keepsTokens(train) ? ", so tokens that were made before stay valid" : ""),
    );
  }
  const own = Object.entries(rates).map(([part, rate]) => `${part} ${rate}`);
  if (own.length > 0) texts.push(`learning rates: ${own.join(", ")}, all else ${lr}`);
  return texts.map((text) => ({ kind: "model", text }));
}
