// How the GAN is begun, balanced and watched: all of its settings beside those of taming's lossconfig. With the defaults
// training is taming's.
import {
  checkOptions,
  flag,
  needed,
  notNegative,
  orNull,
  positive,
  type Rules,
  whole,
} from "../../src/check.ts";
import { aStart, type DiscStart } from "./start.ts";

/** What the losses of the GAN in a step depend on, beside taming's `lossconfig`. */
export interface GanTerms {
  /**
   * The number of steps from `discStart` on in which only the discriminator learns. Its gradient reaches the autoencoder after
   * them.
   */
  readonly warmup: number;
  /** The number of steps after that over which the factor of the generator's loss rises from 0 to `discFactor`. */
  readonly ramp: number;
  /** The weight of LeCam's term in the discriminator's loss; 0 for none. Open-MAGVIT2 and IBQ use 0.05. */
  readonly lecam: number;
  /** The largest weight of the generator's loss, as `d_weight` is logged; null for taming's limit, 10,000 times `discWeight`. */
  readonly maxWeight: number | null;
  /** A weight of the generator's loss that takes the place of the adaptive one, as in LlamaGen (0.5); null for the adaptive one. */
  readonly fixedWeight: number | null;
}

/** The settings of the GAN in a run. */
export interface GanOptions extends GanTerms {
  /**
   * When the discriminator starts: a step, counted from 0; a share of the run such as "50%"; passes over the pictures such as
   * "2epochs"; "plateau", when the autoencoder no longer gets better by itself (`Plateau`); null for the `discStart` of the
   * model's config.
   */
  readonly start: DiscStart | null;
  /** Whether the run goes back to its last good checkpoint when the losses jump, with a gentler GAN (`Guard`). */
  readonly guard: boolean;
}

/** taming's GAN. */
export const tamingTerms: GanTerms = { warmup: 0, ramp: 0, lecam: 0, maxWeight: null, fixedWeight: null };

/** taming's GAN in a run. */
export const defaultGan: GanOptions = { ...tamingTerms, start: null, guard: false };

/** The rules of the terms, none of which is needed. */
export const termRules: Rules<Partial<GanTerms>> = {
  warmup: whole(0),
  ramp: whole(0),
  lecam: notNegative,
  maxWeight: orNull(positive),
  fixedWeight: orNull(notNegative),
};

/** The rules of the settings, all of which are needed. */
const ganRules: Rules<GanOptions> = {
  warmup: needed(termRules.warmup),
  ramp: needed(termRules.ramp),
  lecam: needed(termRules.lecam),
  maxWeight: needed(termRules.maxWeight),
  fixedWeight: needed(termRules.fixedWeight),
  start: needed(orNull(aStart)),
  guard: needed(flag),
};

/** @throws TypeError naming the first setting that is wrong; Error if two of them exclude each other */
export function checkGan(who: string, gan: GanOptions): void {
  checkOptions(`${who}: gan`, gan, ganRules);
  const { maxWeight, fixedWeight } = gan;
  if (maxWeight !== null && fixedWeight !== null) {
    throw new Error(
      `${who}: gan: maxWeight is ${maxWeight}, but fixedWeight, ${fixedWeight}, takes the place of the weight that it limits: ` +
        "one of them must be null",
    );
  }
}

/** The terms among the settings. */
export function termsOf({ warmup, ramp, lecam, maxWeight, fixedWeight }: GanOptions): GanTerms {
  return { warmup, ramp, lecam, maxWeight, fixedWeight };
}
