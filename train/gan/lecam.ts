// LeCam regularisation (Tseng et al. 2021): it keeps the discriminator's logits of real pictures near those of recent
// reconstructions, and the other way round, so that it does not learn its few pictures by heart. As in Open-MAGVIT2 and IBQ,
// the averages begin at 0 and take in the present logits first.
import { lecamLoss } from "../../nn/losses.ts";
import { keep, noGrad, type Tensor, zeros } from "../../src/index.ts";
import type { TrainState } from "../train_state.ts";

/** How much of the averages stays in a step. */
const decay = 0.999;

/** The averages of the discriminator's logits, and the term that they make. */
export class LeCam implements TrainState {
  /** "lecam" */
  readonly name = "lecam";
  /** The average logit of real pictures, one number. */
  readonly real: Tensor;
  /** The average logit of reconstructions, one number. */
  readonly fake: Tensor;

  /** Averages of 0, on the device of a tensor. */
  constructor({ backend }: Tensor) {
    this.real = keep(zeros([], "f32", backend));
    this.fake = keep(zeros([], "f32", backend));
  }

  /** Takes the logits into the averages. @returns the term of the discriminator's loss, one number */
  loss(real: Tensor, fake: Tensor): Tensor {
    noGrad(() => {
      for (const [average, logits] of [[this.real, real], [this.fake, fake]]) {
        average.assign(average.mul(decay).add(logits.mean().mul(1 - decay)));
      }
    });
    return lecamLoss(real, fake, this);
  }

  /** Both averages. */
  tensors(): Map<string, Tensor> {
    return new Map([["real", this.real], ["fake", this.fake]]);
  }

  /** Nothing: the averages are tensors. */
  values(): null {
    return null;
  }

  /** Takes nothing. */
  restore(): void {}

  /** Frees the averages. */
  dispose(): void {
    this.real.dispose();
    this.fake.dispose();
  }
}
