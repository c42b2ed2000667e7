// Device memory that a tensor shares with its views and with the tape. Its bytes are counted, so that leaks show.
import type { Backend } from "./backends/backend.ts";
import type { Buffer } from "./backends/buffer.ts";
import { counters } from "./counters.ts";

/** A check of values that may mean nothing (doubt.ts). */
export interface Doubt {
  /** @throws if they mean nothing */
  resolve(): Promise<void>;
  dispose(): void;
}

/** A buffer with a count of its references. The last `release` frees it. */
export class Storage {
  readonly backend: Backend;
  readonly buffer: Buffer;
  /** Counts in-place writes, so that the tape notices a saved value that has changed. */
  version = 0;
  /** A check that runs when the values are read (doubt.ts). */
  doubt: Doubt | null = null;
  #references = 1;

  constructor(backend: Backend, buffer: Buffer) {
    this.backend = backend;
    this.buffer = buffer;
    counters.liveBytes += buffer.bytes;
    counters.peakBytes = Math.max(counters.peakBytes, counters.liveBytes);
  }

  /** Whether there is more than one reference. */
  get shared(): boolean {
    return this.#references > 1;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    this.doubt?.dispose();
    counters.liveBytes -= this.buffer.bytes;
    this.backend.free(this.buffer);
  }
}
