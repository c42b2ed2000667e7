// The destination of the writers' bytes. With it they need not know about a disk.

/** Receives the bytes of a file from front to back. data/files/save.ts has the one for the disk. */
export interface Sink {
  /** Writes `bytes`, which the caller may reuse once the promise has resolved. */
  write(bytes: Uint8Array): Promise<void>;
}
