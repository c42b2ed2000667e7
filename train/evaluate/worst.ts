// The worst pictures of a model. No others are kept, so that memory does not grow with the number of pictures.
import type { Picture } from "../../data/index.ts";

/** A picture and what became of it. */
export interface WorstReconstruction {
  /** Its place among the pictures. */
  readonly index: number;
  /** The path of the picture. */
  readonly path: string;
  /** The larger, the worse; Infinity of a face that was not found any more. */
  readonly value: number;
  /** The picture. */
  readonly original: Picture;
  /** What the model made of it. */
  readonly made: Picture;
}

/** How many are kept. */
const most = 10;

/** Keeps the ten worst of all that are added. */
export class WorstReconstructions {
  /** The metric by which they are chosen. */
  readonly metric: string;
  readonly #kept: WorstReconstruction[] = [];

  /** An empty list. */
  constructor(metric: string) {
    this.metric = metric;
  }

  /** Keeps a picture if it is among the worst so far; of equal ones the first. One without a value is none of them. */
  add(picture: WorstReconstruction): void {
    if (Number.isNaN(picture.value)) return;
    const at = this.#kept.findIndex(({ value, index }) =>
      value < picture.value || value === picture.value && index > picture.index
    );
    this.#kept.splice(at < 0 ? this.#kept.length : at, 0, picture);
    this.#kept.length = Math.min(this.#kept.length, most);
  }

  /** The worst ones, the worst first. */
  get list(): readonly WorstReconstruction[] {
    return this.#kept;
  }
}
