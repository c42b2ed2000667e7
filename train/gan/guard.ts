// Watches whether the GAN ruins the reconstructions: a run goes back to its last good checkpoint when rec_loss jumps, and the
// GAN counts half as much from then on.
import {
  check,
  checkOptions,
  needed,
  notNegative,
  object,
  orNull,
  positive,
  whole,
} from "../../src/check.ts";
import { asyncScope, keep, noGrad, scope, type Tensor, zeros } from "../../src/index.ts";
import { meanOf, oneRank, type Ranks } from "../distributed/ranks.ts";
import type { TrainState } from "../train_state.ts";
import type { Gan } from "./gan.ts";

/** How far above its lowest value the smoothed loss is a jump. */
const jump = 0.25;
/** How far above it a checkpoint is still a good one. */
const good = 0.1;
/** How often a run goes back. */
export const mostReturns = 2;

/** The smoothed loss when the guard looked last. */
export interface Smoothed {
  /** The mean of train/rec_loss over about the last `window` steps. */
  readonly loss: number;
  /** The lowest such mean so far, without this one. */
  readonly lowest: number;
}

/**
 * Smooths train/rec_loss by an exponential average of about a twentieth of the run: `window` = steps / 20, from 30 to 100.
 * After a first window it looks at it ten times in each: more than 25 % above its lowest value is a jump. Nothing else is read
 * back.
 */
export class Guard implements TrainState {
  /** "guard" */
  readonly name = "guard";
  readonly #gan: Gan;
  readonly #ranks: Ranks;
  /** Sum of (1 - 1/window)^k * loss / window over the last losses. */
  readonly #average: Tensor;
  #window: number;
  #count = 0;
  #lowest: number | null = null;
  #last: Smoothed | null = null;
  #returns = 0;

  /**
   * Begins to watch.
   * @param steps the steps of the run
   * @param gan the GAN that is made gentler
   * @param beside a tensor on the device of the losses
   * @param ranks the processes that train together, whose losses are averaged
   */
  constructor(steps: number, gan: Gan, { backend }: Tensor, ranks: Ranks = oneRank) {
    this.#ranks = ranks;
    this.#window = Math.min(100, Math.max(30, Math.round(steps / 20)));
    this.#gan = gan;
    this.#average = keep(zeros([], "f32", backend));
  }

  /** How often the run has gone back. Each time halves the generator's loss. */
  get returns(): number {
    return this.#returns;
  }

  set returns(times: number) {
    this.#returns = times;
    this.#gan.scale = 0.5 ** times;
  }

  /** The smoothed loss when it was looked at last; null before. */
  get last(): Smoothed | null {
    return this.#last;
  }

  /** Whether a checkpoint of now is one to go back to. */
  get isGood(): boolean {
    return this.#last === null || this.#last.loss <= (1 + good) * this.#last.lowest;
  }

  /** Takes the loss of a step, one number. @returns whether it has jumped */
  async observe(loss: Tensor): Promise<boolean> {
    const keeps = 1 - 1 / this.#window;
    await asyncScope(async () => {
      const mean = await meanOf(this.#ranks, loss);
      noGrad(() => this.#average.assign(this.#average.mul(keeps).add(mean.mul(1 - keeps))));
    });
    this.#count++;
    if (this.#count < this.#window || this.#count % Math.round(this.#window / 10) !== 0) return false;
    const smoothed = await this.#average.item() / (1 - keeps ** this.#count);
    const lowest = this.#lowest ?? smoothed;
    this.#last = { loss: smoothed, lowest };
    this.#lowest = Math.min(lowest, smoothed);
    return smoothed > (1 + jump) * lowest;
  }

  /** Begins again, because the next losses cannot be compared with those before. */
  forget(): void {
    scope(() => this.#average.assign(this.#average.mul(0)));
    this.#count = 0;
    this.#lowest = this.#last = null;
  }

  /** The average. */
  tensors(): Map<string, Tensor> {
    return new Map([["average", this.#average]]);
  }

  /** Everything else. */
  values(): { window: number; count: number; lowest: number | null; loss: number | null; returns: number } {
    const loss = this.#last?.loss ?? null, lowest = this.#last?.lowest ?? null;
    return { window: this.#window, count: this.#count, lowest, loss, returns: this.#returns };
  }

  /** Takes it back. @throws TypeError naming the value that is wrong */
  restore(values: unknown): void {
    check("guard", "it", values, object);
    const stored = values as ReturnType<Guard["values"]>;
    checkOptions("guard", stored, {
      window: needed(whole(1)),
      count: needed(whole(0)),
      lowest: needed(orNull(positive)),
      loss: needed(orNull(notNegative)),
      returns: needed(whole(0)),
    });
    const { window, count, lowest, loss, returns } = stored;
    this.#window = window;
    this.#count = count;
    this.#last = loss === null || lowest === null ? null : { loss, lowest };
    this.#lowest = this.#last && Math.min(this.#last.loss, this.#last.lowest);
    this.returns = returns;
  }

  /** Frees the average. */
  dispose(): void {
    this.#average.dispose();
  }
}
