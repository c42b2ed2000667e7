// Limits how much is done at the same time. Each task has a weight, such as the bytes of a decoded picture.

/** Tells a task whether others ran at the same time. */
export interface Turn {
  isShared: boolean;
}

/** Runs tasks in the order of their arrival, as many at a time as have a total weight of at most `capacity`. */
export class Gate {
  readonly capacity: number;
  readonly #running = new Map<Turn, number>();
  readonly #waiting: { readonly weight: number; readonly start: () => void }[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Runs a task when its turn comes. One that is heavier than the capacity, or has the weight "alone", runs alone. */
  async run<T>(weight: number | "alone", task: (turn: Turn) => Promise<T>): Promise<T> {
    const turn = { isShared: false };
    await this.#admit(turn, weight === "alone" ? Infinity : weight);
    try {
      return await task(turn);
    } finally {
      this.#running.delete(turn);
      this.#admitNext();
    }
  }

  async #admit(turn: Turn, weight: number): Promise<void> {
    if (this.#waiting.length > 0 || !this.#fits(weight)) {
      await new Promise<void>((start) =>
        this.#waiting.push({ weight, start: () => this.#start(turn, weight, start) })
      );
    } else this.#start(turn, weight);
  }

  #fits(weight: number): boolean {
    const held = [...this.#running.values()].reduce((sum, weight) => sum + weight, 0);
    return this.#running.size === 0 || held + weight <= this.capacity;
  }

  #start(turn: Turn, weight: number, then: () => void = () => {}): void {
    this.#running.set(turn, weight);
    if (this.#running.size > 1) { for (const other of this.#running.keys()) other.isShared = true; }
    then();
  }

  #admitNext(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0].weight)) this.#waiting.shift()!.start();
  }
}
