// What a training keeps from step to step beside the weights and Adam's moments: averages, counts, and the like. Checkpoints of
// runs save and restore all of it, so that a resumed run computes the same bits.
import type { Tensor } from "../src/index.ts";

/** A value as JSON holds it. Numbers must be finite. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * One thing that a training keeps. It is listed in `Trainer.states`.
 * @example An average of a loss
 * ```ts
 * import type { TrainState } from "@tessera/vqgan";
 *
 * class SmoothLoss implements TrainState {
 *   readonly name = "smooth_loss";
 *   value = 0;
 *
 *   tensors() {
 *     return new Map();
 *   }
 *   values() {
 *     return { value: this.value };
 *   }
 *   restore(values: unknown) {
 *     this.value = (values as { value: number }).value;
 *   }
 *   dispose() {}
 * }
 * ```
 */
export interface TrainState {
  /** Its name in checkpoints, unlike those of all others, such as "ema". */
  readonly name: string;
  /** Its tensors by name, which are filled in place. Their names and shapes never change. */
  tensors(): ReadonlyMap<string, Tensor>;
  /** Everything else. */
  values(): Json | Promise<Json>;
  /**
   * Takes values back, after the tensors were filled.
   * @throws Error saying what is wrong with them, because files may come from anywhere
   */
  restore(values: unknown): void;
  /** Frees the tensors. */
  dispose(): void;
}

/** The names and the tensors of all states, as in a checkpoint: training.ema.decoder.conv_in.weight. */
export function stateTensors(states: readonly TrainState[]): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  for (const state of states) {
    for (const [key, tensor] of state.tensors()) named.set(`training.${state.name}.${key}`, tensor);
  }
  return named;
}

/** The values of all states by their names. */
export async function stateValues(states: readonly TrainState[]): Promise<Record<string, Json>> {
  const values: Record<string, Json> = {};
  for (const state of states) values[state.name] = await state.values();
  return values;
}

/** Gives all states their values back. @throws Error naming the first state whose values are missing or wrong */
export function restoreStates(states: readonly TrainState[], values: Record<string, unknown>): void {
  for (const state of states) {
    if (!Object.hasOwn(values, state.name)) throw new Error(`the state of the training lacks ${state.name}`);
    try {
      state.restore(values[state.name]);
    } catch (error) {
      throw new Error(`the state of the training: ${state.name}: ${(error as Error).message}`);
    }
  }
}
