// The page's end of the protocol: asks the engine's worker, and lets only the newest of many like questions wait.
import type { AnswerOf, FromEngine, Op, ReportOf, RequestOf, ToEngine } from "../engine/protocol.ts";

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onReport?: (report: never) => void;
}

/** How a question is watched and stopped. */
export interface AskOptions<K extends Op> {
  /** Called with each report of an operation that takes long. */
  readonly onReport?: (report: ReportOf<K>) => void;
  /** Aborting it stops the operation at its next turn; then `ask` rejects. */
  readonly signal?: AbortSignal;
}

export class EngineClient {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;
  /** Why the worker cannot answer any more; null while it can. */
  #failure: Error | null = null;
  /** Called when the engine begins to work, and when nothing waits for it any more. */
  onBusy: (isBusy: boolean) => void = () => {};

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromEngine>) => this.#receive(data);
    worker.onerror = ({ message }) => {
      this.#failure = new Error(`the engine stopped${message ? `: ${message}` : ""}; load the page again`);
      for (const { reject } of this.#waiting.values()) reject(this.#failure);
      this.#waiting.clear();
      this.onBusy(false);
    };
  }

  /** Asks for an operation. @throws with the engine's message if it fails */
  ask<K extends Op>(
    op: K,
    request: RequestOf<K>,
    { onReport, signal }: AskOptions<K> = {},
  ): Promise<AnswerOf<K>> {
    const id = ++this.#count;
    const send = (message: ToEngine): void => this.#worker.postMessage(message);
    return new Promise<AnswerOf<K>>((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#failure) throw this.#failure;
      signal?.addEventListener("abort", () => send({ id, stop: true }), { once: true });
      this.#waiting.set(id, { resolve, reject, onReport });
      this.onBusy(true);
      send({ id, op, request });
    });
  }

  #receive(message: FromEngine): void {
    const waiting = this.#waiting.get(message.id);
    if ("report" in message) return waiting?.onReport?.(message.report as never);
    this.#waiting.delete(message.id);
    if (this.#waiting.size === 0) this.onBusy(false);
    if ("error" in message) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message.answer as never);
  }
}

/**
 * Asks one question at a time. While an answer is on its way, only the newest of the later requests waits, because the pictures
 * of those before it would be out of date when they come.
 */
export class Latest<Request, Answer> {
  readonly #ask: (request: Request) => Promise<Answer>;
  readonly #use: (answer: Answer, request: Request) => void;
  readonly #fail: (error: unknown) => void;
  readonly #isCurrent: (request: Request) => boolean;
  #isBusy = false;
  #next: { readonly request: Request } | null = null;

  /**
   * @param use takes each answer, also when a newer request waits: it is the newest that there is to show
   * @param isCurrent whether a request still means something; if not, it is neither asked nor answered, and its errors are nobody's
   */
  constructor(
    ask: (request: Request) => Promise<Answer>,
    use: (answer: Answer, request: Request) => void,
    fail: (error: unknown) => void,
    isCurrent: (request: Request) => boolean = () => true,
  ) {
    this.#ask = ask;
    this.#use = use;
    this.#fail = fail;
    this.#isCurrent = isCurrent;
  }

  async put(request: Request): Promise<void> {
    this.#next = { request };
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#next !== null) {
      const { request } = this.#next;
      this.#next = null;
      if (!this.#isCurrent(request)) continue;
      try {
        const answer = await this.#ask(request);
        if (this.#isCurrent(request)) this.#use(answer, request);
      } catch (error) {
        if (this.#isCurrent(request)) this.#fail(error);
      }
    }
    this.#isBusy = false;
  }
}
