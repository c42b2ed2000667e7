// What codes look like: small pictures that the engine draws when they are asked for, and the mean colour of each.
/// <reference lib="dom" />
import type { App, Model } from "./app.ts";
import { html } from "./page/dom.ts";
import { showPicture } from "./page/canvas.ts";

/** Codes are drawn in groups, each of which takes as long as one picture. */
const group = 64;
/** A group that takes more milliseconds is slow. After so many slow ones the others are drawn only when someone asks for them. */
const slow = 500, mostSlow = 3;

export class CodePictures {
  readonly #app: App;
  readonly #changed: () => void;
  #model: Model | null = null;
  #side = 0;
  #isLoading = false;
  #pixels = new Map<number, Uint8Array>();
  #colors: Uint8Array = new Uint8Array(0);

  /** @param changed is called when more pictures are there */
  constructor(app: App, changed: () => void) {
    this.#app = app;
    this.#changed = changed;
  }

  /** Forgets everything, because there is another model. */
  clear(model: Model): void {
    this.#model = model;
    this.#pixels = new Map();
    this.#colors = new Uint8Array(3 * model.vocabulary).fill(205);
  }

  /** Red, green and blue: the mean of the picture, or light grey before it is drawn. */
  colorOf(token: number): Uint8Array {
    return this.#colors.subarray(token * 3, token * 3 + 3);
  }

  /** The picture of a code that was loaded. */
  canvas(token: number): HTMLCanvasElement {
    const canvas = html("canvas", { width: this.#side || 1, height: this.#side || 1, role: "presentation" });
    const pixels = this.#pixels.get(token);
    if (!pixels) return canvas;
    showPicture(canvas, { width: this.#side, height: this.#side, pixels });
    return canvas;
  }

  /** Draws the codes of a list that were not drawn yet. */
  async load(tokens: readonly number[]): Promise<void> {
    const missing = [...new Set(tokens)].filter((token) => !this.#pixels.has(token)), model = this.#model;
    for (let from = 0; from < missing.length; from += group) {
      const codes = missing.slice(from, from + group);
      const { pixels, side } = await this.#app.engine.ask("codePictures", { codes });
      if (this.#model !== model) return;
      this.#side = side;
      codes.forEach((code, i) =>
        this.#keep(code, pixels.slice(i * side * side * 3, (i + 1) * side * side * 3))
      );
      this.#changed();
    }
  }

  /** Draws all others, a group at a time, as long as someone looks. With a large model that would take too long, so it stops. */
  async loadRest(isSeen: () => boolean): Promise<void> {
    const model = this.#model, count = this.#colors.length / 3;
    if (this.#isLoading) return;
    this.#isLoading = true;
    let left = mostSlow;
    try {
      for (let from = 0; from < count && left > 0 && this.#model === model && isSeen(); from += group) {
        const began = performance.now();
        await this.load(Array.from({ length: Math.min(group, count - from) }, (_, i) => from + i));
        if (performance.now() - began > slow) left--;
      }
    } finally {
      this.#isLoading = false;
    }
  }

  #keep(code: number, pixels: Uint8Array): void {
    const sums = [0, 0, 0];
    pixels.forEach((value, i) => sums[i % 3] += value);
    this.#colors.set(sums.map((sum) => sum * 3 / pixels.length), code * 3);
    this.#pixels.set(code, pixels);
  }
}
