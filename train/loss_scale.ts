// Loss scaling for f16 (Micikevicius et al. 2018). Gradients are multiplied by a power of two, so that small ones do
// not round to 0, and Adam divides them by it. The factor halves after an overflow and doubles after many steps without
// one.
import { keep, type Tensor } from "../src/index.ts";

/** Steps between two checks of the gradients. They are rare because each one waits for the GPU. */
const LOOK = 10;
/** Steps without an overflow after which the scale doubles. */
const PATIENCE = 500;
const LARGEST = 2 ** 24;

export interface LossScaleState {
  readonly value: number;
  /** The number of steps since the last change. */
  readonly steps: number;
  /** Whether there was an overflow since the last check. */
  readonly isOver: boolean;
}

/**
 * The scale of the autoencoder's loss. An overflow does no harm before it is noticed, because Adam does not change
 * weights whose gradient is not finite.
 */
export class LossScale {
  #state: LossScaleState;
  /** One number for each step since the last check. */
  #sums: Tensor[] = [];

  constructor(state: LossScaleState = { value: 2 ** 16, steps: 0, isOver: false }) {
    this.#state = state;
  }

  get value(): number {
    return this.#state.value;
  }

  /** Returns what a checkpoint needs. */
  async state(): Promise<LossScaleState> {
    const values = await Promise.all(this.#sums.map((sum) => sum.item()));
    this.dispose();
    const isOver = this.#state.isOver || !values.every(Number.isFinite);
    return this.#state = { ...this.#state, isOver };
  }

  /**
   * Records a step, and checks for overflows at every tenth step.
   * @param step the step, counted from 1
   * @param gradient a gradient that is not finite if any gradient overflowed
   */
  async update(step: number, gradient: Tensor): Promise<void> {
    this.#sums.push(keep(gradient.sum()));
    this.#state = { ...this.#state, steps: this.#state.steps + 1 };
    if (step % LOOK !== 0) return;
    const { value, steps, isOver } = await this.state();
    if (isOver) this.#state = { value: Math.max(1, value / 2), steps: 0, isOver: false };
    else if (steps >= PATIENCE) {
      this.#state = { value: Math.min(LARGEST, value * 2), steps: 0, isOver: false };
    }
  }

  dispose(): void {
    for (const sum of this.#sums.splice(0)) sum.dispose();
  }
}
