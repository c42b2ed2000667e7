// A value that others watch. What panels share is kept in signals, so that no panel needs to know another one.

/** A value, and those who want to know when it changes. */
export class Signal<T> {
  #value: T;
  readonly #watchers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Replaces the value, and calls all watchers. Values that are objects are replaced and never changed in place. */
  set(value: T): void {
    this.#value = value;
    for (const watcher of this.#watchers) watcher(value);
  }

  /** Calls a function now and after each change. @returns a function that ends this */
  watch(watcher: (value: T) => void): () => void {
    this.#watchers.add(watcher);
    watcher(this.#value);
    return () => void this.#watchers.delete(watcher);
  }
}

/** A signal of any value. */
export interface AnySignal {
  watch(watcher: () => void): () => void;
}

/** Calls a function now and whenever one of the signals changes. */
export function watchAll(signals: readonly AnySignal[], act: () => void): void {
  let isReady = false;
  for (const signal of signals) signal.watch(() => isReady && act());
  isReady = true;
  act();
}
