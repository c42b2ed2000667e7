// Requests to servers that may be slow, silent, busy or not there.
import { printable } from "../formats/text.ts";
import { RemoteError } from "./errors.ts";

/** How long servers are waited for, in milliseconds. */
export interface Patience {
  /** A server that says nothing about a file for this long counts as not there, and what was downloaded before is used. */
  readonly question: number;
  /** A server that sends nothing of a file for this long is asked again. */
  readonly silence: number;
  /** The pauses before asking again, after failures without a byte in between. */
  readonly pauses: readonly number[];
  /** A server that asks for a longer pause than this is not asked again. */
  readonly longest: number;
}

export const patience: Patience = {
  question: 10_000,
  silence: 30_000,
  pauses: [1000, 2000, 4000, 8000],
  longest: 60_000,
};

/** Aborts a request when the server is silent for too long, or when the caller's signal is aborted. */
export class Watch {
  readonly #controller = new AbortController();
  readonly #silence: number;
  readonly #caller: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(silence: number, caller?: AbortSignal) {
    this.#silence = silence;
    this.#caller = caller;
    caller?.addEventListener?.("abort", this.#stop);
    this.heard();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts waiting anew. */
  heard(): void {
    if (this.#caller?.aborted) this.#stop();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#stop, this.#silence);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener?.("abort", this.#stop);
  }

  /**
   * Returns the error to throw for one that a request ended with: the caller's reason, or what to tell the user.
   * @param what what happened, such as "huggingface.co cannot be reached"
   */
  explained(error: unknown, what: string): unknown {
    if (this.#caller?.aborted) return this.#caller.reason ?? error;
    if (error instanceof RemoteError) return error;
    const { name, message = String(error) } = error as { name?: string; message?: string };
    if (name === "NotCapable") {
      return new Error(`${message}; docs/permissions.md lists what a download needs`, { cause: error });
    }
    const why = this.signal.aborted ? `no answer for ${this.#silence / 1000} s` : reasonOf(error);
    return new RemoteError(`${what} (${why})`, "check the connection", { isPassing: true, cause: error });
  }

  readonly #stop = (): void => this.#controller.abort();
}

/** Sends a GET request. @throws RemoteError if there is no answer; answers with any status are returned */
export async function get(url: URL, headers: Record<string, string>, watch: Watch): Promise<Response> {
  try {
    const response = await fetch(url, { headers, signal: watch.signal });
    watch.heard();
    if (url.protocol === "https:" && response.url.startsWith("http:")) {
      await response.body?.cancel();
      const target = printable(new URL(response.url).host);
      throw new RemoteError(
        `${url.host} leads to ${target} without encryption`,
        "give an address that is encrypted",
      );
    }
    return response;
  } catch (error) {
    throw watch.explained(error, `${url.host} cannot be reached`);
  }
}

/** Yields the body of an answer piece by piece. @throws RemoteError if the connection breaks */
export async function* bytesOf(response: Response, watch: Watch, server: string): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done, value } = await reader?.read() ?? { done: true };
      if (done || value === undefined) return;
      watch.heard();
      yield value;
    }
  } catch (error) {
    throw watch.explained(error, `the connection to ${server} broke`);
  } finally {
    await reader?.cancel().catch(() => {});
  }
}

/**
 * Returns the error for an answer that any server may give: too many requests, a fault of its own, or something unknown.
 * @param text what was asked for
 */
export function unexpected(
  { status, statusText, headers }: Response,
  server: string,
  text: string,
): RemoteError {
  if (status === 429) {
    const retryAfter = pauseOf(headers), when = retryAfter === null ? "later" : `in ${retryAfter} s`;
    const problem = `${server} has too many requests from here (429)`;
    return new RemoteError(problem, `try again ${when}`, { isPassing: true, status, retryAfter });
  }
  if (status >= 500 || status === 408) {
    const retryAfter = pauseOf(headers), problem = `${server} has a problem of its own (${status})`;
    return new RemoteError(problem, "try again later", { isPassing: true, status, retryAfter });
  }
  const words = printable(statusText.slice(0, 60)), answer = `${status}${words === "" ? "" : ` ${words}`}`;
  return new RemoteError(`${text}: ${server} answered ${answer}, which was not expected`, "try again later");
}

/** The seconds after which the server wants to be asked again. */
function pauseOf(headers: Headers): number | null {
  const text = headers.get("retry-after") ?? /(?:^|;)\s*t=(\d+)/.exec(headers.get("ratelimit") ?? "")?.[1];
  if (text === undefined) return null;
  const seconds = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** Waits. @throws the signal's reason if it is aborted */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  const end = performance.now() + milliseconds;
  for (let left = milliseconds; left > 0; left = end - performance.now()) {
    signal?.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, Math.min(left, 200)));
  }
  signal?.throwIfAborted();
}

/** Why a request got no answer, in a few words. Each runtime says it in another way. */
function reasonOf(error: unknown): string {
  const { code, message = "", cause } = error as { code?: string; message?: string; cause?: unknown };
  if (cause instanceof Error) return reasonOf(cause);
  const text = code ?? message.split(": ").at(-1) ?? "";
  return printable(text.slice(0, 100)) || "no reason given";
}
