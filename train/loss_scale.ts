// Loss scaling for f16 (Micikevicius et al. 2018): gradients are multiplied by a power of two, so that small ones do not
// round to 0, and divided by it in Adam. The factor halves after an overflow and doubles when there was none for long.
import { keep, type Tensor } from "../src/index.ts";

/** Steps between two looks at the gradients, because a look waits for the GPU. */
const LOOK = 10;
/** Steps without an overflow after which the scale doubles. */
const PATIENCE = 500;
const LARGEST = 2 ** 24;

export interface LossScaleState {
  readonly value: number;
  /** Steps since the last change. */
  readonly steps: number;
  /** Whether there was an overflow since the last look. */
  readonly isOver: boolean;
}

/**
 * The scale of the autoencoder's loss. An overflow does no harm before it is seen: Adam leaves weights alone whose
 * gradient is not finite.
 */
export class LossScale {
  #state: LossScaleState;
  /** One number for each step since the last look. */
  #sums: Tensor[] = [];

  constructor(state: LossScaleState = { value: 2 ** 16, steps: 0, isOver: false }) {
    this.#state = state;
  }

  get value(): number {
    return this.#state.value;
  }

  /** What a checkpoint needs. */
  async state(): Promise<LossScaleState> {
    const values = await Promise.all(this.#sums.map((sum) => sum.item()));
    this.dispose();
    const isOver = this.#state.isOver || !values.every(Number.isFinite);
    return this.#state = { ...this.#state, isOver };
  }

  /**
   * Takes note of a step, and looks for overflows at every tenth.
   * @param step counted from 1
   * @param gradient one that is not finite if any gradient overflowed
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
