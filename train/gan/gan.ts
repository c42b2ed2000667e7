// The course and the balance of the GAN in a training: when each of its losses counts, how much, and what is added to them.
import type { LossConfig } from "../../data/formats/config.ts";
import { adaptiveWeight } from "../../nn/losses.ts";
import { checkOptions } from "../../src/check.ts";
import { full, type Tensor } from "../../src/index.ts";
import { LeCam } from "./lecam.ts";
import { type GanTerms, tamingTerms, termRules } from "./options.ts";

/**
 * The GAN of a training. Without terms it is taming's.
 * @example A discriminator that starts at step 100, with a warm-up of 50 steps and a ramp of 10
 * ```ts
 * import { Gan, preset } from "@tessera/vqgan/core";
 *
 * const gan = new Gan({ warmup: 50, ramp: 10 });
 * const { lossconfig } = preset("faces", { lossconfig: { discStart: 100 } });
 * console.log(gan.generatorFactor(lossconfig, 149)); // 0: the autoencoder does not follow it yet
 * console.log(gan.generatorFactor(lossconfig, 154)); // 0.5
 * ```
 */
export class Gan {
  /** The terms that were given to the constructor, and taming's. */
  readonly terms: GanTerms;
  /** The averages of LeCam; null without it. */
  readonly lecam: LeCam | null;
  /** A further factor of the generator's loss, which a guard lowers. */
  scale = 1;

  /**
   * Makes the GAN's state.
   * @param beside a tensor on the device of the averages of LeCam, which only it needs
   * @throws TypeError if a term has another type or name; Error if LeCam has no device
   */
  constructor(terms: Partial<GanTerms> = {}, beside: Tensor | null = null) {
    checkOptions("Gan", terms, termRules);
    this.terms = { ...tamingTerms, ...terms };
    if (this.terms.lecam > 0 && !beside) {
      throw new Error(
        "Gan: LeCam needs a tensor on the model's device, such as model.decoder.conv_out.weight",
      );
    }
    this.lecam = this.terms.lecam > 0 ? new LeCam(beside!) : null;
  }

  /** The factor of the generator's loss at a step, counted from 0: 0 until the warm-up is over, then it rises over the ramp. */
  generatorFactor({ discStart, discFactor }: LossConfig, step: number): number {
    const { warmup, ramp } = this.terms;
    const done = step - discStart - warmup;
    if (done < 0) return 0;
    return discFactor * this.scale * (done < ramp ? (done + 1) / ramp : 1);
  }

  /** The weight of the generator's loss, one number. @param ratio that of the two gradients (`gradientRatio`) */
  weight(ratio: Tensor, { discWeight }: LossConfig): Tensor {
    const { fixedWeight, maxWeight } = this.terms;
    if (fixedWeight !== null) return full([], fixedWeight, ratio.backend);
    return adaptiveWeight(ratio, discWeight, maxWeight);
  }

  /** Frees the averages. */
  dispose(): void {
    this.lecam?.dispose();
  }
}
