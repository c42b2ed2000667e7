// The GAN in the course of a run: it starts at a plateau, and what it does is said.
import { changeAt } from "../gan/announce.ts";
import { notYet, plateauInWords } from "../gan/start.ts";
import type { Run } from "./run.ts";

/** Watches the GAN of one training. */
export class GanCourse {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Says what changes with the next step. */
  afterStep(): void {
    const { trainer: { step, model: { config } }, settings } = this.#run;
    if (step >= settings.steps) return;
    const change = changeAt(config.lossconfig, settings.gan, step);
    if (change !== null) this.#say(change);
  }

  /**
   * Takes a measurement of rec_loss, before the step is saved.
   * @param isFirst whether it cannot be compared with those before
   */
  afterMeasurement(loss: number, isFirst: boolean): void {
    const { plateau, trainer: { step, model }, settings } = this.#run;
    if (!plateau || model.config.lossconfig.discStart !== notYet) return;
    if (isFirst) plateau.forget();
    if (plateau.observe(loss)) {
      model.setDiscStart(step);
      this.#say(plateauInWords);
      this.afterStep();
    } else if (step >= settings.steps) {
      this.#say(
        "warning: the discriminator never started, because rec_loss still falls or was measured less than three times; " +
          "let it start earlier, or train longer",
      );
    }
  }

  #say(text: string): void {
    const { trainer: { step }, reporter } = this.#run;
    reporter.add({ kind: "gan", step, text: `step ${step}: ${text}` });
  }
}
