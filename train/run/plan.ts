// Says what a run will do: which parts learn, and a warning for settings that do not do what they say.
import { keepsTokens } from "../parts.ts";
import type { RunNote } from "./notes.ts";
import type { RunSettings } from "./settings.ts";

/** Returns a note for every part of a run's plan that never takes effect. */
export function describePlan({ steps, warmup, optimizer, model: { lossconfig } }: RunSettings): RunNote[] {
  const { discStart, discFactor, discWeight } = lossconfig, { train } = optimizer;
  const texts: string[] = [], hasGan = discFactor > 0 && discWeight > 0;
  if (hasGan && !train.includes("all") && !train.includes("discriminator")) {
    texts.push(
      "the discriminator is frozen, and what learns against it alone finds its weaknesses: let it learn too, or give its loss the " +
        "weight 0",
    );
  }
  if (hasGan && discStart >= steps) {
    texts.push(
      `the discriminator never takes effect: it would from step ${discStart} on, and the run ends with step ${steps}`,
    );
  }
  if (warmup >= steps) {
    texts.push(
      `the learning rate never reaches its full value: it rises for ${warmup} steps, and the run ends with step ${steps}`,
    );
  }
  return texts.map((text) => ({ kind: "warning", text: `warning: ${text}` }));
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
