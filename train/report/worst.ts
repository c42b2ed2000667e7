// Finds the pictures that came back worst.
import type { Picture } from "../../data/index.ts";

/** A picture and what the model made of it. */
export interface Reconstructed {
  /** The path of the picture. */
  readonly path: string;
  /** How close the two are, in dB. */
  readonly psnr: number;
  /** The original. */
  readonly input: Picture;
  /** What the model made of it. */
  readonly output: Picture;
}

/** Keeps the few pictures with the lowest PSNR of all that it is shown, the worst first. */
export class WorstPictures {
  readonly #most: number;
  readonly #kept: Reconstructed[] = [];

  /** Keeps at most so many. */
  constructor(most = 8) {
    this.#most = most;
  }

  /** Keeps the picture if it is one of the worst so far. */
  add(picture: Reconstructed): void {
    const kept = this.#kept;
    if (kept.length === this.#most && !(picture.psnr < kept[kept.length - 1].psnr)) return;
    const at = kept.findIndex(({ psnr }) => picture.psnr < psnr);
    kept.splice(at < 0 ? kept.length : at, 0, picture);
    if (kept.length > this.#most) kept.pop();
  }

  /** The pictures, the worst first. */
  get list(): readonly Reconstructed[] {
    return this.#kept;
  }
}
