// What the operations of the worker share: the model and where it came from, and how an operation is run.
import type { VQGAN } from "../../core.ts";

/** The state of the worker. */
export class Engine {
  #model: VQGAN | null = null;
  #source: Blob | null = null;

  /** The model. @throws if none was loaded yet */
  get model(): VQGAN {
    if (this.#model) return this.#model;
    throw new Error("no model is loaded yet");
  }

  /** The file of the model, from which another copy can be loaded, such as one that is trained. */
  get source(): Blob {
    if (this.#source) return this.#source;
    throw new Error("no model is loaded yet");
  }

  /** Takes another model, and frees the one before. */
  replace(model: VQGAN, source: Blob): void {
    this.#model?.dispose();
    this.#model = model;
    this.#source = source;
  }
}

/** One call of an operation. */
export interface Call<Report = never> {
  /** Tells the page how far the operation is. */
  report(report: Report): void;
  /**
   * Lets the operations run that were asked for meanwhile. No scope of tensors may be open, because in a page scopes must not
   * overlap. Operations that take more than a second call it now and then; all others run alone.
   * @throws if the page has asked to stop
   */
  turn(): Promise<void>;
}

/** One thing that the engine can do: a file of this folder, and a line in operations.ts. Its request and answer are cloned. */
export type Operation = (engine: Engine, request: never, call: Call<never>) => Promise<unknown>;
