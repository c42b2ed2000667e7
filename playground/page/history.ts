// A value that can be changed, and changed back.
import { Signal } from "./signal.ts";

/** More steps than this are forgotten. */
const longest = 500;

export class History<T> {
  /** The value; null before `start`. */
  readonly value: Signal<T | null> = new Signal<T | null>(null);
  #past: T[] = [];
  #future: T[] = [];

  /** Forgets everything, and begins with a value. */
  start(value: T): void {
    this.#past = [];
    this.#future = [];
    this.value.set(value);
  }

  /** @param isSameStep whether one undo takes back this change together with the one before, such as in one stroke of a brush */
  change(value: T, isSameStep = false): void {
    if (this.value.value !== null && !isSameStep) this.#past.push(this.value.value);
    if (this.#past.length > longest) this.#past.shift();
    this.#future = [];
    this.value.set(value);
  }

  /** Changes the value and all that it was, as if it had never been otherwise. */
  rewrite(change: (value: T) => T): void {
    this.#past = this.#past.map(change);
    this.#future = this.#future.map(change);
    if (this.value.value !== null) this.value.set(change(this.value.value));
  }

  get canUndo(): boolean {
    return this.#past.length > 0;
  }

  get canRedo(): boolean {
    return this.#future.length > 0;
  }

  undo(): void {
    this.#move(this.#past, this.#future);
  }

  redo(): void {
    this.#move(this.#future, this.#past);
  }

  #move(from: T[], to: T[]): void {
    const value = from.pop();
    if (value === undefined) return;
    if (this.value.value !== null) to.push(this.value.value);
    this.value.set(value);
  }
}
