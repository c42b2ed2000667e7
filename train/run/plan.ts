// Warns of settings with which a run would not do what they say.
import type { RunNote } from "./notes.ts";
import type { RunSettings } from "./settings.ts";

/** Returns a note for every part of a run's plan that never takes effect. */
export function describePlan({ steps, warmup, model: { lossconfig } }: RunSettings): RunNote[] {
  const { discStart, discFactor, discWeight } = lossconfig;
  const texts: string[] = [];
  if (discFactor > 0 && discWeight > 0 && discStart >= steps) {
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
