// When the discriminator starts: at a step, after a share of the run or some passes over the pictures, or when the autoencoder
// no longer gets better by itself. The answer becomes `discStart` of the model's config, which means what it does in taming.
import { isList, isWhole, type Rule, rule } from "../../src/check.ts";
import type { Tensor } from "../../src/index.ts";
import type { TrainState } from "../train_state.ts";

/** A step such as 500; a share of the run such as "50%"; passes over the pictures such as "2epochs"; or "plateau". */
export type DiscStart = number | string;

/** `discStart` as long as nobody knows when the discriminator will start. */
export const notYet: number = Number.MAX_SAFE_INTEGER;

/** Reads a start. @returns null if it is none */
export function parseStart(
  start: unknown,
): { amount: number; unit: "step" | "%" | "epoch" } | "plateau" | null {
  if (start === "plateau") return start;
  if (isWhole(start)) return { amount: start, unit: "step" };
  const [, number, unit] = /^(\d+(?:\.\d+)?)(%|epochs?)?$/.exec(String(start)) ?? [];
  const amount = Number(number);
  if (typeof start !== "string" || number === undefined) return null;
  if (unit === "%") return amount <= 100 ? { amount, unit } : null;
  if (unit !== undefined) return { amount, unit: "epoch" };
  return isWhole(amount) ? { amount, unit: "step" } : null;
}

/** The rule for a start. */
export const aStart: Rule = rule(
  'a step such as 500, "50%" (of the run), "2epochs" or "plateau"',
  (start) => parseStart(start) !== null,
);

/** What a start is counted in. */
export interface RunLength {
  /** The steps of the whole run. */
  readonly steps: number;
  /** The pictures of a pass. */
  readonly pictures: number;
  /** The pictures in a step. */
  readonly perStep: number;
}

/** Returns the step at which the discriminator starts, counted from 0; `notYet` for "plateau". */
export function startStep(start: DiscStart, { steps, pictures, perStep }: RunLength): number {
  const parsed = parseStart(start);
  if (parsed === null || parsed === "plateau") return notYet;
  const { amount, unit } = parsed;
  if (unit === "step") return amount;
  return unit === "%" ? Math.floor(steps * amount / 100) : Math.ceil(amount * pictures / perStep);
}

/** The share by which rec_loss must fall for the autoencoder to count as getting better. */
const leastFall = 0.01;
/** The number of measurements in which it must do so. */
const patience = 2;

/** When a plateau is reached, in words. */
export const plateauInWords = `rec_loss has fallen by less than ${
  100 * leastFall
} % in ${patience} measurements`;

/**
 * Finds the step from which on the autoencoder no longer gets better by itself: the last two measurements of rec_loss are both
 * less than 1 % below the lowest one before them. They are those of the run, on the pictures kept back or, without such
 * pictures, on some of the training, so they are not noisy, and the same after a resume.
 */
export class Plateau implements TrainState {
  /** "plateau" */
  readonly name = "plateau";
  /** The lowest loss of the older measurements, then the last two. */
  #losses: number[] = [];

  /** Takes a measurement. @returns whether the plateau is reached with it */
  observe(loss: number): boolean {
    this.#losses.push(loss);
    if (this.#losses.length <= patience) return false;
    const [lowest, ...last] = this.#losses;
    this.#losses = [Math.min(lowest, last[0]), ...last.slice(1)];
    return Math.min(...last) > lowest * (1 - leastFall);
  }

  /** Begins again, because the next measurement cannot be compared with those before. */
  forget(): void {
    this.#losses = [];
  }

  /** None. */
  tensors(): Map<string, Tensor> {
    return new Map();
  }

  /** The measurements that it remembers. */
  values(): readonly number[] {
    return this.#losses;
  }

  /** Takes them back. @throws Error if they are not numbers */
  restore(values: unknown): void {
    if (!isList(values) || !(values as unknown[]).every(Number.isFinite)) {
      throw new Error("the measurements are not a list of numbers");
    }
    this.#losses = [...values as number[]].slice(-patience);
  }

  /** Frees nothing. */
  dispose(): void {}
}
